// One tensor as it lies in a file, and how its rows become bytes in Hugging Face order and f32 values.
import type { ByteSource } from '@duobit/format';
import type { DenseKind } from './values.ts';

/** Bytes read and decoded at a time, so that a large tensor never needs its stored and its decoded form at once. */
const CHUNK_BYTES = 8 * 1024 * 1024;

export interface StoredTensor {
  /** Hugging Face name. */
  readonly name: string;
  /** Row-major, [N out, K in] or [width]. */
  readonly shape: readonly number[];
  /** What `readTensor` gives: as stored, or f32 for block formats. */
  readonly encoding: DenseKind;
  /** Null when the stored bytes are the dense values. Otherwise decodes whole rows into `out` from index `at`. */
  readonly dequantize: ((bytes: Uint8Array, out: Float32Array, at: number) => void) | null;
  readonly source: ByteSource;
  readonly offset: number;
  readonly rows: number;
  readonly columns: number;
  /** Stored bytes of a row. */
  readonly rowBytes: number;
  /**
   * Rows of a rotary head when the file interleaves its two halves (row 2 i is the first half's i-th, row 2 i + 1
   * the second half's); null when rows lie in Hugging Face order.
   */
  readonly interleavedHeadSize: number | null;
}

/** Stored bytes of rows [start, end) in Hugging Face order. */
export async function readStoredRows(
  tensor: StoredTensor,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const { rowBytes, offset, source, interleavedHeadSize: headSize } = tensor;
  if (headSize === null) return source.read(offset + start * rowBytes, (end - start) * rowBytes);
  const first = Math.floor(start / headSize) * headSize;
  const last = Math.ceil(end / headSize) * headSize;
  const stored = await source.read(offset + first * rowBytes, (last - first) * rowBytes);
  const rows = new Uint8Array((end - start) * rowBytes);
  const half = headSize / 2;
  for (let row = start; row < end; row++) {
    const inHead = row % headSize;
    const from = row - first - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    rows.set(stored.subarray(from * rowBytes, (from + 1) * rowBytes), (row - start) * rowBytes);
  }
  return rows;
}

/** Cuts rows [start, end) into runs of about 8 MiB; heads stay whole, so that none is read twice. */
export function* cutRows(tensor: StoredTensor, start: number, end: number): Generator<[number, number]> {
  const unit = tensor.interleavedHeadSize ?? 1;
  const step = unit * Math.max(1, Math.floor(CHUNK_BYTES / (tensor.rowBytes * unit)));
  for (let from = start; from < end; ) {
    const to = Math.min(end, (Math.floor(from / step) + 1) * step);
    yield [from, to];
    from = to;
  }
}
