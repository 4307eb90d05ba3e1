// Writes the API reference to docs/api, from the sources, by TypeDoc as typedoc.json says. Fails on any warning of TypeDoc, and when more
// of what packages export has no comment than here.
import { join } from 'node:path';
import { Application, LogLevel } from 'typedoc';

/** Exports, methods and callbacks without a comment; to be lowered, never raised. */
const MOST_UNDOCUMENTED = 0;
const UNDOCUMENTED = 'does not have any documentation';

const app = await Application.bootstrapWithPlugins({ options: join(import.meta.dirname, '../typedoc.json') });
const undocumented = [];
const complaints = [];
app.logger = Object.assign(Object.create(app.logger), {
  log(message, level) {
    if (message.includes(UNDOCUMENTED)) undocumented.push(message);
    else if (level >= LogLevel.Warn) complaints.push(message);
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
if (process.argv.includes('--list')) for (const line of undocumented) console.log(line);
for (const line of complaints) console.error(line);
console.log(`api: ${undocumented.length} of at most ${MOST_UNDOCUMENTED} without a comment`);
if (!project || complaints.length > 0 || undocumented.length > MOST_UNDOCUMENTED) process.exitCode = 1;
else if (undocumented.length < MOST_UNDOCUMENTED)
  console.log('lower MOST_UNDOCUMENTED in scripts/api-reference.mjs');
