// Finds and loads the native addon, and types what it exports. Looked for in this order: the path in the environment
// variable DUOBIT_NATIVE ('off' looks no further), what was built in this package (by scripts/build-native.mjs or by
// node-gyp), the prebuilt package of this platform. docs/native.md is the guide.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { TrainingAddon } from './training-addon.ts';

/** Handles of objects that live in C++; freed by the dispose functions, or with the last reference to them. */
export type PoolHandle = { readonly pool: unique symbol };
export type ProgramHandle = { readonly program: unique symbol };

/** native/addon.cpp */
export interface Addon {
  readonly interface: number;
  /** Names of the instruction sets that this machine and this build have, fastest first. */
  instructionSets(): string[];
  createPool(threads: number): PoolHandle;
  disposePool(pool: PoolHandle): void;
  createProgram(pool: PoolHandle, instructionSet: string): ProgramHandle;
  disposeProgram(program: ProgramHandle): void;
  addVector(program: ProgramHandle, plane: Uint8Array, kind: number, columns: number): number;
  addDense(program: ProgramHandle, plane: Uint8Array, kind: number, rows: number, columns: number): number;
  addInteger(
    program: ProgramHandle,
    codes: Uint8Array,
    scales: Uint8Array,
    nibbles: boolean,
    rows: number,
    columns: number,
    groupSize: number,
  ): number;
  addW11(
    program: ProgramHandle,
    sign: Uint8Array,
    bitmap: Uint8Array,
    alpha: Uint8Array,
    mu: Uint8Array | undefined,
    rows: number,
    columns: number,
    groupSize: number,
  ): number;
  build(
    program: ProgramHandle,
    slots: Float64Array,
    operations: Float64Array,
    frequencies: Float64Array,
    geometry: Float64Array,
    columns: Int32Array,
  ): void;
  write(program: ProgramHandle, slot: number, values: Float32Array | Int32Array): void;
  /** @param parts sequence, first position, rows and rows of logits of each */
  run(program: ProgramHandle, parts: Int32Array): void;
  read(program: ProgramHandle, slot: number, rows: number): Float32Array<ArrayBuffer>;
  readBest(program: ProgramHandle, slot: number, row: number): { index: number; value: number };
  weightBytes(program: ProgramHandle): number;
  readonly training: TrainingAddon;
}

export type LoadedAddon =
  | { readonly addon: Addon; readonly path: string }
  | { readonly addon: null; readonly reason: string };

/** Of the border between this file and native/addon.cpp; both go up together. */
export const INTERFACE = 7;
const FUNCTIONS = [
  'instructionSets',
  'createPool',
  'createProgram',
  'build',
  'write',
  'run',
  'read',
] as const;

const require = createRequire(import.meta.url);
const loaded = new Map<string, LoadedAddon>();

/** Loads the addon once for each setting of DUOBIT_NATIVE. Never throws: the reason for its absence is part of the result. */
export function loadAddon(): LoadedAddon {
  const override = process.env.DUOBIT_NATIVE ?? '';
  let result = loaded.get(override);
  if (!result) {
    result = findAddon(override);
    loaded.set(override, result);
  }
  return result;
}

function findAddon(override: string): LoadedAddon {
  if (override === 'off') return { addon: null, reason: 'switched off by DUOBIT_NATIVE' };
  if (override !== '') return openAddon(override);
  const reasons: string[] = [];
  for (const path of listCandidates()) {
    const result = openAddon(path);
    if (result.addon) return result;
    reasons.push(result.reason);
  }
  return {
    addon: null,
    reason: reasons[0] ?? `none was built or installed for ${PLATFORM}`,
  };
}

/** From src/native the package lies two folders up, from dist one. */
const BUILDS = ['../..', '..'].flatMap((up) =>
  ['build/duobit.node', 'build/Release/duobit.node'].map((file) =>
    fileURLToPath(new URL(`${up}/native/${file}`, import.meta.url)),
  ),
);

/** Of scripts/native-targets.mjs. Installers pick by libc; if both are here, the wrong one does not load and the other does. */
const PLATFORM = `${process.platform}-${process.arch}`;
const PREBUILT = process.platform === 'linux' ? [PLATFORM, `${PLATFORM}-musl`] : [PLATFORM];

/** Files that exist. */
function listCandidates(): string[] {
  const found = BUILDS.filter((path) => existsSync(path));
  for (const name of PREBUILT)
    try {
      found.push(require.resolve(`@duobit/native-${name}/duobit.node`));
    } catch {
      // not installed
    }
  return found;
}

function openAddon(path: string): LoadedAddon {
  const fail = (what: string): LoadedAddon => ({ addon: null, reason: `${path}: ${what}` });
  let module: unknown;
  try {
    module = require(path);
  } catch (error) {
    // What the system says mostly begins with the path.
    const said = String(error instanceof Error ? error.message : error).split('\n')[0]!;
    return fail(said.startsWith(`${path}: `) ? said.slice(path.length + 2) : said);
  }
  if (!isAddon(module)) return fail('it is not an addon of this package');
  if (module.interface !== INTERFACE)
    return fail(`it has interface ${module.interface}, this package needs ${INTERFACE}`);
  if (module.instructionSets().length === 0) return fail('it has no kernels for this machine');
  return { addon: module, path };
}

function isAddon(module: unknown): module is Addon {
  if (typeof module !== 'object' || module === null) return false;
  const fields = new Map(Object.entries(module));
  return (
    typeof fields.get('interface') === 'number' &&
    FUNCTIONS.every((name) => typeof fields.get(name) === 'function')
  );
}
