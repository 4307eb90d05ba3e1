// Layouts of packed weights, byte for byte, against loops that place one value at a time as the kernels' sources describe.
import { encodedPlaneLengths, f16ToF32, type TensorData } from '@duobit/format';
import { createRandom, drawInteger, type Random } from '@duobit/testkit';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Heap } from './heap.ts';
import { compileKernels, instantiateKernels } from './kernels.ts';
import { loadDense, loadInteger, loadW11 } from './weights.ts';

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileKernels({ shared: false });
});

const shape = {
  rows: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1, 15, 16, 17, 32)),
  columns: fc.oneof(
    fc.integer({ min: 1, max: 600 }),
    fc.constantFrom(1, 16, 31, 32, 33, 48, 256, 272, 288, 512),
  ),
  groupSize: fc.constantFrom(32, 64, 128, 256),
  seed: fc.integer(),
  /** Of each plane, how far it begins past an aligned address. */
  shift: fc.integer({ min: 0, max: 3 }),
};

/** A tensor of random bytes, those of padding too; scales and levels are finite f16. With `full` all its bits are 1. */
function makeTensor(
  encoding: TensorData['info']['encoding'],
  { rows, columns, shift, seed }: { rows: number; columns: number; shift: number; seed: number },
  full = false,
): TensorData {
  const random = createRandom(seed);
  const planes: Record<string, Uint8Array<ArrayBuffer>> = {};
  for (const [role, length] of Object.entries(encodedPlaneLengths(encoding, [rows, columns]))) {
    const plane = new Uint8Array(new ArrayBuffer(length + shift + 8), shift, length);
    const isF16 =
      !['sign', 'bitmap', 'codes'].includes(role) && encoding.kind !== 'bf16' && encoding.kind !== 'f32';
    plane.forEach((_, i) => {
      plane[i] =
        full && (role === 'sign' || role === 'bitmap') ? 255 : drawByte(random, isF16 && i % 2 === 1);
    });
    planes[role] = plane;
  }
  return { info: { name: 'w', shape: [rows, columns], encoding, activation: null }, planes };
}

/** A high byte of f16 or f32 whose exponent is all ones could be NaN, of which bits are not kept everywhere. */
function drawByte(random: Random, high: boolean): number {
  const byte = drawInteger(random, 0, 255);
  return high ? byte & 0xbb : byte;
}

function bit(plane: Uint8Array, rowBytes: number, row: number, column: number): number {
  return (plane[row * rowBytes + (column >> 3)]! >> (column & 7)) & 1;
}

function word(plane: Uint8Array, index: number): number {
  return plane[2 * index]! | (plane[2 * index + 1]! << 8);
}

function newHeap(): Heap {
  const heap = new Heap();
  // So that a pointer is none that any heap begins with.
  heap.allocate(64, 'something else');
  return heap;
}

/** What the heap holds from `pointer` to the end of its memory: beyond what was handed out all is zero. */
function takeRest(heap: Heap, pointer: number): Uint8Array {
  return heap.bytes(pointer, heap.memory.buffer.byteLength - pointer).slice();
}

function expectBytes(heap: Heap, pointer: number, expected: readonly ArrayBufferView[]): void {
  const actual = takeRest(heap, pointer);
  const rest = new Uint8Array(actual.length);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of expected) {
    rest.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += Math.ceil(byteLength / 64) * 64;
  }
  expect(heap.used - pointer).toBe(at);
  expect(Buffer.compare(actual, rest)).toBe(0);
}

describe('W(1+1)', () => {
  function expectPacked(data: TensorData, heap: Heap, pointer: number): void {
    const { info, planes } = data;
    const [rows, columns] = info.shape as [number, number];
    const { groupSize } = info.encoding as { groupSize: number };
    const groups = Math.ceil(columns / groupSize);
    const tiles = Math.ceil(rows / 16);
    const tileBytes = groups * 128 + Math.ceil(columns / 16) * 64;
    const rowBytes = 4 * Math.ceil(columns / 32);
    const packed = new Uint8Array(tiles * tileBytes);
    const sums = new Float32Array(tiles * 16);
    for (let row = 0; row < rows; row++) {
      const r = row % 16;
      const tile = Math.floor(row / 16) * tileBytes;
      let sum = 0;
      for (let g = 0; g < groups; g++) {
        const begin = tile + g * (128 + groupSize * 4);
        const levels = [0, 1].flatMap((pair) => {
          const index = (row * groups + g) * 2 + pair;
          return [planes.mu ? word(planes.mu, index) : 0, word(planes.alpha!, index)];
        });
        levels.forEach((level, kind) => {
          packed[begin + kind * 32 + r * 2] = level & 255;
          packed[begin + kind * 32 + r * 2 + 1] = level >> 8;
        });
        /** Of both values of the bitmap, how many columns, and how many with sign 1. */
        const all = [0, 0];
        const ones = [0, 0];
        for (let k = g * groupSize; k < Math.min(columns, (g + 1) * groupSize); k++) {
          const s = bit(planes.sign!, rowBytes, row, k);
          const m = bit(planes.bitmap!, rowBytes, row, k);
          all[m]!++;
          ones[m]! += s;
          const lane = r < 8 ? 2 * r : 2 * (r - 8) + 1;
          const to = begin + 128 + Math.floor((k - g * groupSize) / 4) * 16 + lane;
          packed[to]! |= (s << (k % 4)) | (m << (4 + (k % 4)));
        }
        const [mu0, alpha0, mu1, alpha1] = levels.map(f16ToF32) as [number, number, number, number];
        sum += mu0 * all[0]! + alpha0 * (2 * ones[0]! - all[0]!);
        sum += mu1 * all[1]! + alpha1 * (2 * ones[1]! - all[1]!);
      }
      sums[row] = sum;
    }
    expectBytes(heap, pointer, [packed, sums]);
  }

  async function check(data: TensorData): Promise<void> {
    const heap = newHeap();
    const kernels = await instantiateKernels(module, heap.memory);
    const weight = loadW11(heap, kernels, data);
    expectPacked(data, heap, weight.pointer);
  }

  it('is tiles of 16 rows with their row sums, for any shape and alignment, and leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.record({ ...shape, offsets: fc.boolean() }), ({ groupSize, offsets, ...size }) =>
        check(makeTensor({ kind: 'w11', groupSize, offsets }, size)),
      ),
      { numRuns: 300 },
    );
  });

  it('counts a group of which all bits are 1', async () => {
    for (const groupSize of [32, 64, 128, 256])
      await check(
        makeTensor(
          { kind: 'w11', groupSize, offsets: true },
          { rows: 17, columns: 2 * groupSize + 5, seed: 1, shift: 0 },
          true,
        ),
      );
  });

  it('sums to what infinite and NaN levels make of a row', async () => {
    const size = { rows: 16, columns: 64, seed: 1, shift: 0 };
    const data = makeTensor({ kind: 'w11', groupSize: 64, offsets: true }, size);
    const mu = new DataView(data.planes.mu!.buffer);
    [0x7c00, 0xfc00, 0x7e00, 0x0001, 0x83ff].forEach((bits, row) => {
      mu.setUint16(row * 4, bits, true);
    });
    const heap = newHeap();
    const { rowSums } = loadW11(heap, await instantiateKernels(module, heap.memory), data);
    const sums = [...heap.floats(rowSums, 5)];
    expect(sums.slice(0, 3)).toEqual([Infinity, -Infinity, Number.NaN]);
    expect(sums.slice(3).every(Number.isFinite)).toBe(true);
  });

  it('sees memory that was added since its kernels were instantiated, shared memory too', async () => {
    for (const shared of [false, true]) {
      const heap = new Heap({ shared });
      const kernels = await instantiateKernels(await compileKernels({ shared }), heap.memory);
      heap.allocate(2 ** 22, 'something else');
      const data = makeTensor(
        { kind: 'w11', groupSize: 64, offsets: true },
        { rows: 100, columns: 300, seed: 1, shift: 0 },
      );
      expectPacked(data, heap, loadW11(heap, kernels, data).pointer);
    }
  });
});

describe('integers', () => {
  it.each(['int8', 'int4'] as const)(
    '%s is 4 rows in chunks of 16 bytes, for any shape and alignment',
    (kind) => {
      fc.assert(
        fc.property(fc.record(shape), ({ groupSize, ...size }) => {
          const { rows, columns } = size;
          const data = makeTensor({ kind, groupSize }, size);
          const heap = newHeap();
          const weight = loadInteger(heap, data, kind);
          const { codes, scale } = data.planes as Record<string, Uint8Array>;
          const perChunk = kind === 'int8' ? 16 : 32;
          const chunks = Math.ceil(columns / perChunk);
          const groups = Math.ceil(columns / groupSize);
          const paddedRows = Math.ceil(rows / 4) * 4;
          const packed = new Uint8Array(paddedRows * chunks * 16);
          const scales = new Float32Array(paddedRows * groups);
          const rowBytes = 4 * Math.ceil(columns / (kind === 'int8' ? 4 : 8));
          for (let row = 0; row < rows; row++) {
            for (let k = 0; k < columns; k++) {
              const chunk = Math.floor(row / 4) * chunks + Math.floor(k / perChunk);
              const begin = (chunk * 4 + (row % 4)) * 16;
              if (kind === 'int8') packed[begin + (k % 16)] = codes![row * rowBytes + k]!;
              else {
                const code = (codes![row * rowBytes + (k >> 1)]! >> (4 * (k % 2))) & 15;
                const nibble = Math.floor((k % 32) / 8);
                packed[begin + 2 * (k % 8) + (nibble >> 1)]! |= (code ^ 8) << (4 * (nibble % 2));
              }
            }
            for (let g = 0; g < groups; g++)
              scales[(Math.floor(row / 4) * groups + g) * 4 + (row % 4)] = f16ToF32(
                word(scale!, row * groups + g),
              );
          }
          expectBytes(heap, weight.pointer, [packed, scales]);
        }),
        { numRuns: 200 },
      );
    },
  );
});

describe('dense', () => {
  it.each(['f32', 'f16', 'bf16'] as const)('%s is f32, 4 rows in chunks of 4 columns', (kind) => {
    fc.assert(
      fc.property(fc.record(shape), (size) => {
        const { rows, columns } = size;
        const data = makeTensor({ kind }, size);
        const heap = newHeap();
        const { pointer } = loadDense(heap, data);
        const plane = data.planes.dense!;
        const bits = new Uint32Array(1);
        const value = new Float32Array(bits.buffer);
        const chunks = Math.ceil(columns / 4);
        const packed = new Uint32Array(Math.ceil(rows / 4) * chunks * 16);
        for (let row = 0; row < rows; row++)
          for (let k = 0; k < columns; k++) {
            const index = row * columns + k;
            if (kind === 'f16') value[0] = f16ToF32(word(plane, index));
            else if (kind === 'bf16') bits[0] = word(plane, index) << 16;
            else bits[0] = word(plane, 2 * index) | (word(plane, 2 * index + 1) << 16);
            packed[((Math.floor(row / 4) * chunks + (k >> 2)) * 4 + (row % 4)) * 4 + (k % 4)] = bits[0]!;
          }
        expectBytes(heap, pointer, [packed]);
      }),
      { numRuns: 100 },
    );
  });
});
