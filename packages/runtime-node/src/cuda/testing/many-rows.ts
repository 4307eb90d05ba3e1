// Products of many rows (kernels/w11-many.cu) beside those of few, on numbers whose sums are exact in any order.
import type { Device } from '../device.ts';
import { w11Arguments } from '../products.ts';
import { TILE_ROWS, UNIT, type W11Weight } from '../weights.ts';

/** Repeatable numbers below a bound. */
function numbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** f16 of 0 to 7. */
const SMALL = [0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700];

/** Rows of the weights of a launch, width, rows of codes. */
export type Shape = readonly [rows: readonly number[], columns: number, tokens: number];

/** All weights' results and what they were added to, by kernels whose blocks take so many rows of codes. */
export function multiplyRows(
  device: Device,
  each: 8 | 32 | 64,
  groupSize: number,
  offsets: boolean,
  shape: Shape,
): Float32Array[] {
  const [rows, columns, tokens] = shape;
  const next = numbers(groupSize + columns);
  const owned: number[] = [];
  const bring = (data: Uint8Array | Uint16Array | Uint32Array | Float32Array): number => {
    const address = device.allocate(data.byteLength);
    owned.push(address);
    device.uploadBytes(address, new Uint8Array(data.buffer));
    return address;
  };
  try {
    const units = Math.ceil(columns / UNIT);
    const spans = Math.ceil(units / (groupSize > UNIT ? 2 : 1));
    const groups = groupSize > UNIT ? spans : (units * UNIT) / groupSize;
    const strideOut = Math.max(...rows) + 3;
    const operands = rows.map((count, i) => {
      const tiles = Math.ceil(count / TILE_ROWS);
      const words = tiles * spans * (groupSize > UNIT ? 2 : 1) * 128;
      const weight: W11Weight = {
        kind: 'w11',
        rows: count,
        columns,
        groupSize,
        offsets,
        bits: bring(Uint32Array.from({ length: words }, () => next(2 ** 32))),
        levels: bring(
          Uint16Array.from(
            { length: tiles * groups * TILE_ROWS * (offsets ? 4 : 2) },
            () => SMALL[next(8)]! | (offsets ? next(2) << 15 : 0),
          ),
        ),
        rowSums: bring(Float32Array.from({ length: count }, () => next(9))),
        tiles,
      };
      const result = () => bring(new Float32Array(strideOut * tokens).fill(i + 1));
      return { weight, out: result(), strideOut, sum: i === 1 ? 0 : result(), strideSum: strideOut };
    });
    const codes = new Uint8Array(tokens * units * UNIT);
    const sums = new Float32Array(tokens * units * 4);
    const parts = groupSize >= UNIT ? 1 : UNIT / groupSize;
    // kernels/layout.cuh: byte by byte [half of the eight j][t][j][b], each code times 8, 4, 2 or 1.
    for (let at = 0; at < codes.length; at++) {
      const [code, j] = [next(16), ((at >> 6) & 1) * 4 + ((at >> 2) & 3)];
      codes[at] = code << (3 - (j & 3));
      sums[(at >> 7) * 4 + Math.floor((j * parts) / 8)]! += code;
    }
    const params = Float32Array.from({ length: 2 * tokens }, (_, i) => (i % 2 ? 1 : -next(4)));
    const input = { values: bring(codes), sums: bring(sums), params: bring(params), stride: 0 };
    const { pointers, numbers: args } = w11Arguments(operands, input, tokens, columns);
    const tiles = operands.reduce((total, { weight }) => total + weight.tiles, 0);
    const [kernel, grid] =
      each === 8
        ? ['mma', [tiles, Math.ceil(tokens / 8), 1] as const]
        : ['many', [Math.ceil(tokens / each), Math.ceil(tiles / 8), 1] as const];
    const name = `w11_${kernel}${each}_g${groupSize}${offsets ? 'o' : ''}`;
    device.launch(name, grid, 256, pointers, args);
    return operands
      .flatMap(({ out, sum }) => (sum === 0 ? [out] : [out, sum]))
      .map((address) => new Float32Array(device.download(address, 4 * strideOut * tokens).buffer));
  } finally {
    device.synchronize();
    for (const address of owned) device.free(address);
  }
}

const SHAPES: readonly Shape[] = [
  [[50, 17, 90], 700, 65],
  [[130], 128, 64],
  [[16, 16, 16, 33], 1153, 33],
];

export const MANY_CASES = [32, 64, 128, 256].flatMap((groupSize) =>
  [false, true].flatMap((offsets) => SHAPES.map((shape) => [groupSize, offsets, shape] as const)),
);

/** Whether kernels of many rows give the same bits as those of few. */
export function manyEqualFew(
  device: Device,
  [groupSize, offsets, shape]: (typeof MANY_CASES)[number],
): boolean {
  const expected = multiplyRows(device, 8, groupSize, offsets, shape);
  return ([32, 64] as const).every((each) => {
    if (each > 32 && groupSize > UNIT) return true;
    const found = multiplyRows(device, each, groupSize, offsets, shape);
    return found.every((values, i) => values.every((value, at) => value === expected[i]![at]));
  });
}
