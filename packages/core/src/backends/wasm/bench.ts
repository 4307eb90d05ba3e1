// How fast the W(1+1)A4 lookup kernel multiplies one row of activations on this machine: the figure that `duobit bench`
// prints beside whole-model speeds.
import {
  bitRowStride,
  DuobitError,
  encodedPlaneLengths,
  GROUP_SIZES,
  groupCount,
  type TensorData,
} from '@duobit/format';
import { Heap } from './heap.ts';
import { compileKernels, instantiateKernels } from './kernels.ts';
import { codeSumStride, W11_SCRATCH } from './slots.ts';
import { loadW11, padTo } from './weights.ts';

/** Options of `benchMatvec`. */
export interface MatvecOptions {
  /** Outputs N. */
  readonly rows: number;
  /** Inputs K. */
  readonly columns: number;
  readonly groupSize: number;
  /** Measured time, after a warm-up of a quarter of it. Default 1. */
  readonly seconds?: number | undefined;
}

/** What `benchMatvec` measured. */
export interface MatvecReport {
  /** 10^9 weights (N * K) a second, median over slices of the measured time; one thread. */
  readonly gweightsPerSecond: number;
  /** 10^9 bytes of packed weights read a second, at that speed. */
  readonly gigabytesPerSecond: number;
  /** Products in the measured time. */
  readonly calls: number;
  readonly seconds: number;
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  /** Bytes of the packed matrix: bits, levels and row sums. */
  readonly weightBytes: number;
}

const SLICES = 15;

/**
 * Times products of one quantized row with a random matrix, weights warm in whatever cache holds them.
 * @throws DuobitError `BACKEND_OPTION` for sizes that are not positive integers; `BACKEND_UNSUPPORTED`;
 * `BACKEND_OUT_OF_MEMORY`
 */
export async function benchMatvec(options: MatvecOptions): Promise<MatvecReport> {
  const { rows, columns, groupSize, seconds = 1 } = options;
  checkOptions(rows, columns, groupSize, seconds);
  const heap = new Heap();
  const kernels = await instantiateKernels(await compileKernels({ shared: false }), heap.memory);
  const before = heap.used;
  const weight = loadW11(heap, kernels, makeRandomTensor(rows, columns, groupSize));
  const weightBytes = heap.used - before;
  const input = heap.allocate(padTo(columns, 16) * 4, 'input');
  const tables = heap.allocate(padTo(columns, 16) * 4, 'tables');
  const params = heap.allocate(8, 'params');
  const out = heap.allocate(padTo(rows, 16) * 4, 'output');
  const sumStride = codeSumStride(columns);
  const sums = heap.allocate(sumStride, 'sums of codes');
  const scratch = heap.allocate(W11_SCRATCH, 'scratch');
  const random = createNoise();
  heap.floats(input, columns).forEach((_, k, values) => {
    values[k] = (random() & 0xffff) / 0x8000 - 1;
  });
  const tableBytes = padTo(columns, 16) * 4;
  kernels.quantizeActivations(
    input,
    columns * 4,
    tables,
    tableBytes,
    sums,
    sumStride,
    params,
    1,
    columns,
    1,
    1,
  );
  const { tiles, groups, unitsPerGroup, lastUnits, pointer, rowSums } = weight;
  const multiply = () =>
    kernels.w11MatMul(
      pointer,
      rowSums,
      tables,
      0,
      sums,
      0,
      params,
      scratch,
      out,
      0,
      1,
      rows,
      0,
      tiles,
      groups,
      unitsPerGroup,
      lastUnits,
    );

  const slice = (1000 * seconds) / SLICES;
  // The engine swaps its first, plain code for optimized code while this runs.
  timeSlice(multiply, 250 * seconds);
  const slices = Array.from({ length: SLICES }, () => timeSlice(multiply, slice));
  const rates = slices.map(({ calls, milliseconds }) => calls / milliseconds).sort((a, b) => a - b);
  const callsPerSecond = 1000 * rates[SLICES >> 1]!;
  return {
    gweightsPerSecond: (callsPerSecond * rows * columns) / 1e9,
    gigabytesPerSecond: (callsPerSecond * weightBytes) / 1e9,
    calls: slices.reduce((sum, { calls }) => sum + calls, 0),
    seconds: slices.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 1000,
    rows,
    columns,
    groupSize,
    weightBytes,
  };
}

function checkOptions(rows: number, columns: number, groupSize: number, seconds: number): void {
  const remedy = `Give positive integers, and a group size of ${GROUP_SIZES.join(', ')}`;
  for (const [where, value] of Object.entries({ rows, columns }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new DuobitError('BACKEND_OPTION', `${where} is ${value}`, { where, remedy });
  if (!GROUP_SIZES.includes(groupSize))
    throw new DuobitError('BACKEND_OPTION', `groupSize is ${groupSize}`, { where: 'groupSize', remedy });
  if (!(seconds > 0 && seconds <= 3600))
    throw new DuobitError('BACKEND_OPTION', `seconds is ${seconds}`, {
      where: 'seconds',
      remedy: 'Give a time above 0 and at most 3600 seconds',
    });
}

function timeSlice(run: () => void, least: number): { calls: number; milliseconds: number } {
  const start = performance.now();
  let calls = 0;
  let milliseconds = 0;
  do {
    run();
    calls++;
    milliseconds = performance.now() - start;
  } while (milliseconds < least);
  return { calls, milliseconds };
}

/** Random bits; levels +-0.0625 and +-0.125. The speed does not depend on the values. */
function makeRandomTensor(rows: number, columns: number, groupSize: number): TensorData {
  const encoding = { kind: 'w11', groupSize, offsets: true } as const;
  const shape = [rows, columns];
  const lengths = encodedPlaneLengths(encoding, shape);
  const random = createNoise();
  const bits = () => {
    const bytes = new Uint8Array(rows * bitRowStride(columns));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random();
    return bytes;
  };
  const alpha = new Uint16Array(rows * groupCount(columns, groupSize) * 2);
  for (let i = 0; i < alpha.length; i++) alpha[i] = i % 2 === 0 ? 0x2c00 : 0x3000;
  return {
    info: { name: 'matvec', shape, encoding, activation: null },
    planes: {
      sign: bits(),
      bitmap: bits(),
      alpha: new Uint8Array(alpha.buffer),
      mu: new Uint8Array(lengths.mu ?? 0),
    },
  };
}

/** A 32-bit xorshift: timing needs no better numbers. */
function createNoise(): () => number {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 8;
  };
}
