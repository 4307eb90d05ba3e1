// Header trees to bytes: a FlatBuffers writer driven by the schema, apart from the generated code. A tree is plain
// objects with the schema's names: bigint for ulong, Uint8Array for [ubyte], names or numbers for enums; what is
// undefined or null is absent. `unknownFields` of a table, [[id, u32], …], are written beyond the schema.
import { createHash } from 'node:crypto';
import { Builder } from 'flatbuffers';
import { kindOf, SCALAR_BYTES, SCHEMA } from './schema.mjs';

export const SEGMENT_ALIGNMENT = 16_384;
const EXTENSION_BYTES = 120;
const MAGIC = [0x89, 0x44, 0x55, 0x4f, 0x0d, 0x0a, 0x1a, 0x0a];

export const alignUp = (value, alignment) => Math.ceil(value / alignment) * alignment;
export const sha256 = (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest());
export const toHex = (bytes) => Buffer.from(bytes).toString('hex');

function writeScalars(builder, type, values) {
  const bytes = SCALAR_BYTES[type];
  builder.startVector(bytes, values.length, bytes);
  for (const value of [...values].reverse()) {
    if (type === 'ulong') builder.addInt64(BigInt(value));
    else if (type === 'double') builder.addFloat64(value);
    else if (type === 'uint') builder.addInt32(value);
    else builder.addInt8(value);
  }
  return builder.endVector();
}

function writeOffsets(builder, offsets) {
  builder.startVector(4, offsets.length, 4);
  for (const offset of [...offsets].reverse()) builder.addOffset(offset);
  return builder.endVector();
}

function addScalar(builder, field, value) {
  const initial = field.nullable ? null : 0;
  if (field.type === 'ulong') builder.addFieldInt64(field.id, BigInt(value), field.nullable ? null : 0n);
  else if (field.type === 'double') builder.addFieldFloat64(field.id, value, initial);
  else if (field.type === 'uint') builder.addFieldInt32(field.id, value, initial);
  else if (field.type === 'ubyte' || field.type === 'bool')
    builder.addFieldInt8(field.id, Number(value), initial);
  else if (field.type in SCHEMA.enums) {
    const number = typeof value === 'number' ? value : SCHEMA.enums[field.type][value];
    if (number === undefined) throw new Error(`${field.type} has no ${value}`);
    builder.addFieldInt16(field.id, number, 0);
  } else throw new Error(`no way to write ${field.type}`);
}

function writeTable(builder, name, tree, order) {
  const fields = SCHEMA.tables[name].filter(({ name: key }) => tree[key] !== undefined && tree[key] !== null);
  const known = new Set(SCHEMA.tables[name].map((field) => field.name));
  const strange = Object.keys(tree).find((key) => !known.has(key) && key !== 'unknownFields');
  if (strange !== undefined) throw new Error(`${name} has no field ${strange}`);
  const offsets = new Map();
  for (const field of order === 'reverse' ? [...fields].reverse() : fields) {
    const value = tree[field.name];
    const kind = kindOf(field);
    if (kind === 'string') offsets.set(field, builder.createString(value));
    else if (kind === 'table') offsets.set(field, writeTable(builder, field.type, value, order));
    else if (kind === 'bytes') offsets.set(field, builder.createByteVector(value));
    else if (kind === 'scalars') offsets.set(field, writeScalars(builder, field.type, value));
    else if (kind === 'tables') {
      const tables = value.map((item) => writeTable(builder, field.type, item, order));
      offsets.set(field, writeOffsets(builder, tables));
    }
  }
  const extra = tree.unknownFields ?? [];
  builder.startObject(Math.max(SCHEMA.tables[name].length, ...extra.map(([id]) => id + 1)));
  for (const field of order === 'reverse' ? [...fields].reverse() : fields) {
    if (offsets.has(field)) builder.addFieldOffset(field.id, offsets.get(field), 0);
    else addScalar(builder, field, tree[field.name]);
  }
  for (const [id, value] of extra) builder.addFieldInt32(id, value, null);
  return builder.endObject();
}

/** The FlatBuffer with room for the preamble in it. `order` 'reverse' gives the same tree in other bytes. */
export function encodeTree(tree, order = 'canonical') {
  const builder = new Builder(4096);
  builder.finish(writeTable(builder, SCHEMA.root, tree, order), 'DUO1');
  const plain = builder.asUint8Array();
  const header = new Uint8Array(plain.length + EXTENSION_BYTES);
  header.set(plain.subarray(0, 8));
  header.set(plain.subarray(8), 8 + EXTENSION_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, view.getUint32(0, true) + EXTENSION_BYTES, true);
  return header;
}

/** Makes the header hash right. In place. */
export function rehash(bytes) {
  const length = Math.min(new DataView(bytes.buffer).getUint32(20, true), bytes.length);
  bytes.fill(0, 56, 88);
  bytes.set(sha256(bytes.subarray(0, length)), 56);
  return bytes;
}

export function chunkHashes(bytes) {
  const chunk = 4_194_304;
  const count = Math.ceil(bytes.length / chunk);
  const hashes = Array.from({ length: count }, (_, i) => sha256(bytes.subarray(i * chunk, (i + 1) * chunk)));
  return new Uint8Array(Buffer.concat(hashes));
}

/**
 * The bytes of a header file.
 * @param model { tree, segments: Uint8Array[] (parallel to tree.segments), minor, incompatible, compatible, order }
 * @param tail bytes of the file behind the header's padding; where the segments of the tree say, when left out
 */
export function writeHeaderFile(model, tail = placeSegments(model, 0)) {
  const header = encodeTree(model.tree, model.order);
  const base = alignUp(header.length, SEGMENT_ALIGNMENT);
  const bytes = new Uint8Array(base + tail.length);
  bytes.set(header);
  bytes.set(tail, base);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 8);
  view.setUint16(16, 1, true);
  view.setUint16(18, model.minor ?? 0, true);
  view.setUint32(20, header.length, true);
  view.setBigUint64(24, BigInt(base), true);
  view.setBigUint64(32, BigInt(bytes.length), true);
  view.setBigUint64(40, model.incompatible ?? 0n, true);
  view.setBigUint64(48, model.compatible ?? 0n, true);
  return rehash(bytes);
}

/** Segments of one file at the places that the format gives them. */
export function placeSegments(model, file) {
  let end = 0;
  const placed = [];
  for (const bytes of model.segments.filter((_, i) => (model.files[i] ?? 0) === file)) {
    const offset = alignUp(end, SEGMENT_ALIGNMENT);
    placed.push([offset, bytes]);
    end = offset + bytes.length;
  }
  const tail = new Uint8Array(end);
  for (const [offset, bytes] of placed) tail.set(bytes, offset);
  return tail;
}

const slotOf = (view, table, id) => {
  const vtable = table - view.getInt32(table, true);
  const slot = vtable + 4 + 2 * id;
  return { vtable, slot, offset: 4 + 2 * id < view.getUint16(vtable, true) ? view.getUint16(slot, true) : 0 };
};

/**
 * Where something of a header is: `path` has field names and indices, from the root. `field` is the place of the slot in
 * its table (or of the element in its vector), `target` what an offset there leads to, `slot` the place in the vtable.
 */
export function locate(bytes, path) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let table = view.getUint32(0, true);
  let type = SCHEMA.root;
  let place = { field: 0, target: table, table, vtable: table - view.getInt32(table, true) };
  for (const step of path) {
    if (typeof step === 'number') {
      const field = place.target + 4 + 4 * step;
      table = field + view.getUint32(field, true);
      place = { field, target: table, table, vtable: table - view.getInt32(table, true) };
      continue;
    }
    const schemaField = SCHEMA.tables[type].find(({ name }) => name === step);
    const { vtable, slot, offset } = slotOf(view, table, schemaField.id);
    if (offset === 0) throw new Error(`${path.join('.')} is absent`);
    const field = table + offset;
    const inline = ['scalar', 'enum'].includes(kindOf(schemaField));
    place = { field, slot, vtable, table, target: inline ? field : field + view.getUint32(field, true) };
    if (schemaField.type in SCHEMA.tables) type = schemaField.type;
    if (kindOf(schemaField) === 'table') {
      table = place.target;
      place.vtable = table - view.getInt32(table, true);
      place.table = table;
    }
  }
  return place;
}

/** The JSON form of appendix A in docs/format.md. */
export function toJson(bytes, model) {
  const view = new DataView(bytes.buffer);
  return {
    format_version: { major: view.getUint16(16, true), minor: view.getUint16(18, true) },
    incompatible_features: String(view.getBigUint64(40, true)),
    compatible_features: String(view.getBigUint64(48, true)),
    header_length: view.getUint32(20, true),
    segment_base: String(view.getBigUint64(24, true)),
    file_length: String(view.getBigUint64(32, true)),
    model: tableToJson(SCHEMA.root, model.tree),
  };
}

function tableToJson(name, tree) {
  return Object.fromEntries(
    SCHEMA.tables[name].map((field) => [field.name, fieldToJson(field, tree[field.name])]),
  );
}

function fieldToJson(field, value) {
  const kind = kindOf(field);
  const absent = value === undefined || value === null;
  const scalar = (item) => (field.type === 'ulong' ? String(item) : item);
  if (kind === 'scalar' && absent) return field.nullable ? null : field.type === 'bool' ? false : scalar(0);
  if (kind === 'enum') {
    const number = typeof value === 'number' ? value : (SCHEMA.enums[field.type][value] ?? 0);
    return Object.entries(SCHEMA.enums[field.type]).find(([, known]) => known === number)?.[0] ?? number;
  }
  if (absent) return kind === 'tables' || kind === 'scalars' ? [] : null;
  if (kind === 'table') return tableToJson(field.type, value);
  if (kind === 'tables') return value.map((item) => tableToJson(field.type, item));
  if (kind === 'scalars') return Array.from(value, scalar);
  if (kind === 'bytes') return toHex(value);
  return scalar(value);
}
