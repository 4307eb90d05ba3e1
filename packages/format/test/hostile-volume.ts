// Hostile headers of up to 8 MiB that cost as much as they can before the rule that refuses them is met.
import { encodedPlaneLengths, LIMITS, type PlaneRole } from '@duobit/format';
import type { MutableContent } from './forge.ts';
import { edited, forged, type HeaderEditor, type HostileHeader } from './hostile-editor.ts';

const MIB = 2 ** 20;
const MODEL = { tensors: 3, segments: 4, metadata: 6 };
/** Room that fills the header to its limit, next to the sample's own few kilobytes. */
const ROOM = LIMITS.maxHeaderBytes - 64 * 1024;

/** Points a field of the root at something in the room. */
function replaceRoot(editor: HeaderEditor, id: number, target: number): void {
  editor.point(editor.field(editor.model, id), target);
}

/** Writes a vtable: the place of each field in its table, 0 for absent. */
function writeVtable(editor: HeaderEditor, tableBytes: number, places: readonly number[]): number {
  const at = editor.take(4 + 2 * places.length);
  editor.view.setUint16(at, 4 + 2 * places.length, true);
  editor.view.setUint16(at + 2, tableBytes, true);
  for (const [i, place] of places.entries()) editor.view.setUint16(at + 4 + 2 * i, place, true);
  return at;
}

/** Takes a vector of offsets, still zero. */
function takeVector(editor: HeaderEditor, count: number): number {
  const vector = editor.take(4 + 4 * count);
  editor.view.setUint32(vector, count, true);
  return vector;
}

/** Takes a table of offset fields only, which the caller points somewhere. */
function takeTable(editor: HeaderEditor, vtable: number, fields: number): number {
  const table = editor.take(4 + 4 * fields);
  editor.view.setInt32(table, table - vtable, true);
  return table;
}

function writeText(editor: HeaderEditor, bytes: Uint8Array): number {
  const at = editor.take(4 + bytes.length + 1);
  editor.view.setUint32(at, bytes.length, true);
  new Uint8Array(editor.view.buffer).set(bytes, at + 4);
  return at;
}

/** Text that takes two bytes a character in memory, as its last one is not Latin-1. */
function makeText(bytes: number): Uint8Array {
  const text = new Uint8Array(bytes).fill(0x61);
  text.set([0xe2, 0x82, 0xac], bytes - 3);
  return text;
}

/** Pairs of sorted keys, the last two of which are the same, over `texts` texts that they share. */
function writePairs(editor: HeaderEditor, pairs: number, texts: number, textBytes: number): void {
  const vector = takeVector(editor, pairs);
  const vtable = writeVtable(editor, 12, [4, 8]);
  const tables = Array.from({ length: pairs }, () => takeTable(editor, vtable, 2));
  for (const [i, table] of tables.entries()) {
    editor.point(vector + 4 + 4 * i, table);
    const key = String(Math.min(i, pairs - 2)).padStart(8, '0');
    editor.point(table + 4, writeText(editor, new TextEncoder().encode(key)));
  }
  const text = makeText(textBytes);
  const values = Array.from({ length: texts }, () => writeText(editor, text));
  for (const [i, table] of tables.entries()) editor.point(table + 8, values[i % texts]!);
  replaceRoot(editor, MODEL.metadata, vector);
}

type TensorKind = Omit<MutableContent['tensors'][number], 'name' | 'planes'>;

const SMALL: TensorKind = {
  shape: [1, 1],
  encoding: { kind: 'int8', groupSize: 32 },
  activation: null,
};
/** The one with the most planes, and all else that a tensor can have. */
const LARGE: TensorKind = {
  shape: [2, 32],
  encoding: { kind: 'w11-outlier', groupSize: 32, offsets: true, outlierColumns: 1 },
  activation: {
    bits: 4,
    clipLow: 1,
    clipHigh: 1,
    knee: null,
    planeScales: [1, 2, 4, 8],
  },
  inputRotation: 'hadamard',
};

/** Tensors that are right one by one, named to come after the model's own. */
function addTensors(content: MutableContent, count: number, tensor: TensorKind): void {
  const lengths = Object.entries(encodedPlaneLengths(tensor.encoding, tensor.shape)) as [PlaneRole, number][];
  for (let i = 0; i < count; i++) {
    content.tensors.push({
      ...tensor,
      name: `z${String(i).padStart(89, '0')}`,
      shape: [...tensor.shape],
      planes: lengths.map(([role, length], k) => ({ role, segment: 0, offset: 256 * k, length })),
    });
  }
}

/** Segments of 1 TiB that share 250,000 chunk hashes. */
function shareHashes(code: string, count: number): HostileHeader {
  return edited(
    code,
    `${count} segments of 1 TiB that share 250,000 chunk hashes`,
    (editor) => {
      const chunks = 250_000;
      const segments = takeVector(editor, count);
      const vtable = writeVtable(editor, 24, [16, 0, 8, 20]);
      const tables = Array.from({ length: count }, () => takeTable(editor, vtable, 5));
      const hashes = editor.take(4 + 32 * chunks);
      editor.view.setUint32(hashes, 32 * chunks, true);
      for (const [i, table] of tables.entries()) {
        editor.point(segments + 4 + 4 * i, table);
        editor.view.setBigUint64(table + 8, BigInt(chunks) * BigInt(LIMITS.chunkBytes), true);
        editor.point(table + 16, writeText(editor, new TextEncoder().encode(`s${i}`)));
        editor.point(table + 20, hashes);
      }
      replaceRoot(editor, MODEL.segments, segments);
    },
    ROOM,
  );
}

export const VOLUME: readonly HostileHeader[] = [
  edited(
    'HEADER_BUDGET',
    '2,000 offsets to one tensor of 2,000 offsets to one plane',
    (editor) => {
      const tensors = editor.repeatOffset(2_000, null);
      const vtable = writeVtable(editor, 16, [4, 8, 0, 0, 0, 12]);
      const tensor = takeTable(editor, vtable, 3);
      // The vector's offsets lead to its end, where the vtable went: to the tensor instead.
      for (let i = 0; i < 2_000; i++) editor.point(tensors + 4 + 4 * i, tensor);
      const empty = editor.take(8);
      editor.point(tensor + 4, empty);
      editor.point(tensor + 8, empty);
      const planes = takeVector(editor, 2_000);
      const plane = takeTable(editor, writeVtable(editor, 4, []), 0);
      for (let i = 0; i < 2_000; i++) editor.point(planes + 4 + 4 * i, plane);
      editor.point(tensor + 12, planes);
      replaceRoot(editor, MODEL.tensors, tensors);
    },
    ROOM,
  ),
  edited(
    'HEADER_BUDGET',
    '14,336 tiny tables',
    (editor) => {
      const count = 2_048;
      const tensors = takeVector(editor, count);
      const vtable = writeVtable(editor, 16, [4, 8, 0, 0, 0, 12]);
      const tables = Array.from({ length: count }, () => takeTable(editor, vtable, 3));
      const empty = editor.take(8);
      const planeVtable = writeVtable(editor, 4, []);
      for (const [i, table] of tables.entries()) {
        editor.point(tensors + 4 + 4 * i, table);
        editor.point(table + 4, empty);
        editor.point(table + 8, empty);
        const planes = takeVector(editor, 6);
        editor.point(table + 12, planes);
        for (let k = 0; k < 6; k++) editor.point(planes + 4 + 4 * k, takeTable(editor, planeVtable, 0));
      }
      replaceRoot(editor, MODEL.tensors, tensors);
    },
    ROOM,
  ),
  forged('PLANE_OVERLAP', '2,000 right tensors, all in one place', (content) => {
    addTensors(content, 2_000, SMALL);
  }),
  forged(
    'PLANE_OVERLAP',
    '1,330 right tensors of seven planes and a quantizer, all in one place',
    (content) => {
      addTensors(content, 1_330, LARGE);
    },
  ),
  forged('TENSOR_DUPLICATE', '2,000 right tensors, the last two of one name', (content) => {
    addTensors(content, 2_000, SMALL);
    content.tensors.at(-1)!.name = content.tensors.at(-2)!.name;
  }),
  edited(
    'LIMIT_EXCEEDED',
    '2,000 metadata pairs',
    (editor) => {
      const pairs = editor.repeatOffset(2_000, null);
      const pair = takeTable(editor, editor.vtableOf(editor.model.metadata(0)!.bb_pos), 2);
      for (let i = 0; i < 2_000; i++) editor.point(pairs + 4 + 4 * i, pair);
      const empty = editor.take(8);
      editor.point(pair + 4, empty);
      editor.point(pair + 8, empty);
      replaceRoot(editor, MODEL.metadata, pairs);
    },
    MIB,
  ),
  edited(
    'HEADER_BUDGET',
    '1,024 pairs that share one text of 1 MiB',
    (editor) => {
      writePairs(editor, 1024, 1, MIB);
    },
    2 * MIB,
  ),
  edited(
    'HEADER_BUDGET',
    '120 pairs that share one text of 1 MiB, in a header of 8 MiB',
    (editor) => {
      writePairs(editor, 120, 1, MIB);
    },
    ROOM,
  ),
  edited(
    'METADATA_ORDER',
    '7 texts of 1 MiB',
    (editor) => {
      writePairs(editor, 7, 7, MIB);
    },
    ROOM,
  ),
  edited(
    'SEGMENT_LAYOUT',
    'a segment of 1 TiB, with 250,000 chunk hashes',
    (editor) => {
      const chunks = 250_000;
      const segment = editor.model.segments(0)!;
      const length = editor.field(segment, 2);
      editor.view.setBigUint64(length, BigInt(chunks) * BigInt(LIMITS.chunkBytes), true);
      const hashes = editor.take(4 + 32 * chunks);
      editor.view.setUint32(hashes, 32 * chunks, true);
      editor.point(editor.field(segment, 3), hashes);
    },
    ROOM,
  ),
  shareHashes('HEADER_BUDGET', 7),
  // As often as the budget allows.
  shareHashes('SEGMENT_LAYOUT', 2),
];
