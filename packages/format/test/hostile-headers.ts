// Headers made to hurt a reader, each with a right header hash, so that nothing but the rule it breaks refuses it.
// One list for the test, which asks for the code, and for the benchmark, which asks for time and memory.
import type { Model } from '../src/generated/duobit/model.ts';
import { edited, forged, type HostileHeader, type Table } from './hostile-editor.ts';
import { VOLUME } from './hostile-volume.ts';

/** Ids of fields in schemas/duobit.fbs. */
const MODEL = { assets: 2, tensors: 3, segments: 4, metadata: 6 };
const TENSOR = { name: 0, shape: 1, planes: 5 };
const PLANE = { offset: 2, length: 3 };
const SEGMENT = { name: 0, offset: 1, length: 2, chunkHashes: 3 };
const ASSET = { offset: 3, length: 4 };
const PAIR = { value: 1 };

const MOST_U32 = 2 ** 32 - 1;
const MIB = 2 ** 20;

/** Sets a field of 64 bits. */
function long(
  code: string,
  name: string,
  pick: (model: Model) => Table,
  id: number,
  value: bigint,
): HostileHeader {
  return edited(code, name, (editor) => {
    editor.view.setBigUint64(editor.field(pick(editor.model), id), value, true);
  });
}

/** Sets the count of a vector, or the length of a string. */
function claim(code: string, name: string, pick: (model: Model) => Table, id: number, count: number) {
  return edited(code, name, (editor) => {
    editor.view.setUint32(editor.target(pick(editor.model), id), count, true);
  });
}

/** Writes bytes over the beginning of a string, which has at least as many. */
function text(code: string, name: string, pick: (model: Model) => Table, id: number, bytes: number[]) {
  return edited(code, name, (editor) => {
    const at = editor.target(pick(editor.model), id) + 4;
    for (const [i, byte] of bytes.entries()) editor.view.setUint8(at + i, byte);
  });
}

const tensor = (model: Model): Table => model.tensors(1)!;
const plane = (model: Model): Table => model.tensors(0)!.planes(1)!;
const segment = (model: Model): Table => model.segments(1)!;
const asset = (model: Model): Table => model.assets(1)!;
const pair = (model: Model): Table => model.metadata(3)!;

const CLAIMS: HostileHeader[] = [
  claim('HEADER_VECTOR', '4 billion tensors', (model) => model, MODEL.tensors, MOST_U32),
  claim('HEADER_VECTOR', '4 billion segments', (model) => model, MODEL.segments, MOST_U32),
  claim('HEADER_VECTOR', '4 billion end tokens', (model) => model.specialTokens()!, 1, MOST_U32),
  claim('HEADER_VECTOR', '4 billion dimensions', tensor, TENSOR.shape, MOST_U32),
  claim('HEADER_VECTOR', '2 billion planes', tensor, TENSOR.planes, 2 ** 31),
  claim('HEADER_VECTOR', 'a name of 4 GiB', tensor, TENSOR.name, MOST_U32),
  claim('HEADER_VECTOR', 'chunk hashes of 4 GiB', segment, SEGMENT.chunkHashes, MOST_U32),
  edited('HEADER_LENGTH', 'a header of 4 GiB', ({ view }) => view.setUint32(20, MOST_U32, true)),
  edited(
    'LIMIT_EXCEEDED',
    'a million tensors, for which there is room',
    (editor) => {
      const vector = editor.repeatOffset(1_000_000, null);
      editor.point(editor.field(editor.model, MODEL.tensors), vector);
    },
    4 * MIB,
  ),
  edited(
    'TENSOR_SHAPE',
    '900,000 dimensions, for which there is room',
    (editor) => {
      const vector = editor.take(4) + 4;
      editor.view.setUint32(vector, 900_000, true);
      editor.point(editor.field(tensor(editor.model), TENSOR.shape), vector);
    },
    7 * MIB,
  ),
];

const LENGTHS: HostileHeader[] = [
  long('OFFSET_UNSAFE', 'a plane of 2^63 bytes', plane, PLANE.length, 2n ** 63n),
  long('OFFSET_UNSAFE', 'a segment of 2^63 bytes', segment, SEGMENT.length, 2n ** 63n),
  long('OFFSET_UNSAFE', 'an asset of 2^64 - 1 bytes', asset, ASSET.length, 2n ** 64n - 1n),
  long('SEGMENT_HASHES', 'a segment of 2^53 - 1 bytes', segment, SEGMENT.length, 2n ** 53n - 1n),
  long('ASSET_LENGTH', 'an asset of 2^53 - 1 bytes', asset, ASSET.length, 2n ** 53n - 1n),
  edited('FILE_TRUNCATED', 'a file of 2^63 bytes', ({ view }) => view.setBigUint64(32, 2n ** 63n, true)),
  edited('SEGMENT_BASE', 'data from byte 2^63 on', ({ view }) => view.setBigUint64(24, 2n ** 63n, true)),
  edited('OFFSET_UNSAFE', 'a dimension of 2^63', (editor) => {
    editor.view.setBigUint64(editor.target(tensor(editor.model), TENSOR.shape) + 4, 2n ** 63n, true);
  }),
  forged('TENSOR_SHAPE', 'dimensions whose product is 2^104', ({ tensors }) => {
    tensors[1]!.shape = [2 ** 52, 2 ** 52];
  }),
];

const OFFSETS: HostileHeader[] = [
  long('OFFSET_UNSAFE', 'a plane at 2^53 + 1', plane, PLANE.offset, 2n ** 53n + 1n),
  long('OFFSET_UNSAFE', 'a plane at 2^64 - 1', plane, PLANE.offset, 2n ** 64n - 1n),
  long('PLANE_RANGE', 'a plane at 2^53 - 1', plane, PLANE.offset, 2n ** 53n - 1n),
  long('OFFSET_UNSAFE', 'a segment at 2^53 + 1', segment, SEGMENT.offset, 2n ** 53n + 1n),
  long('OFFSET_UNSAFE', 'a segment just below 2^53', segment, SEGMENT.offset, 2n ** 53n - 1n),
  long('OFFSET_UNSAFE', 'a segment that wraps round 2^64', segment, SEGMENT.offset, 2n ** 64n - 16_384n),
  long('OFFSET_UNSAFE', 'an asset at 2^53 + 1', asset, ASSET.offset, 2n ** 53n + 1n),
];

const OVERLAPS: HostileHeader[] = [
  forged('PLANE_OVERLAP', 'two planes in one place', ({ tensors }) => {
    const [first, second] = tensors[1]!.planes;
    second!.offset = first!.offset;
  }),
  forged('PLANE_OVERLAP', 'a plane that ends inside the next', ({ tensors }) => {
    const planes = tensors[1]!.planes;
    planes[1]!.offset = planes[0]!.offset + 4;
  }),
  long('SEGMENT_LAYOUT', 'two segments in one place', segment, SEGMENT.offset, 0n),
  forged('PLANE_OVERLAP', 'two assets in one place', ({ assets }) => {
    assets[1]!.offset = assets[0]!.offset;
  }),
  forged('PLANE_RANGE', 'a plane in segment 2^32 - 1', ({ tensors }) => {
    tensors[1]!.planes[0]!.segment = MOST_U32;
  }),
];

const DUPLICATES: HostileHeader[] = [
  forged('TENSOR_DUPLICATE', 'two tensors of one name', ({ tensors }) => {
    tensors[2]!.name = tensors[1]!.name;
  }),
  edited('TENSOR_DUPLICATE', 'one tensor table twice', (editor) => {
    const vector = editor.target(editor.model, MODEL.tensors);
    const first = vector + 4 + editor.view.getUint32(vector + 4, true);
    editor.point(vector + 8, first);
  }),
  forged('SEGMENT_DUPLICATE', 'two segments of one name', ({ segments }) => {
    segments[1]!.name = segments[0]!.name;
  }),
  forged('ASSET_ORDER', 'two tokenizers', ({ assets }) => {
    assets[1]!.role = assets[0]!.role;
  }),
  edited('METADATA_ORDER', 'one key twice', (editor) => {
    const vector = editor.target(editor.model, MODEL.metadata);
    const first = vector + 4 + editor.view.getUint32(vector + 4, true);
    editor.point(vector + 8, first);
  }),
];

const TEXTS: HostileHeader[] = [
  text('HEADER_STRING', 'a name with the byte FF', tensor, TENSOR.name, [0xff]),
  text('HEADER_STRING', 'a name with an overlong slash', tensor, TENSOR.name, [0xc0, 0xaf]),
  text('HEADER_STRING', 'a name with half a surrogate pair', segment, SEGMENT.name, [0xed, 0xa0, 0x80]),
  text(
    'HEADER_STRING',
    'a family cut inside a character',
    (model) => model.architecture()!,
    0,
    [0x61, 0x61, 0x61, 0x61, 0xe2],
  ),
  text('HEADER_STRING', 'a value beyond Unicode', pair, PAIR.value, [0xf4, 0x90, 0x80, 0x80]),
  text('NAME_INVALID', 'a name with a zero byte', tensor, TENSOR.name, [0x61, 0]),
  text('NAME_INVALID', 'a name that prints backwards', tensor, TENSOR.name, [0xe2, 0x80, 0xae]),
  claim('HEADER_STRING', 'a name without its final zero', tensor, TENSOR.name, 3),
];

const CYCLES: HostileHeader[] = [
  edited('HEADER_OFFSET', 'a root that is its own offset', ({ view }) => view.setUint32(0, 0, true)),
  edited('HEADER_VTABLE', 'a table that is its own vtable', (editor) => {
    editor.view.setInt32(tensor(editor.model).bb_pos, 0, true);
  }),
  edited('HEADER_VTABLE', 'an element that points at itself', (editor) => {
    const vector = editor.target(editor.model, MODEL.tensors);
    editor.view.setUint32(vector + 4, 0, true);
  }),
  edited('PLANE_ROLES', 'a vector that is its own offset', (editor) => {
    editor.view.setUint32(editor.field(tensor(editor.model), TENSOR.planes), 0, true);
  }),
  edited('HEADER_OFFSET', 'an element that wraps round 2^32 to its own vector', (editor) => {
    const vector = editor.target(editor.model, MODEL.tensors);
    editor.view.setUint32(vector + 4, 2 ** 32 - 4, true);
  }),
  edited('HEADER_OFFSET', 'a field that wraps round 2^32 to the root', (editor) => {
    const field = editor.field(editor.model, MODEL.tensors);
    editor.view.setUint32(field, 2 ** 32 + editor.model.bb_pos - field, true);
  }),
  edited(
    'HEADER_VTABLE',
    "two tables that are each other's vtable",
    (editor) => {
      const vector = editor.repeatOffset(1, null);
      const first = editor.take(16);
      editor.view.setInt32(first, -8, true);
      editor.view.setInt32(first + 8, 8, true);
      editor.point(editor.field(editor.model, MODEL.tensors), vector);
    },
    64,
  ),
  edited('HEADER_VTABLE', 'a vtable before the file', (editor) => {
    editor.view.setInt32(editor.model.bb_pos, 2 ** 31 - 1, true);
  }),
  edited('HEADER_VTABLE', 'a vtable behind the header', (editor) => {
    editor.view.setInt32(editor.model.bb_pos, -(2 ** 31), true);
  }),
  edited('HEADER_OFFSET', 'a vtable that leads a field into the preamble', (editor) => {
    const field = editor.field(editor.model, MODEL.tensors);
    editor.view.setUint32(field, 2 ** 32 - field + 40, true);
  }),
  edited('HEADER_OFFSET', 'a tensor with the vtable of a plane', (editor) => {
    const table = tensor(editor.model).bb_pos;
    editor.view.setInt32(table, table - editor.vtableOf(plane(editor.model).bb_pos), true);
  }),
];

export const HOSTILE_HEADERS: readonly HostileHeader[] = [
  ...CLAIMS,
  ...LENGTHS,
  ...OFFSETS,
  ...OVERLAPS,
  ...DUPLICATES,
  ...TEXTS,
  ...CYCLES,
  ...VOLUME,
];
