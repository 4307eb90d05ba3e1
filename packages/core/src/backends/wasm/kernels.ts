// The compiled kernel module: which build an engine gets, and the types of what it exports.
import { DuobitError } from '@duobit/format';
import { KERNELS_BASE64, RELAXED_KERNELS_BASE64 } from './generated/kernels.ts';

/** Exports of assembly/index.ts. Pointers and sizes are u32; strides are in bytes. */
export type Kernels = WebAssembly.Exports & {
  /** assembly/program.ts: 0 when a thread was lost. */
  run(rows: number, parts: number, wanted: number): number;
  /** assembly/pack.ts */
  packTile(
    sign: number,
    bitmap: number,
    alpha: number,
    mu: number,
    columns: number,
    groupSize: number,
    scratch: number,
    to: number,
    rowSums: number,
  ): void;
  quantizeActivations(
    input: number,
    inputStride: number,
    tables: number,
    tableStride: number,
    sums: number,
    sumStride: number,
    params: number,
    rows: number,
    width: number,
    clipLow: number,
    clipHigh: number,
  ): void;
  w11MatMul(
    weights: number,
    rowSums: number,
    tables: number,
    tableStride: number,
    sums: number,
    sumStride: number,
    params: number,
    scratch: number,
    out: number,
    outStride: number,
    rows: number,
    outputs: number,
    firstTile: number,
    endTile: number,
    groups: number,
    unitsPerGroup: number,
    lastUnits: number,
  ): void;
};

export interface KernelOptions {
  /** Whether the module takes a memory that threads share. */
  readonly shared: boolean;
  /** False keeps to plain SIMD128 where the engine has relaxed SIMD too. */
  readonly relaxed?: boolean | undefined;
}

/** @throws DuobitError `BACKEND_UNSUPPORTED` when the engine lacks WebAssembly, its 128-bit SIMD or atomics. */
export async function compileKernels({ shared, relaxed = true }: KernelOptions): Promise<WebAssembly.Module> {
  try {
    let bytes = decodeBase64(RELAXED_KERNELS_BASE64);
    if (!relaxed || !WebAssembly.validate(bytes)) bytes = decodeBase64(KERNELS_BASE64);
    if (!shared) importPlainMemory(bytes);
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new DuobitError('BACKEND_UNSUPPORTED', 'this engine cannot compile WebAssembly with 128-bit SIMD', {
      where: 'wasm backend',
      remedy: 'Use Node 20 or a browser from 2023 on, or the reference backend',
      cause,
    });
  }
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** "env" "memory", each behind its length, then the kind 'memory' and the limits' flags: shared, with a maximum. */
const MEMORY_IMPORT = '\x03env\x06memory\x02\x03';

/** Takes the flag `shared` off the memory that the module imports: one bit apart, so no second build is needed. */
function importPlainMemory(bytes: Uint8Array): void {
  const at = bytes.findIndex((_, start) =>
    [...MEMORY_IMPORT].every((character, i) => bytes[start + i] === character.charCodeAt(0)),
  );
  bytes[at + MEMORY_IMPORT.length - 1] = 1;
}

/** `wait`: see assembly/pool.ts; a single thread never waits. */
export async function instantiateKernels(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  wait: (address: number, seen: number) => number = () => 0,
): Promise<Kernels> {
  const instance = await WebAssembly.instantiate(module, { env: { memory, wait } });
  return instance.exports as Kernels;
}
