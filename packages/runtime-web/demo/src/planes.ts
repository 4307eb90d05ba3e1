// Bit planes of a W(1+1) tensor (docs/format.md, "Encodings"): what each weight's two bits are, the four levels of its group, and
// pixels of a part of it.
import { bitRowStride, type Container, f16ToF32, groupCount } from '@duobit/format';

/** Which bits a picture is of: both as one of four levels, or one plane. */
export type PlaneView = 'levels' | 'sign' | 'bitmap';

export interface BitPlanes {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly sign: Uint8Array;
  readonly bitmap: Uint8Array;
  /** f16 [rows, groups, 2]. */
  readonly alpha: DataView;
  /** As `alpha`; null where levels are symmetric. */
  readonly mu: DataView | null;
}

/** Names of the tensors that have bit planes, in the order of first use. */
export function listBitTensors(container: Container): string[] {
  return container.tensorNames.filter((name) => container.tensorInfo(name).encoding.kind.startsWith('w11'));
}

/**
 * Reads what is shown of a tensor; outlier columns, which have no bits, are not.
 * @throws DuobitError `TENSOR_UNKNOWN`, `CHUNK_HASH`, or what the source throws
 */
export async function readBitPlanes(container: Container, name: string): Promise<BitPlanes> {
  const { encoding, shape } = container.tensorInfo(name);
  if (encoding.kind !== 'w11' && encoding.kind !== 'w11-outlier')
    throw new TypeError(`${name} has no bit planes`);
  const read = (role: 'sign' | 'bitmap' | 'alpha' | 'mu') => container.readPlane(name, role);
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    name,
    rows: shape[0]!,
    columns: shape[1]!,
    groupSize: encoding.groupSize,
    sign: await read('sign'),
    bitmap: await read('bitmap'),
    alpha: view(await read('alpha')),
    mu: encoding.offsets ? view(await read('mu')) : null,
  };
}

function bitAt(plane: Uint8Array, stride: number, row: number, column: number): 0 | 1 {
  return ((plane[row * stride + (column >> 3)]! >> (column & 7)) & 1) as 0 | 1;
}

/** A weight's two bits and the levels it chose from. */
export interface WeightReading {
  readonly row: number;
  readonly column: number;
  readonly group: number;
  readonly sign: 0 | 1;
  readonly bitmap: 0 | 1;
  /** By `levelIndex`: w = mu[m] + alpha[m] * (2 s - 1). */
  readonly levels: readonly [number, number, number, number];
}

/** Place of a level in `WeightReading.levels`, and number of its colour: bitmap 1 outside, bitmap 0 inside. */
export function levelIndex(sign: 0 | 1, bitmap: 0 | 1): 0 | 1 | 2 | 3 {
  return sign === 1 ? (bitmap === 1 ? 3 : 2) : bitmap === 1 ? 0 : 1;
}

export function readWeight(planes: BitPlanes, row: number, column: number): WeightReading {
  const { sign, bitmap, alpha, mu, columns, groupSize } = planes;
  const stride = bitRowStride(columns);
  const group = Math.floor(column / groupSize);
  const at = (m: 0 | 1) => 2 * (2 * (row * groupCount(columns, groupSize) + group) + m);
  const level = (s: 0 | 1, m: 0 | 1) =>
    (mu === null ? 0 : f16ToF32(mu.getUint16(at(m), true))) +
    f16ToF32(alpha.getUint16(at(m), true)) * (2 * s - 1);
  return {
    row,
    column,
    group,
    sign: bitAt(sign, stride, row, column),
    bitmap: bitAt(bitmap, stride, row, column),
    levels: [level(0, 1), level(0, 0), level(1, 0), level(1, 1)],
  };
}

/** Share of ones in a plane whose rows are padded with zeros. */
export function shareOfOnes(plane: Uint8Array, weights: number): number {
  let ones = 0;
  for (let byte of plane) for (; byte !== 0; byte &= byte - 1) ones++;
  return ones / weights;
}

/** A colour as bytes: red, green, blue. */
export type Colour = readonly [number, number, number];

/** A part of a tensor: its first row and column, and how many of each. */
export interface Window {
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
}

/**
 * RGBA of a part of a tensor, one pixel a weight; clear where the tensor ends. `colours` are those of the four levels, least first;
 * a single plane takes the inner ones for 0 and 1.
 */
export function paintPlanes(
  planes: BitPlanes,
  view: PlaneView,
  window: Window,
  colours: readonly [Colour, Colour, Colour, Colour],
): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(4 * window.rows * window.columns);
  const stride = bitRowStride(planes.columns);
  const rows = Math.min(window.rows, planes.rows - window.row);
  const columns = Math.min(window.columns, planes.columns - window.column);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) {
      const sign = bitAt(planes.sign, stride, window.row + y, window.column + x);
      const bitmap = bitAt(planes.bitmap, stride, window.row + y, window.column + x);
      const index =
        view === 'levels' ? levelIndex(sign, bitmap) : view === 'sign' ? (sign ? 3 : 0) : bitmap ? 0 : 1;
      const [red, green, blue] = colours[index];
      const at = 4 * (y * window.columns + x);
      pixels[at] = red;
      pixels[at + 1] = green;
      pixels[at + 2] = blue;
      pixels[at + 3] = 255;
    }
  return pixels;
}
