// `npm run pack:webgpu`: a folder that checks and measures the WebGPU backend on a bare x86-64 Linux machine with Vulkan, without
// Node, npm or a network: .gpu-web/payload.tar.xz and .gpu-web/run.sh. Sources are bundled, so no build is needed before.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { generateShaders } from '../packages/runtime-web/scripts/build-shaders.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDER = join(ROOT, '.gpu-web');
const PAYLOAD = join(FOLDER, 'payload');
const MOST_BYTES = 40 << 20;

/** TinyStories-656K as W(1+1)A4; made here where it is not there yet. */
function tinyModel() {
  const path = join(ROOT, 'out/tinystories-656k.duo');
  if (existsSync(path)) return path;
  execFileSync(
    process.execPath,
    [
      join(ROOT, 'packages/cli/bin/duobit.mjs'),
      'quantize',
      'fixtures/tinystories-656k',
      '-o',
      path,
      '--calibration',
      'fixtures/stories/calibration.txt',
    ],
    { cwd: ROOT, stdio: 'inherit' },
  );
  return path;
}

const RUN = `#!/usr/bin/env bash
# Checks and measures the WebGPU backend here. Vulkan's loader has to be there (ldconfig -p | grep libvulkan).
#   bash .gpu-web/run.sh [--parts adapters,conformance,greedy,fusion,tuning,ladder,tiles,models,unchecked] [--models smollm2,1B,3B,8B] [--quick]
# Records go to $OUT or ./out: webgpu.jsonl and webgpu.log.
here=$(cd "$(dirname "\${BASH_SOURCE[0]}")" && pwd)
export OUT=\${OUT:-$PWD/out}
mkdir -p "$OUT"
place=\${DUOBIT_PLACE:-/tmp/duobit-webgpu}
if ! cmp -s "$here/stamp" "$place/stamp"; then
  rm -rf "$place"
  mkdir -p "$place"
  for part in node payload; do
    tar -xJf "$here/$part.tar.xz" -C "$place" 2>/dev/null ||
      python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$here/$part.tar.xz" "$place" ||
      { echo "cannot unpack $part.tar.xz"; exit 1; }
  done
  cp "$here/stamp" "$place/stamp"
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv,noheader 2>/dev/null
echo "Vulkan loader: $(ldconfig -p 2>/dev/null | grep -o 'libvulkan.so.1.*' | head -1)"
if [ -z "\${VK_DRIVER_FILES:-}\${VK_ICD_FILENAMES:-}" ]; then
  for file in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json; do
    if [ -e "$file" ] && ! ls /usr/share/vulkan/icd.d/*nvidia* /etc/vulkan/icd.d/*nvidia* >/dev/null 2>&1; then export VK_DRIVER_FILES=$file; fi
  done
fi
echo "Vulkan drivers: \${VK_DRIVER_FILES:-\${VK_ICD_FILENAMES:-$(ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json 2>/dev/null | tr '\\n' ' ')}}"
export XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
set -o pipefail
"$place/node" "$place/main.mjs" "$@" 2>&1 | tee "$OUT/webgpu.log"
`;

// Kernels as they are now, generated or not.
for (const [path, text] of generateShaders()) writeFileSync(join(ROOT, path), text);
rmSync(PAYLOAD, { recursive: true, force: true });
mkdirSync(join(PAYLOAD, 'models'), { recursive: true });
await build({
  entryPoints: [join(ROOT, 'bench/webgpu/main.mjs')],
  outfile: join(PAYLOAD, 'main.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  conditions: ['@duobit/source'],
  external: ['webgpu'],
  logLevel: 'warning',
});
const dawn = dirname(
  createRequire(join(ROOT, 'packages/runtime-node/package.json')).resolve('webgpu/package.json'),
);
const target = join(PAYLOAD, 'node_modules/webgpu');
for (const part of ['package.json', 'index.js', 'dist/linux-x64'])
  cpSync(join(dawn, part), join(target, part), { recursive: true });
cpSync(tinyModel(), join(PAYLOAD, 'models/tinystories-656k.duo'));
execFileSync('tar', ['-cJf', join(FOLDER, 'payload.tar.xz'), '-C', PAYLOAD, '.']);
rmSync(PAYLOAD, { recursive: true });

// Node does not change from one time to the next, and takes a minute.
const node = join(FOLDER, 'node.tar.xz');
const stamp = `${process.version} ${statSync(process.execPath).size}`;
const known = join(FOLDER, 'node.stamp');
if (!existsSync(node) || !existsSync(known) || readFileSync(known, 'utf8') !== stamp) {
  execFileSync('tar', [
    '-cf',
    join(FOLDER, 'node.tar'),
    '--transform',
    's/.*/node/',
    '-C',
    dirname(process.execPath),
    'node',
  ]);
  execFileSync('xz', ['-9', '-T2', '-f', join(FOLDER, 'node.tar')]);
  writeFileSync(known, stamp);
}
writeFileSync(join(FOLDER, 'stamp'), `${stamp} ${Date.now()}\n`);
writeFileSync(join(FOLDER, 'run.sh'), RUN);
chmodSync(join(FOLDER, 'run.sh'), 0o755);
const bytes = [node, join(FOLDER, 'payload.tar.xz')].reduce((sum, file) => sum + statSync(file).size, 0);
console.log(`.gpu-web: ${(bytes / 2 ** 20).toFixed(1)} MiB; run: bash .gpu-web/run.sh`);
if (bytes > MOST_BYTES) {
  console.error(`that is more than ${MOST_BYTES / 2 ** 20} MiB`);
  process.exitCode = 1;
}
