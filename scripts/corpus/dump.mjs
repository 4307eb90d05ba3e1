// An annotated dump of a small file, docs/format/dump.md: the preamble wholly, then the objects that lead
// from the root to the first byte of a tensor.
import { locate } from './header.mjs';
import { SCHEMA } from './schema.mjs';

const hex = (bytes) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(' ');

/** Rows of at most eight bytes; the note stands at the first. */
function rows(bytes, start, length, note) {
  const lines = [];
  for (let at = start; at < start + length; at += 8) {
    const part = hex(bytes.subarray(at, Math.min(at + 8, start + length)));
    lines.push(`${String(at).padStart(6)}  ${part.padEnd(23)}  ${at === start ? note : ''}`.trimEnd());
  }
  return lines;
}

const PREAMBLE = [
  [0, 4, (view) => `root offset: the root table is at ${view.getUint32(0, true)}`],
  [4, 4, () => '"DUO1"'],
  [8, 8, () => 'magic'],
  [16, 2, () => 'major version 1'],
  [18, 2, () => 'minor version 0'],
  [20, 4, (view) => `header length ${view.getUint32(20, true)}`],
  [24, 8, (view) => `segment base ${view.getBigUint64(24, true)}`],
  [32, 8, (view) => `file length ${view.getBigUint64(32, true)}`],
  [40, 8, () => 'incompatible features'],
  [48, 8, () => 'compatible features'],
  [56, 32, () => 'header hash'],
  [88, 40, () => 'reserved'],
];

const BYTES = { bool: 1, ubyte: 1, ushort: 2, uint: 4, ulong: 8, double: 8 };

function readScalar(view, at, type) {
  if (type === 'double') return view.getFloat64(at, true);
  if (type === 'ulong') return view.getBigUint64(at, true);
  if (type === 'uint') return view.getUint32(at, true);
  if (type === 'ushort') return view.getUint16(at, true);
  return view.getUint8(at);
}

/** Vtable and table, every field named. */
function dumpTable(bytes, view, name, table) {
  const vtable = table - view.getInt32(table, true);
  const vtableBytes = view.getUint16(vtable, true);
  const tableBytes = view.getUint16(vtable + 2, true);
  const lines = [`        vtable of ${name}, ${vtableBytes} bytes, for a table of ${tableBytes} bytes`];
  lines.push(...rows(bytes, vtable, 4, 'its length, length of the table'));
  const fields = [];
  for (let id = 0; id < (vtableBytes - 4) / 2; id++) {
    const offset = view.getUint16(vtable + 4 + 2 * id, true);
    const field = SCHEMA.tables[name][id];
    lines.push(
      ...rows(
        bytes,
        vtable + 4 + 2 * id,
        2,
        offset ? `${field.name}: at ${offset}` : `${field.name}: absent`,
      ),
    );
    if (offset) fields.push([offset, field]);
  }
  lines.push(
    `        table ${name}`,
    ...rows(bytes, table, 4, `i32: its vtable is at ${table} - ${table - vtable} = ${vtable}`),
  );
  let end = table + 4;
  for (const [offset, field] of fields.sort(([a], [b]) => a - b)) {
    const at = table + offset;
    if (at > end) lines.push(...rows(bytes, end, at - end, 'padding'));
    const number = field.type in SCHEMA.enums ? 'ushort' : field.type;
    const inline = !field.vector && number in BYTES;
    const width = inline ? BYTES[number] : 4;
    const value = inline ? readScalar(view, at, number) : null;
    const symbol = field.type in SCHEMA.enums ? Object.keys(SCHEMA.enums[field.type])[value] : value;
    const note = inline
      ? `${field.name} = ${symbol}`
      : `${field.name}: ${at} + ${view.getUint32(at, true)} = ${at + view.getUint32(at, true)}`;
    lines.push(...rows(bytes, at, width, note));
    end = at + width;
  }
  return lines;
}

function dumpVector(bytes, view, target, width, note, end = 0) {
  const count = view.getUint32(target, true);
  const lines = rows(bytes, target, 4, `${count} ${note}`);
  for (let i = 0; width >= 4 && i < count; i++)
    lines.push(...rows(bytes, target + 4 + i * width, width, `[${i}]`));
  if (width < 4) lines.push(...rows(bytes, target + 4, count + end, ''));
  return lines;
}

const INTRODUCTION = `# Annotated dump of a small container

\`fixtures/good/minimal.duo\`, a model of one block with a hidden size of 8. Made by \`scripts/make-corpus.mjs\`; part of
[the specification](../format.md). First column: place in the file, in decimal. Then up to eight bytes, and what they are.
`;

/** The dump as a page. */
export function renderDump(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const lines = ['        preamble'];
  for (const [start, length, note] of PREAMBLE) lines.push(...rows(bytes, start, length, note(view)));
  const root = locate(bytes, []);
  lines.push('', ...dumpTable(bytes, view, 'Model', root.target));
  lines.push('', ...dumpTable(bytes, view, 'Architecture', locate(bytes, ['architecture']).target));
  lines.push(
    '        string family',
    ...dumpVector(bytes, view, locate(bytes, ['architecture', 'family']).target, 1, 'bytes', 1),
  );

  const vector = locate(bytes, ['tensors']).target;
  const index = 8;
  const path = ['tensors', index];
  lines.push('', `        vector tensors, ${view.getUint32(vector, true)} offsets; [${index}] is`);
  const element = vector + 4 + 4 * index;
  const tensor = locate(bytes, path).target;
  lines.push(...rows(bytes, element, 4, `${element} + ${view.getUint32(element, true)} = ${tensor}`));
  lines.push(...dumpTable(bytes, view, 'Tensor', tensor));
  lines.push(
    '        string name',
    ...dumpVector(bytes, view, locate(bytes, [...path, 'name']).target, 1, 'bytes and a zero', 1),
  );
  lines.push(
    '        vector shape',
    ...dumpVector(bytes, view, locate(bytes, [...path, 'shape']).target, 8, 'dimensions'),
  );
  lines.push(
    '        vector planes',
    ...dumpVector(bytes, view, locate(bytes, [...path, 'planes']).target, 4, 'offsets'),
  );
  lines.push(...dumpTable(bytes, view, 'Plane', locate(bytes, [...path, 'planes', 1]).target));

  const segment = view.getUint32(locate(bytes, [...path, 'planes', 1, 'segment']).field, true);
  const base = Number(view.getBigUint64(24, true));
  const start = base + Number(view.getBigUint64(locate(bytes, ['segments', segment, 'offset']).field, true));
  const plane = locate(bytes, [...path, 'planes', 1]);
  const offset = Number(view.getBigUint64(locate(bytes, [...path, 'planes', 1, 'offset']).field, true));
  const length = Number(view.getBigUint64(locate(bytes, [...path, 'planes', 1, 'length']).field, true));
  lines.push('', ...dumpTable(bytes, view, 'Segment', locate(bytes, ['segments', segment]).target));
  lines.push(
    '',
    `        the plane that the table at ${plane.target} names: segment at ${start}, plane at ${start} + ${offset}`,
    ...rows(bytes, start + offset, Math.min(length, 64), `first of ${length} bytes`),
  );
  return `${INTRODUCTION}\n\`\`\`\n${lines.join('\n')}\n\`\`\`\n`;
}
