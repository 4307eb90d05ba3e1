// `node scripts/bench-sparse.mjs`: how fast a container of 6 GiB opens, locally and over HTTP, on the sources.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleSource } from './bundle-source.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const bundle = await bundleSource(join(ROOT, 'packages/format/bench/sparse.ts'), join(ROOT, 'out/bench'));
const { status } = spawnSync(process.execPath, [bundle], { cwd: ROOT, stdio: 'inherit' });
process.exitCode = status ?? 1;
