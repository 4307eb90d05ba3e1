// What a quantization method is: rows of one tensor in, packed planes out. Every method, W(1+1) and baseline alike,
// has this shape, so that packing, verification, reports and evaluation are written once.
import type { Encoding, TensorData } from '@duobit/format';

/** Some consecutive rows of a tensor in full precision. */
export interface RowBlock {
  /** Hugging Face name, for messages. */
  readonly name: string;
  /** Index of the first row in the whole tensor. */
  readonly firstRow: number;
  readonly rows: number;
  readonly columns: number;
  /** [rows, columns], all finite. */
  readonly values: Float32Array;
  /** h >= 0 a column, [columns]. */
  readonly importance: Float64Array;
}

/** Some rows of a tensor as they are stored. */
export interface EncodedRows {
  /** Planes of a tensor of shape [rows, columns]; planes of consecutive blocks simply follow each other. */
  readonly planes: TensorData['planes'];
  /** Shape [rows, columns]; what the method intends these planes to decode to, computed without the decoder. */
  readonly approximation: Float32Array;
}

/** A way to quantize a tensor by itself. */
export interface TensorMethod {
  readonly encoding: Encoding;
  /** @throws DuobitError `QUANTIZE_OUT_OF_RANGE` when a value does not fit the encoding. */
  encode(block: RowBlock): EncodedRows;
}
