// The encoding registry: which planes each encoding has, and how long each is. docs/format.md, "Encodings".
import { DuobitError } from './errors.ts';
import { EncodingId } from './generated/duobit/encoding-id.ts';
import { LIMITS } from './generated/limits.ts';
import type { Encoding, PlaneRole } from './manifest.ts';

/** Columns that may share scales. */
export const GROUP_SIZES: readonly number[] = [32, 64, 128, 256];

/** Bit 0 of a w11 tensor's flags: it has a mu plane. */
export const FLAG_OFFSETS = 1;

/** What the header stores of an encoding. */
export interface EncodingFields {
  readonly id: number;
  readonly groupSize: number;
  readonly flags: number;
}

export function encodingToFields(encoding: Encoding): EncodingFields {
  switch (encoding.kind) {
    case 'f32':
    case 'f16':
    case 'bf16':
      return { id: EncodingId[encoding.kind], groupSize: 0, flags: 0 };
    case 'int8':
    case 'int4':
      return { id: EncodingId[encoding.kind], groupSize: encoding.groupSize, flags: 0 };
    case 'w11':
      return {
        id: EncodingId.w11,
        groupSize: encoding.groupSize,
        flags: encoding.offsets ? FLAG_OFFSETS : 0,
      };
    case 'unknown':
      return { id: encoding.id, groupSize: 0, flags: 0 };
  }
}

/** The encoding that the fields name, or null when a known encoding carries fields it does not have. */
export function fieldsToEncoding({ id, groupSize, flags }: EncodingFields): Encoding | null {
  switch (id) {
    case EncodingId.f32:
    case EncodingId.f16:
    case EncodingId.bf16: {
      const kind = id === EncodingId.f32 ? 'f32' : id === EncodingId.f16 ? 'f16' : 'bf16';
      return groupSize === 0 && flags === 0 ? { kind } : null;
    }
    case EncodingId.int8:
    case EncodingId.int4:
      return flags === 0 ? { kind: id === EncodingId.int8 ? 'int8' : 'int4', groupSize } : null;
    case EncodingId.w11:
      return flags <= FLAG_OFFSETS ? { kind: 'w11', groupSize, offsets: flags === FLAG_OFFSETS } : null;
    default:
      return { kind: 'unknown', id };
  }
}

/** Bytes of one row of a bit plane: 4 * ceil(K / 32). */
export function bitRowStride(columns: number): number {
  return 4 * Math.ceil(columns / 32);
}

/** Bytes of one row of 8-bit codes: 4 * ceil(K / 4). */
export function int8RowStride(columns: number): number {
  return 4 * Math.ceil(columns / 4);
}

/** Bytes of one row of 4-bit codes: 4 * ceil(K / 8). */
export function int4RowStride(columns: number): number {
  return 4 * Math.ceil(columns / 8);
}

/** Groups in a row; the last may be short. */
export function groupCount(columns: number, groupSize: number): number {
  return Math.ceil(columns / groupSize);
}

/** Product of the dimensions. @throws DuobitError `TENSOR_SHAPE` unless it is a shape of this format. */
export function elementCount(shape: readonly number[]): number {
  const valid =
    shape.length <= LIMITS.maxRank && shape.every((size) => Number.isSafeInteger(size) && size >= 1);
  const count = valid ? shape.reduce((product, size) => product * size, 1) : Number.NaN;
  if (!(count <= Number.MAX_SAFE_INTEGER)) {
    throw new DuobitError('TENSOR_SHAPE', `shape [${shape.join(', ')}] is not supported`, {
      remedy: `Use at most ${LIMITS.maxRank} dimensions, each 1 or more, with a product below 2^53`,
    });
  }
  return count;
}

/**
 * Exact byte length of every plane that a tensor of this encoding and shape has, in the order in which the
 * planes are stored.
 * @throws DuobitError `TENSOR_SHAPE`, `TENSOR_GROUP_SIZE`, `ENCODING_UNKNOWN`
 */
export function encodedPlaneLengths(
  encoding: Encoding,
  shape: readonly number[],
): Partial<Record<PlaneRole, number>> {
  const elements = elementCount(shape);
  const lengths = planeLengths(encoding, shape, elements);
  if (!Object.values(lengths).every(Number.isSafeInteger)) {
    throw new DuobitError('TENSOR_SHAPE', `shape [${shape.join(', ')}] needs planes of 2^53 bytes or more`, {
      remedy: 'Split the tensor',
    });
  }
  return lengths;
}

function planeLengths(
  encoding: Encoding,
  shape: readonly number[],
  elements: number,
): Partial<Record<PlaneRole, number>> {
  if (encoding.kind === 'unknown') {
    throw new DuobitError('ENCODING_UNKNOWN', `encoding ${encoding.id} is not known to this release`, {
      remedy: 'Use a newer release of duobit',
    });
  }
  if (!('groupSize' in encoding)) return { dense: (encoding.kind === 'f32' ? 4 : 2) * elements };
  const [rows, columns] = shape;
  if (shape.length !== 2 || rows === undefined || columns === undefined) {
    throw new DuobitError(
      'TENSOR_SHAPE',
      `${encoding.kind} needs a matrix, but the shape is [${shape.join(', ')}]`,
      {
        remedy: 'Store tensors other than matrices as f32, f16 or bf16',
      },
    );
  }
  if (!GROUP_SIZES.includes(encoding.groupSize)) {
    throw new DuobitError('TENSOR_GROUP_SIZE', `group size ${encoding.groupSize} is not supported`, {
      remedy: `Use one of ${GROUP_SIZES.join(', ')}`,
    });
  }
  const groups = rows * groupCount(columns, encoding.groupSize);
  if (encoding.kind !== 'w11') {
    const stride = encoding.kind === 'int8' ? int8RowStride(columns) : int4RowStride(columns);
    return { codes: rows * stride, scale: 2 * groups };
  }
  const bits = rows * bitRowStride(columns);
  const levels = { sign: bits, bitmap: bits, alpha: 4 * groups };
  return encoding.offsets ? { ...levels, mu: 4 * groups } : levels;
}
