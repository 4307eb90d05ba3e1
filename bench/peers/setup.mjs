// Gets the peers from npm into the git-ignored .cache/peers, on demand and without install scripts: they are no
// dependencies of the project. A peer that cannot be had is null with a reason, never an error.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const PEERS_FOLDER = fileURLToPath(new URL('../../.cache/peers/', import.meta.url));

const PLATFORM = `${process.platform}-${process.arch}`;
/** node-llama-cpp's prebuilt libraries; one of the versions in llama-layouts.mjs. */
const LLAMA_VERSION = '3.22.1';
const KOFFI_VERSION = '3.3.4';
const ONNXRUNTIME_VERSION = '1.30.0';
/** The present one, and under another name the last that takes tokens instead of text. */
const WLLAMA_VERSIONS = { '@wllama/wllama': '3.13.0', 'wllama-2': 'npm:@wllama/wllama@2.4.0' };
/** With the build of onnxruntime-web that this version depends on, so that it lies where the page looks for it. */
const TRANSFORMERS_VERSIONS = {
  '@huggingface/transformers': '4.3.1',
  'onnxruntime-web': '1.31.0-dev.20260914-8d85527a0',
};

/** What each peer is installed from. `platforms` are those this benchmark knows how to load it on. */
export const PEERS = {
  'llama.cpp': {
    platforms: ['linux-x64', 'linux-arm64'],
    packages: {
      [`@node-llama-cpp/${PLATFORM}`]: LLAMA_VERSION,
      koffi: KOFFI_VERSION,
      [`@koromix/koffi-${PLATFORM}`]: KOFFI_VERSION,
    },
  },
  onnxruntime: {
    platforms: ['linux-x64', 'linux-arm64', 'darwin-arm64', 'win32-x64', 'win32-arm64'],
    packages: { 'onnxruntime-node': ONNXRUNTIME_VERSION },
  },
  wllama: { platforms: [PLATFORM], packages: WLLAMA_VERSIONS },
  'transformers.js': { platforms: [PLATFORM], packages: TRANSFORMERS_VERSIONS },
};

/** Installs a peer unless it is there; gives {versions} or {reason}. */
export function installPeer(name, log) {
  const { platforms, packages } = PEERS[name];
  if (!platforms.includes(PLATFORM)) return { reason: `no prebuilt library is loaded on ${PLATFORM}` };
  if (!isInstalled(packages)) {
    log(`installing ${Object.keys(packages).join(', ')} into .cache/peers`);
    mkdirSync(PEERS_FOLDER, { recursive: true });
    const manifest = path.join(PEERS_FOLDER, 'package.json');
    if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true }\n');
    const specifiers = Object.entries(packages).map(([key, version]) => `${key}@${version}`);
    // onnxruntime's scripts fetch CUDA libraries, and the platform packages that are optional add hundreds of
    // megabytes of GPU builds; the two that are needed are named above.
    const flags = ['--save-exact', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
    const npm = spawnSync('npm', ['install', ...flags, ...specifiers], {
      cwd: PEERS_FOLDER,
      encoding: 'utf8',
      timeout: 600_000,
    });
    if (npm.status !== 0 || !isInstalled(packages)) {
      const lines = (npm.stderr ?? npm.error?.message ?? '').trim().split('\n');
      return {
        reason: `npm could not install it: ${lines.find((line) => /error/i.test(line)) ?? `exit ${npm.status}`}`,
      };
    }
  }
  return { versions: packages };
}

function isInstalled(packages) {
  return Object.entries(packages).every(([name, version]) => {
    try {
      const manifest = path.join(PEERS_FOLDER, 'node_modules', name, 'package.json');
      // An alias is npm:<name>@<version>.
      return JSON.parse(readFileSync(manifest, 'utf8')).version === version.split('@').at(-1);
    } catch {
      return false;
    }
  });
}

/** `require` as a file in .cache/peers would have it. */
export function requirePeer(name) {
  return createRequire(path.join(PEERS_FOLDER, 'package.json'))(name);
}

/** What `openLlama` takes, of the peer that is installed. */
export function findLlama() {
  const bins = path.join(PEERS_FOLDER, 'node_modules/@node-llama-cpp', PLATFORM, 'bins');
  const [folder] = readdirSync(bins);
  return { koffi: requirePeer('koffi'), folder: path.join(bins, folder), version: LLAMA_VERSION };
}
