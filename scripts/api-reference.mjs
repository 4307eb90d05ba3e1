// Writes the API reference to docs/api, from the sources, by TypeDoc as typedoc.json says. Fails on any warning of TypeDoc,
// which are also about exports without a comment.
import { join } from 'node:path';
import { Application, LogLevel } from 'typedoc';

const app = await Application.bootstrapWithPlugins({ options: join(import.meta.dirname, '../typedoc.json') });
const complaints = [];
app.logger = Object.assign(Object.create(app.logger), {
  log(message, level) {
    if (level >= LogLevel.Warn) complaints.push(message);
  },
});
const project = await app.convert();
if (project) {
  app.validate(project);
  // By what users import, not by the place of the sources.
  for (const module of project.children ?? [])
    module.name = module.name === 'cli/src/main' ? 'duobit' : `@duobit/${module.name.replace('/src', '')}`;
  await app.generateOutputs(project);
}
for (const line of complaints) console.error(line);
console.log(`api: ${complaints.length} warnings`);
if (!project || complaints.length > 0) process.exitCode = 1;
