// `node scripts/bench-hostile.mjs`: time and memory of refusing every hostile header of packages/format/test, on the
// sources. A measurement, not a test: docs/format.md, "Security considerations", quotes it.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleSource } from './bundle-source.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const bundle = await bundleSource(join(ROOT, 'packages/format/bench/hostile.ts'), join(ROOT, 'out/bench'));
const { status } = spawnSync(process.execPath, [bundle], { cwd: ROOT, stdio: 'inherit' });
process.exitCode = status ?? 1;
