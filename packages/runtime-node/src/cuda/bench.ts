// Measures the device and the kernels by themselves: what memory can move, the ladder of W(1+1) products, the launches of a
// program one by one. Times are the device's own, of recorded launches in a row, over more memory than its cache holds.
import { roundUp } from './arena.ts';
import { type Device, float } from './device.ts';
import { chooseW11, type W11Form, w11Arguments } from './products.ts';
import type { CudaProgram } from './program.ts';
import { PLANE_BYTES } from './slots.ts';
import { ROW_ALIGN, TILE_ROWS, UNIT, type W11Weight } from './weights.ts';

/** Several times the L2 of any GPU. */
const WORKING_SET = 320 << 20;

/** Milliseconds that `act` takes on the device: the median of recorded runs. */
function measure(device: Device, act: () => void, runs = 9): number {
  const graph = device.capture(act);
  const events = [device.createEvent(), device.createEvent()] as const;
  try {
    const times: number[] = [];
    for (let run = 0; run <= runs; run++) {
      device.recordEvent(events[0]);
      device.launchGraph(graph);
      device.recordEvent(events[1]);
      const time = device.elapsed(events[0], events[1]);
      // The first brings code and tables onto the device.
      if (run > 0) times.push(time);
    }
    return times.sort((a, b) => a - b)[times.length >> 1]!;
  } finally {
    device.destroyGraph(graph);
    for (const event of events) device.destroyEvent(event);
  }
}

export interface Bandwidth {
  /** Bytes read and written a second, of a plain copy. */
  readonly copyBytesPerSecond: number;
  readonly readBytesPerSecond: number;
  /** Of an empty launch in a recording. */
  readonly launchSeconds: number;
  /** Products of bytes a second, sums not counted, of tensor cores by way of mma.sync, and of bits. */
  readonly mmaProductsPerSecond: number;
  readonly bitProductsPerSecond: number;
}

export function measureBandwidth(device: Device, length = 1 << 30): Bandwidth {
  const from = device.allocate(length);
  const to = device.allocate(length);
  try {
    device.fill(from, 0x3f812345, length);
    const blocks = 16 * device.facts.multiprocessors;
    const run = (name: string) =>
      // The count has 64 bits, as pointers have.
      measure(device, () => device.launch(name, [blocks, 1, 1], 256, [from, to, length / 16], [])) / 1000;
    const launches = 200;
    const empty = measure(device, () => {
      for (let i = 0; i < launches; i++) device.launch('copy_bytes', [1, 1, 1], 256, [from, to, 1], []);
    });
    const rounds = length < 1 << 30 ? 2 : 2000;
    const warps = blocks * 8;
    const rate = (name: string) =>
      measure(device, () => device.launch(name, [blocks, 1, 1], 256, [to], [rounds])) / 1000;
    return {
      mmaProductsPerSecond: (warps * rounds * 12 * 16 * 8 * 32) / rate('mma_rate'),
      bitProductsPerSecond: (warps * rounds * 12 * 16 * 8 * 256) / rate('bits_rate'),
      copyBytesPerSecond: (2 * length) / run('copy_bytes'),
      readBytesPerSecond: length / run('read_bytes'),
      launchSeconds: empty / 1000 / launches,
    };
  } finally {
    device.free(from);
    device.free(to);
  }
}

/**
 * Seconds of a launch that reads and writes so many bytes together and does nothing else, in a row with others over more memory than
 * the cache holds: what a product that reads as many could take at the least.
 */
export function measureCopy(device: Device, bytes: number, workingSet = WORKING_SET): number {
  const half = roundUp(Math.ceil(bytes / 2), 16);
  const stride = roundUp(half, 256);
  const copies = Math.max(2, Math.ceil(workingSet / 2 / stride));
  const from = device.allocate(stride * copies);
  const to = device.allocate(stride * copies);
  try {
    device.fill(from, 0x3f812345, stride * copies);
    const blocks = Math.min(16 * device.facts.multiprocessors, Math.ceil(half / 16 / 256));
    const seconds = measure(device, () => {
      for (let i = 0; i < copies; i++)
        device.launch('copy_bytes', [blocks, 1, 1], 256, [from + i * stride, to + i * stride, half / 16], []);
    });
    return seconds / 1000 / copies;
  } finally {
    device.synchronize();
    device.free(from);
    device.free(to);
  }
}

export interface LadderRung {
  readonly form: W11Form;
  readonly tokens: number;
  readonly kernel: string;
  readonly seconds: number;
  /** Of weights, levels and row sums alone. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
  /** Largest difference from the first form, as a fraction of the largest result; null of the first. */
  readonly difference: number | null;
}

const GROUP = 128;

/** One shape, rows out x columns in; every form on the same fresh random numbers, poisoned results before each. */
export function climbLadder(
  device: Device,
  rows: number,
  columns: number,
  tokenCounts: readonly number[],
  forms: readonly W11Form[],
  workingSet = WORKING_SET,
): LadderRung[] {
  const tiles = Math.ceil(rows / TILE_ROWS);
  const units = Math.ceil(columns / UNIT);
  const [bitBytes, levelBytes, sumBytes] = [
    tiles * units * 512,
    tiles * units * TILE_ROWS * 8,
    4 * tiles * TILE_ROWS,
  ];
  const each = roundUp(bitBytes, 256) + roundUp(levelBytes, 256) + roundUp(sumBytes, 256);
  const copies = Math.max(2, Math.ceil(workingSet / each));
  const most = Math.max(...tokenCounts);
  const owned: number[] = [];
  const take = (bytes: number) => {
    const address = device.allocate(bytes);
    owned.push(address);
    return address;
  };
  try {
    const base = take(each * copies);
    const noise = Uint32Array.from({ length: 1 << 20 }, () => Math.random() * 2 ** 32);
    const noiseBytes = new Uint8Array(noise.buffer);
    // f16 between 2^-7 and 2^-5, both signs in mu.
    const levels = Uint16Array.from(
      { length: 1 << 20 },
      (_, i) =>
        ((i & 2) === 2 && Math.random() < 0.5 ? 0x8000 : 0) | (0x2000 + Math.floor(Math.random() * 0x800)),
    );
    const repeat = (source: Uint8Array) => (target: Uint8Array, offset: number) => {
      for (let at = 0; at < target.length; ) {
        const start = (offset + at) % source.length;
        const part = source.subarray(start, start + target.length - at);
        target.set(part, at);
        at += part.length;
      }
    };
    const weights = Array.from({ length: copies }, (_, i): W11Weight => {
      const bits = base + i * each;
      const levelsAt = bits + roundUp(bitBytes, 256);
      const rowSums = levelsAt + roundUp(levelBytes, 256);
      device.upload(bits, bitBytes, repeat(noiseBytes.subarray(4 * i)));
      device.upload(levelsAt, levelBytes, repeat(new Uint8Array(levels.buffer)));
      device.fill(rowSums, 0x3c23d70a, sumBytes);
      return {
        kind: 'w11',
        rows,
        columns,
        groupSize: GROUP,
        offsets: true,
        bits,
        levels: levelsAt,
        rowSums,
        tiles,
      };
    });
    const x = take(4 * columns * most);
    const values = Float32Array.from({ length: columns * most }, () => Math.random() * 2 - 1);
    device.uploadBytes(x, new Uint8Array(values.buffer));
    const [codes, planes, sums, params] = [
      take(most * units * UNIT),
      take(units * PLANE_BYTES),
      take(most * units * 16),
      take(8 * most),
    ];
    const out = take(4 * tiles * TILE_ROWS * most);
    const scratchStride = roundUp(columns, ROW_ALIGN);
    device.launch(
      'row_chain',
      [most, 1, 1],
      512,
      [x, 0, 0, 0, codes, sums, params, planes, take(4 * scratchStride * most)],
      [0, columns, columns, 0, 0, 0, scratchStride, 0, float(0), float(0), float(1), float(1), 0, float(0)],
      units * PLANE_BYTES,
    );
    const stride = tiles * TILE_ROWS;
    const rungs: LadderRung[] = [];
    for (const tokens of tokenCounts) {
      let first: Float32Array | null = null;
      for (const form of forms) {
        if (tokens > 1 && form === 'one') continue;
        const launched = chooseW11(device, form, weights[0]!, tiles, tokens);
        const { name, grid, threads, sharedBytes, shift } = launched;
        const input = { values: form === 'one' ? planes : codes, sums, params, stride: 0 };
        const launch = (weight: W11Weight) => {
          const operand = { weight, out, strideOut: stride, sum: 0, strideSum: 0 };
          const { pointers, numbers } = w11Arguments([operand], input, tokens, columns, { shift });
          device.launch(name, grid, threads, pointers, numbers, sharedBytes);
        };
        device.fill(out, 0xffffffff, 4 * stride * tokens);
        launch(weights[0]!);
        const found = new Float32Array(device.download(out, 4 * stride * tokens).buffer);
        const difference = first === null ? null : compare(found, first, stride, rows);
        first ??= found;
        const seconds =
          measure(device, () => {
            for (const weight of weights) launch(weight);
          }) /
          1000 /
          copies;
        rungs.push({
          form,
          tokens,
          kernel: name,
          seconds,
          bytes: bitBytes + levelBytes + sumBytes,
          bytesPerSecond: (bitBytes + levelBytes + sumBytes) / seconds,
          difference,
        });
      }
    }
    return rungs;
  } finally {
    device.synchronize();
    for (const address of owned) device.free(address);
  }
}

/** NaN when a result was not written. */
function compare(found: Float32Array, expected: Float32Array, stride: number, rows: number): number {
  let [most, scale] = [0, 0];
  for (let i = 0; i < found.length; i++) {
    if (i % stride >= rows) continue;
    const difference = Math.abs(found[i]! - expected[i]!);
    if (!(difference <= most)) most = difference;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return most / scale;
}

export interface KernelTime {
  readonly kernel: string;
  readonly launches: number;
  readonly seconds: number;
}

/** The launches of a run of so many rows, the last of so many positions, each recorded many times in a row, added up by kernel. */
export function profileProgram(program: CudaProgram, rows: number, positions: number): KernelTime[] {
  const { device, steps, state } = program.parts;
  device.uploadBytes(state, new Uint8Array(Int32Array.of(positions - rows, rows).buffer));
  const run = { rows, wanted: [{ first: rows - 1, count: 1 }], positions, sequence: 0, isLean: true };
  const times = new Map<string, { launches: number; seconds: number }>();
  const repeats = rows > 8 ? 2 : 10;
  for (const step of steps) {
    const seconds =
      measure(
        device,
        () => {
          for (let i = 0; i < repeats; i++) step(run);
        },
        1,
      ) /
      1000 /
      repeats;
    const known = times.get(device.latestKernel) ?? { launches: 0, seconds: 0 };
    times.set(device.latestKernel, { launches: known.launches + 1, seconds: known.seconds + seconds });
  }
  return [...times].map(([kernel, time]) => ({ kernel, ...time })).sort((a, b) => b.seconds - a.seconds);
}
