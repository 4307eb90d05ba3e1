#!/usr/bin/env node
// The hook: validates the containers that a commit touches. DUOBIT_COMMAND names another command than npx.
import { parseArgs } from 'node:util';
import {
  DEFAULT_COMMAND,
  describeProblem,
  LEVELS,
  listContainers,
  validateFile,
} from '../validate-files.mjs';

try {
  const { values, positionals } = parseArgs({
    options: { level: { type: 'string', default: 'deep' } },
    allowPositionals: true,
  });
  if (!LEVELS.includes(values.level))
    throw new Error(`--level is ${LEVELS.join(', ')}; not "${values.level}"`);
  for (const file of listContainers(positionals)) {
    for (const problem of await validateFile(
      file,
      values.level,
      process.env.DUOBIT_COMMAND || DEFAULT_COMMAND,
    )) {
      console.error(`${file}: ${describeProblem(problem)}`);
      process.exitCode = 1;
    }
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
