// The compiled kernel module and the signatures of what it exports. The sources are in assembly/*.ts, which also document
// the memory layouts. All pointers and strides are in bytes.
import { DuobitError } from '@duobit/format';
import { KERNELS_BASE64 } from './generated/kernels.ts';

// A type alias, not an interface: only an alias is comparable with the index signature of WebAssembly's exports.
export type Kernels = {
  quantizeActivations(
    input: number,
    inputStride: number,
    tables: number,
    tableStride: number,
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
  denseMatMul(
    x: number,
    xStride: number,
    weights: number,
    bytes: number,
    out: number,
    outStride: number,
    rows: number,
    firstOutput: number,
    endOutput: number,
  ): void;
  int8MatMul: IntegerMatMul;
  int4MatMul: IntegerMatMul;
  embedF32(tokens: number, weights: number, out: number, bytes: number, rows: number): void;
  embedInt8: IntegerEmbed;
  embedInt4: IntegerEmbed;
  rmsNorm(
    input: number,
    weight: number,
    out: number,
    stride: number,
    rows: number,
    width: number,
    epsilon: number,
  ): void;
  rope(
    target: number,
    stride: number,
    angles: number,
    rows: number,
    headCount: number,
    headSize: number,
  ): void;
  cacheRows(
    input: number,
    inputStride: number,
    cache: number,
    rows: number,
    position: number,
    kvHeads: number,
    headBytes: number,
    size: number,
    capacity: number,
  ): void;
  attention(
    query: number,
    queryStride: number,
    keys: number,
    values: number,
    out: number,
    outStride: number,
    scratch: number,
    rows: number,
    position: number,
    group: number,
    headSize: number,
    size: number,
    capacity: number,
    window: number,
    scale: number,
    firstHead: number,
    endHead: number,
  ): void;
  siluMul(gate: number, up: number, out: number, bytes: number): void;
  add(input: number, out: number, bytes: number): void;
  accumulateSquares(input: number, stride: number, sums: number, rows: number, width: number): void;
};

type IntegerMatMul = (
  x: number,
  xStride: number,
  weights: number,
  scales: number,
  scratch: number,
  scratchStride: number,
  out: number,
  outStride: number,
  rows: number,
  width: number,
  groupSize: number,
  firstOutput: number,
  endOutput: number,
) => void;

type IntegerEmbed = (
  tokens: number,
  weights: number,
  scales: number,
  out: number,
  outStride: number,
  rows: number,
  width: number,
  groupSize: number,
) => void;

/** @throws DuobitError `BACKEND_UNSUPPORTED` when the engine lacks WebAssembly or its 128-bit SIMD. */
export async function compileKernels(): Promise<WebAssembly.Module> {
  const bytes = Uint8Array.from(atob(KERNELS_BASE64), (character) => character.charCodeAt(0));
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new DuobitError('BACKEND_UNSUPPORTED', 'this engine cannot compile WebAssembly with 128-bit SIMD', {
      where: 'wasm backend',
      remedy: 'Use Node 20 or a browser from 2021 on, or the reference backend',
      cause,
    });
  }
}

export async function instantiateKernels(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<Kernels> {
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  return instance.exports as Kernels;
}
