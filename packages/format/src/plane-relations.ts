// What the planes of one tensor say of each other: outlier columns of an unrotated input have no bits, salient weights no sign, and the
// mask has as many ones as the offsets count. Planes are read in pieces, so memory does not grow with the tensor.
import { bitRowStride } from './encodings.ts';
import type { PlaneRole, TensorInfo } from './manifest.ts';

export interface RelationProblem {
  readonly code: 'OUTLIER_INDEX' | 'OUTLIER_BITS' | 'SALIENT_BITS' | 'SALIENT_OFFSETS';
  readonly role: PlaneRole;
  readonly message: string;
}

/** Gives `length` bytes from `offset` of a plane, in memory that begins at a multiple of 4. */
export type ReadPlane = (role: PlaneRole, offset: number, length: number) => Promise<Uint8Array>;

/** Bytes of a plane read at once; a multiple of 4. */
const PIECE = 1 << 20;

/** @returns the first problem or null; null too for encodings whose planes are independent */
export async function checkPlaneRelations(
  { encoding, shape, inputRotation }: Pick<TensorInfo, 'encoding' | 'shape' | 'inputRotation'>,
  read: ReadPlane,
): Promise<RelationProblem | null> {
  const [rows = 1, columns = 1] = shape;
  if (encoding.kind === 'w11-outlier') {
    // Beside a rotation the bit planes have columns of the rotated input, of which none is an outlier's.
    const haveBits = inputRotation !== undefined;
    return checkOutliers(rows, columns, encoding.outlierColumns, haveBits, read);
  }
  if (encoding.kind === 'partial-binary') return checkSalient(rows, columns, encoding.salientCount, read);
  return null;
}

function toWords(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** Columns ascend and exist, and unless they may have bits, these are zero in every row. */
async function checkOutliers(
  rows: number,
  columns: number,
  count: number,
  haveBits: boolean,
  read: ReadPlane,
): Promise<RelationProblem | null> {
  const stride = bitRowStride(columns);
  let previous = -1;
  for (let first = 0; first < count; first += PIECE / 4) {
    const indices = toWords(await read('outlier-index', 4 * first, 4 * Math.min(PIECE / 4, count - first)));
    for (let i = 0; i < indices.length; ) {
      // Columns that share a window of row bytes are looked at together.
      const window = Math.floor(indices[i]! / (8 * PIECE)) * PIECE;
      const mask = new Uint32Array(Math.min(PIECE, Math.max(stride - window, 4)) / 4);
      for (; i < indices.length && Math.floor(indices[i]! / (8 * PIECE)) * PIECE === window; i++) {
        const column = indices[i]!;
        if (column <= previous || column >= columns) {
          const message = `outlier ${first + i} is in column ${column} of ${columns}, after column ${previous}`;
          return { code: 'OUTLIER_INDEX', role: 'outlier-index', message };
        }
        previous = column;
        mask[Math.floor(column / 32) - window / 4]! |= 1 << (column % 32);
      }
      const problem = haveBits ? null : await checkMaskedBits(rows, stride, window, mask, read);
      if (problem) return problem;
    }
  }
  return null;
}

/** Bits of `mask`, which stands at byte `window` of every row, are zero. */
async function checkMaskedBits(
  rows: number,
  stride: number,
  window: number,
  mask: Uint32Array,
  read: ReadPlane,
): Promise<RelationProblem | null> {
  const whole = 4 * mask.length === stride;
  const rowsAtOnce = whole ? Math.max(1, Math.floor(PIECE / stride)) : 1;
  for (let row = 0; row < rows; row += rowsAtOnce) {
    const length = whole ? stride * Math.min(rowsAtOnce, rows - row) : 4 * mask.length;
    for (const role of ['sign', 'bitmap'] as const) {
      const words = toWords(await read(role, row * stride + window, length));
      for (let at = 0; at < words.length; at++) {
        if ((words[at]! & mask[at % mask.length]!) === 0) continue;
        const message = `row ${row + Math.floor(at / mask.length)} has a bit in an outlier column`;
        return { code: 'OUTLIER_BITS', role, message };
      }
    }
  }
  return null;
}

/** Sign bits of salient weights are zero; offsets are the mask's running count of ones at each row's begin. */
async function checkSalient(
  rows: number,
  columns: number,
  salientCount: number,
  read: ReadPlane,
): Promise<RelationProblem | null> {
  const stride = bitRowStride(columns);
  const rowWords = stride / 4;
  let count = 0;
  for (let start = 0; start < rows * stride; start += PIECE) {
    const length = Math.min(PIECE, rows * stride - start);
    const mask = toWords(await read('salient-mask', start, length));
    const sign = toWords(await read('sign', start, length));
    // The first row that begins in this piece, and the offsets of all that do.
    const firstRow = Math.ceil(start / stride);
    const begins = Math.ceil((start + length) / stride) - firstRow;
    const offsets = begins > 0 ? toWords(await read('salient-offsets', 4 * firstRow, 4 * begins)) : sign;
    let row = 0;
    let rowBegin = (firstRow * stride - start) / 4;
    for (let at = 0; at < mask.length; at++) {
      if (at === rowBegin) {
        if (offsets[row] !== count) return offsetProblem(firstRow + row, offsets[row]!, count);
        row += 1;
        rowBegin += rowWords;
      }
      const word = mask[at]!;
      if ((word & sign[at]!) !== 0) {
        const message = `row ${Math.floor((start + 4 * at) / stride)} has the sign bit of a salient weight set`;
        return { code: 'SALIENT_BITS', role: 'sign', message };
      }
      if (word !== 0) count += countOnes(word);
    }
  }
  const last = toWords(await read('salient-offsets', 4 * rows, 4))[0]!;
  if (last !== count) return offsetProblem(rows, last, count);
  if (count === salientCount) return null;
  const message = `the mask has ${count} ones, but the header says ${salientCount}`;
  return { code: 'SALIENT_OFFSETS', role: 'salient-mask', message };
}

function offsetProblem(row: number, found: number, count: number): RelationProblem {
  const message = `offset ${row} is ${found}, but the mask has ${count} ones before that row`;
  return { code: 'SALIENT_OFFSETS', role: 'salient-offsets', message };
}

function countOnes(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
