#!/usr/bin/env node
// The executable. It is a committed file, so that npm can link it before anything is built.
import { existsSync } from 'node:fs';

const entry = new URL('../dist/main.js', import.meta.url);
if (existsSync(entry)) {
  const { main, processIo } = await import(entry.href);
  process.exitCode = await main(process.argv.slice(2), processIo());
} else {
  process.stderr.write('duobit is not built yet. Run `npm run build` in the repository first.\n');
  process.exitCode = 1;
}
