// What every byte of a verified header is: the walk of the verifier over the same tables, this time with names
// and values. It must run after `verifyHeader`, and checks nothing itself.

import { type FieldSchema, ROOT_TABLE, TABLES } from './generated/schema-tables.ts';
import { ENUM_NAMES, SCALAR_TYPES } from './generated/schema-types.ts';
import { HASH_BYTES } from './preamble.ts';
import { toHex } from './sha256.ts';

/** A run of bytes that something in the header names. */
export interface Claim {
  readonly offset: number;
  readonly length: number;
  readonly kind: ClaimKind;
  /** Path of the object that the bytes belong to, such as `Model.tensors[0].name`. */
  readonly where: string;
  readonly meaning: string;
}

/** What a run of bytes is. */
export type ClaimKind = 'preamble' | 'vtable' | 'table' | 'field' | 'vector' | 'string' | 'asset' | 'plane';

const TEXT_SHOWN = 80;
const ELEMENTS_SHOWN = 8;

/** What the offset in a field leads to. */
const POINTED_AT = {
  string: 'string',
  table: 'table',
  scalars: 'vector',
  strings: 'vector of strings',
  tables: 'vector of tables',
} as const;

const PREAMBLE: readonly (readonly [number, number, string, (view: DataView) => string])[] = [
  [0, 4, 'root_offset', (view) => `root table at ${hexOffset(view.getUint32(0, true))}`],
  [4, 4, 'identifier', (view) => `file identifier ${quote(latin1(view, 4, 4))}`],
  [8, 8, 'magic', () => 'magic number'],
  [16, 2, 'major', (view) => `format version, major = ${view.getUint16(16, true)}`],
  [18, 2, 'minor', (view) => `format version, minor = ${view.getUint16(18, true)}`],
  [20, 4, 'header_length', (view) => `header length = ${view.getUint32(20, true)}`],
  [24, 8, 'segment_base', (view) => `segment base = ${view.getBigUint64(24, true)}`],
  [32, 8, 'file_length', (view) => `file length = ${view.getBigUint64(32, true)}`],
  [40, 8, 'incompatible', (view) => `incompatible features = ${bits(view.getBigUint64(40, true))}`],
  [48, 8, 'compatible', (view) => `compatible features = ${bits(view.getBigUint64(48, true))}`],
  [56, 32, 'header_sha256', () => 'SHA-256 of the header with these 32 bytes zero'],
  [88, 40, 'reserved', () => 'reserved, zero'],
];

export const hexOffset = (offset: number): string => `0x${offset.toString(16)}`;

function bits(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function latin1(view: DataView, offset: number, length: number): string {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + offset, length));
}

/** JSON's quotes and escapes, cut when long. */
function quote(text: string): string {
  return text.length > TEXT_SHOWN
    ? `${JSON.stringify(text.slice(0, TEXT_SHOWN))} and ${text.length - TEXT_SHOWN} more characters`
    : JSON.stringify(text);
}

/** Names the fixed fields of the first 128 bytes. */
export function annotatePreamble(header: Uint8Array<ArrayBuffer>): Claim[] {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  return PREAMBLE.map(([offset, length, name, describe]) => ({
    offset,
    length,
    kind: 'preamble',
    where: `preamble.${name}`,
    meaning: describe(view),
  }));
}

/**
 * Names every byte that is reachable from the root table. Claims of a file that this package wrote do not overlap;
 * others may share objects, which are then named once, by the path that reaches them first.
 */
export function annotateHeader(header: Uint8Array<ArrayBuffer>): Claim[] {
  return new HeaderWalk(header).run();
}

class HeaderWalk {
  readonly #header: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #claims: Claim[] = [];
  /** Objects that were walked: one may be reached by several offsets. */
  readonly #seen = new Set<number>();
  /** Vtables are shared by design: who uses each, and how often. */
  readonly #vtables = new Map<number, { table: string; users: number }>();

  constructor(header: Uint8Array<ArrayBuffer>) {
    this.#header = header;
    this.#view = new DataView(header.buffer, header.byteOffset, header.length);
  }

  run(): Claim[] {
    this.#walkTable(this.#follow(0), ROOT_TABLE, ROOT_TABLE);
    for (const [vtable, { table, users }] of this.#vtables) this.#walkVtable(vtable, table, users);
    return this.#claims;
  }

  #claim(offset: number, length: number, kind: ClaimKind, where: string, meaning: string): void {
    if (length > 0) this.#claims.push({ offset, length, kind, where, meaning });
  }

  #follow(position: number): number {
    return position + this.#view.getUint32(position, true);
  }

  #walkTable(table: number, name: string, where: string): void {
    if (this.#seen.has(table)) return;
    this.#seen.add(table);
    const vtable = table - this.#view.getInt32(table, true);
    const users = this.#vtables.get(vtable)?.users ?? 0;
    this.#vtables.set(vtable, { table: name, users: users + 1 });
    this.#claim(table, 4, 'table', where, `table ${name}, its vtable at ${hexOffset(vtable)}`);
    const slots = (this.#view.getUint16(vtable, true) - 4) / 2;
    for (const field of TABLES[name]!) {
      const offset = field.id < slots ? this.#view.getUint16(vtable + 4 + 2 * field.id, true) : 0;
      if (offset !== 0) this.#walkField(table + offset, name, field, `${where}.${field.name}`);
    }
  }

  #walkVtable(vtable: number, name: string, users: number): void {
    const where = `vtable of ${name}`;
    const size = this.#view.getUint16(vtable, true);
    const shared = users === 1 ? '1 table' : `${users} tables`;
    this.#claim(vtable, 2, 'vtable', where, `vtable of ${shared} ${name}, ${size} bytes`);
    this.#claim(vtable + 2, 2, 'vtable', where, `table has ${this.#view.getUint16(vtable + 2, true)} bytes`);
    for (let id = 0; 4 + 2 * id < size; id++) {
      const position = vtable + 4 + 2 * id;
      const offset = this.#view.getUint16(position, true);
      const field = TABLES[name]![id]?.name ?? `field ${id}, not in this version's schema`;
      const meaning = offset === 0 ? `${field}: absent` : `${field}: at byte ${offset} of the table`;
      this.#claim(position, 2, 'vtable', where, meaning);
    }
  }

  #walkField(position: number, table: string, field: FieldSchema, where: string): void {
    if (field.kind === 'scalar' || field.kind === 'bool') {
      const type = SCALAR_TYPES[table]?.[field.name] ?? '';
      const meaning = `${field.name} = ${this.#readScalar(position, field.bytes, type)}`;
      this.#claim(position, field.bytes, 'field', where, meaning);
      return;
    }
    const target = this.#follow(position);
    this.#claim(
      position,
      4,
      'field',
      where,
      `${field.name}: ${POINTED_AT[field.kind]} at ${hexOffset(target)}`,
    );
    switch (field.kind) {
      case 'string':
        this.#walkString(target, where);
        break;
      case 'table':
        this.#walkTable(target, field.table, where);
        break;
      case 'scalars':
        this.#walkScalars(target, table, field, where);
        break;
      case 'strings':
        this.#walkElements(target, field.name, where, (element, path) => {
          this.#walkString(element, path);
        });
        break;
      case 'tables':
        this.#walkElements(target, field.name, where, (element, path) => {
          this.#walkTable(element, field.table, path);
        });
    }
  }

  #walkString(string: number, where: string): void {
    if (this.#seen.has(string)) return;
    this.#seen.add(string);
    const length = this.#view.getUint32(string, true);
    this.#claim(string, 4, 'string', where, `length = ${length} bytes`);
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(
      this.#header.subarray(string + 4, string + 4 + length),
    );
    this.#claim(string + 4, length + 1, 'string', where, `${quote(text)} and a final zero`);
  }

  #walkElements(
    vector: number,
    name: string,
    where: string,
    walk: (element: number, path: string) => void,
  ): void {
    if (this.#seen.has(vector)) return;
    this.#seen.add(vector);
    const count = this.#view.getUint32(vector, true);
    this.#claim(vector, 4, 'vector', where, `${name}: ${count} elements`);
    for (let i = 0; i < count; i++) {
      const position = vector + 4 + 4 * i;
      const element = this.#follow(position);
      this.#claim(position, 4, 'vector', where, `${name}[${i}] at ${hexOffset(element)}`);
      walk(element, `${where}[${i}]`);
    }
  }

  #walkScalars(
    vector: number,
    table: string,
    field: FieldSchema & { kind: 'scalar' | 'scalars' | 'bool' },
    where: string,
  ): void {
    if (this.#seen.has(vector)) return;
    this.#seen.add(vector);
    const count = this.#view.getUint32(vector, true);
    const type = SCALAR_TYPES[table]?.[field.name] ?? '';
    this.#claim(vector, 4, 'vector', where, `${field.name}: ${count} elements, ${field.bytes * count} bytes`);
    const start = vector + 4;
    // The only vectors of bytes are hashes, one or many after each other.
    if (type === 'uint8' && count > 0 && count % HASH_BYTES === 0) {
      for (let i = 0; i < count / HASH_BYTES; i++) {
        const at = start + HASH_BYTES * i;
        const hash = toHex(this.#header.subarray(at, at + HASH_BYTES));
        const which = field.name === 'chunk_hashes' ? `SHA-256 of chunk ${i}` : field.name;
        this.#claim(at, HASH_BYTES, 'vector', where, `${which} = ${hash}`);
      }
      return;
    }
    const shown = Array.from({ length: Math.min(count, ELEMENTS_SHOWN) }, (_, i) =>
      this.#readScalar(start + field.bytes * i, field.bytes, type),
    );
    if (count > ELEMENTS_SHOWN) shown.push(`and ${count - ELEMENTS_SHOWN} more`);
    this.#claim(start, field.bytes * count, 'vector', where, `[${shown.join(', ')}]`);
  }

  /** A value as text; an enum's with its name. */
  #readScalar(position: number, bytes: number, type: string): string {
    switch (type) {
      case 'bool':
        return String(this.#view.getUint8(position) === 1);
      case 'float64':
        return String(this.#view.getFloat64(position, true));
      case 'float32':
        return String(this.#view.getFloat32(position, true));
    }
    const value = this.#readUnsigned(position, bytes);
    const names = ENUM_NAMES[type];
    return names ? `${value} (${names[Number(value)] ?? 'not in this version'})` : String(value);
  }

  /** The format has no signed integers. */
  #readUnsigned(position: number, bytes: number): number | bigint {
    switch (bytes) {
      case 1:
        return this.#view.getUint8(position);
      case 2:
        return this.#view.getUint16(position, true);
      case 4:
        return this.#view.getUint32(position, true);
      default:
        return this.#view.getBigUint64(position, true);
    }
  }
}
