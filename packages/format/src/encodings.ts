// The encoding registry: which planes each encoding has, and how long each is. docs/format.md, "Encodings".
import { DuobitError } from './errors.ts';
import { EncodingId } from './generated/duobit/encoding-id.ts';
import { LIMITS } from './generated/limits.ts';
import type { Encoding, PlaneRole } from './manifest.ts';

/** Columns that may share scales. */
export const GROUP_SIZES: readonly number[] = [32, 64, 128, 256];

/** Bit 0 of the flags of w11 and w11-outlier: the tensor has a mu plane. */
export const FLAG_OFFSETS = 1;

/** Most salient weights of one tensor: their running count is stored in 32 bits. */
const MOST_SALIENT = 2 ** 32 - 1;

/** What the header stores of an encoding. */
export interface EncodingFields {
  readonly id: number;
  readonly groupSize: number;
  readonly flags: number;
  readonly outlierColumns: number;
  readonly salientCount: number;
}

export function encodingToFields(encoding: Encoding): EncodingFields {
  const none = { groupSize: 0, flags: 0, outlierColumns: 0, salientCount: 0 };
  switch (encoding.kind) {
    case 'f32':
    case 'f16':
    case 'bf16':
      return { ...none, id: EncodingId[encoding.kind] };
    case 'int8':
    case 'int4':
      return { ...none, id: EncodingId[encoding.kind], groupSize: encoding.groupSize };
    case 'w11':
    case 'w11-outlier': {
      const { groupSize, offsets } = encoding;
      const outliers = encoding.kind === 'w11-outlier';
      return {
        ...none,
        id: outliers ? EncodingId.w11_outlier : EncodingId.w11,
        groupSize,
        flags: offsets ? FLAG_OFFSETS : 0,
        outlierColumns: outliers ? encoding.outlierColumns : 0,
      };
    }
    case 'partial-binary': {
      const { groupSize, salientCount } = encoding;
      return { ...none, id: EncodingId.partial_binary, groupSize, salientCount };
    }
    case 'unknown': {
      const { id, groupSize, flags, outlierColumns, salientCount } = encoding;
      return { id, groupSize, flags, outlierColumns, salientCount };
    }
  }
}

/** The encoding that the fields name, or null when a known encoding carries fields it does not have. */
export function fieldsToEncoding(fields: EncodingFields): Encoding | null {
  const { id, groupSize, flags, outlierColumns, salientCount } = fields;
  const plain = flags === 0 && outlierColumns === 0 && salientCount === 0;
  const offsets = flags === FLAG_OFFSETS;
  switch (id) {
    case EncodingId.f32:
    case EncodingId.f16:
    case EncodingId.bf16: {
      const kind = id === EncodingId.f32 ? 'f32' : id === EncodingId.f16 ? 'f16' : 'bf16';
      return plain && groupSize === 0 ? { kind } : null;
    }
    case EncodingId.int8:
    case EncodingId.int4:
      return plain ? { kind: id === EncodingId.int8 ? 'int8' : 'int4', groupSize } : null;
    case EncodingId.w11: {
      const valid = flags <= FLAG_OFFSETS && outlierColumns === 0 && salientCount === 0;
      return valid ? { kind: 'w11', groupSize, offsets } : null;
    }
    case EncodingId.w11_outlier: {
      const valid = flags <= FLAG_OFFSETS && outlierColumns >= 1 && salientCount === 0;
      return valid ? { kind: 'w11-outlier', groupSize, offsets, outlierColumns } : null;
    }
    case EncodingId.partial_binary: {
      const valid = flags === 0 && outlierColumns === 0 && salientCount >= 1 && salientCount <= MOST_SALIENT;
      return valid ? { kind: 'partial-binary', groupSize, salientCount } : null;
    }
    default:
      return { kind: 'unknown', ...fields };
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
  let count = shape.length <= LIMITS.maxRank ? 1 : Number.NaN;
  for (const size of shape) count *= Number.isSafeInteger(size) && size >= 1 ? size : Number.NaN;
  if (!(count <= Number.MAX_SAFE_INTEGER)) {
    throw new DuobitError('TENSOR_SHAPE', `shape [${shape.join(', ')}] is not supported`, {
      remedy: `Use at most ${LIMITS.maxRank} dimensions, each 1 or more, with a product below 2^53`,
    });
  }
  return count;
}

/** The planes of a tensor in the order in which they are stored; the two lists have one entry each for every plane. */
export interface EncodedPlanes {
  readonly roles: readonly PlaneRole[];
  readonly lengths: readonly number[];
}

/**
 * Exact byte length of every plane that a tensor of this encoding and shape has.
 * @throws DuobitError `TENSOR_SHAPE`, `TENSOR_GROUP_SIZE`, `ENCODING_PARAMETERS`, `ENCODING_UNKNOWN`
 */
export function listEncodedPlanes(encoding: Encoding, shape: readonly number[]): EncodedPlanes {
  const planes = measurePlanes(encoding, shape, elementCount(shape));
  if (!planes.lengths.every(Number.isSafeInteger)) {
    throw new DuobitError('TENSOR_SHAPE', `shape [${shape.join(', ')}] needs planes of 2^53 bytes or more`, {
      remedy: 'Split the tensor',
    });
  }
  return planes;
}

/** As `listEncodedPlanes`, by role. */
export function encodedPlaneLengths(
  encoding: Encoding,
  shape: readonly number[],
): Partial<Record<PlaneRole, number>> {
  const { roles, lengths } = listEncodedPlanes(encoding, shape);
  return Object.fromEntries(roles.map((role, i) => [role, lengths[i]!]));
}

const DENSE: readonly PlaneRole[] = ['dense'];
const INTEGER: readonly PlaneRole[] = ['codes', 'scale'];
const W11: readonly PlaneRole[] = ['sign', 'bitmap', 'alpha'];
const W11_OFFSETS: readonly PlaneRole[] = [...W11, 'mu'];
const OUTLIERS: readonly PlaneRole[] = ['outlier-index', 'outlier-codes', 'outlier-scale'];
const W11_OUTLIER: readonly PlaneRole[] = [...W11, ...OUTLIERS];
const W11_OFFSETS_OUTLIER: readonly PlaneRole[] = [...W11_OFFSETS, ...OUTLIERS];
const PARTIAL_BINARY: readonly PlaneRole[] = [
  'sign',
  'alpha',
  'mu',
  'salient-mask',
  'salient-codes',
  'salient-scale',
  'salient-offsets',
];

function measurePlanes(encoding: Encoding, shape: readonly number[], elements: number): EncodedPlanes {
  if (encoding.kind === 'unknown') {
    throw new DuobitError('ENCODING_UNKNOWN', `encoding ${encoding.id} is not known to this release`, {
      remedy: 'Use a newer release of duobit',
    });
  }
  if (!('groupSize' in encoding)) {
    return { roles: DENSE, lengths: [(encoding.kind === 'f32' ? 4 : 2) * elements] };
  }
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
  const bits = rows * bitRowStride(columns);
  switch (encoding.kind) {
    case 'int8':
    case 'int4': {
      const stride = encoding.kind === 'int8' ? int8RowStride(columns) : int4RowStride(columns);
      return { roles: INTEGER, lengths: [rows * stride, 2 * groups] };
    }
    case 'w11':
      return encoding.offsets
        ? { roles: W11_OFFSETS, lengths: [bits, bits, 4 * groups, 4 * groups] }
        : { roles: W11, lengths: [bits, bits, 4 * groups] };
    case 'w11-outlier': {
      const { outlierColumns } = encoding;
      requireCount('outlier columns', outlierColumns, columns);
      const outliers = [4 * outlierColumns, rows * int8RowStride(outlierColumns), 2 * rows];
      return encoding.offsets
        ? { roles: W11_OFFSETS_OUTLIER, lengths: [bits, bits, 4 * groups, 4 * groups, ...outliers] }
        : { roles: W11_OUTLIER, lengths: [bits, bits, 4 * groups, ...outliers] };
    }
    case 'partial-binary': {
      const { salientCount } = encoding;
      requireCount('salient weights', salientCount, Math.min(elements, MOST_SALIENT));
      const codes = 4 * Math.ceil(salientCount / 4);
      const lengths = [bits, 2 * groups, 2 * groups, bits, codes, 4 * rows, 4 * (rows + 1)];
      return { roles: PARTIAL_BINARY, lengths };
    }
  }
}

function requireCount(what: string, count: number, most: number): void {
  if (Number.isInteger(count) && count >= 1 && count <= most) return;
  throw new DuobitError('ENCODING_PARAMETERS', `there are ${count} ${what}; 1 to ${most} are allowed`, {
    remedy: 'Use an encoding without them where there are none',
  });
}
