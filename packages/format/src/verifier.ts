// Structural verification of the header FlatBuffer, driven by tables generated from the schema: after it,
// every generated accessor stays inside the header and gives what the schema says. The JavaScript runtime of
// FlatBuffers has no verifier of its own. Rules: docs/format.md, "Structure".
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import { type FieldSchema, ROOT_TABLE, TABLES } from './generated/schema-tables.ts';
import { REMEDY_DAMAGED } from './problems.ts';
import { createUtf8, type Utf8 } from './text.ts';

/** Longer strings are left to the platform, which looks at many bytes at once. */
const MOST_LOOKED_AT = 256;

export interface VerifyOptions {
  /** Whether tables may have fields beyond the schema: files of a later minor version do. */
  readonly allowUnknownFields: boolean;
}

/**
 * Walks everything reachable from the root once. Time and memory are bounded by the header's length.
 * @throws DuobitError `HEADER_OFFSET`, `HEADER_VTABLE`, `HEADER_VECTOR`, `HEADER_STRING`, `HEADER_VALUE`,
 *   `HEADER_REQUIRED`, `HEADER_UNKNOWN_FIELD`, `HEADER_BUDGET`
 */
export function verifyHeader(header: Uint8Array<ArrayBuffer>, options: VerifyOptions): void {
  new HeaderVerifier(header, options).verifyRoot();
}

/** What is known of a vtable of a kind of table: equal ones need not be looked at again. */
interface KnownVtable {
  readonly at: number;
  readonly vtableBytes: number;
  readonly tableBytes: number;
  /** Of tables that it was right for, by which their fields are aligned. */
  readonly residue: number;
  /** Fields whose values have rules: all but plain numbers. */
  readonly fields: readonly { readonly offset: number; readonly field: FieldSchema }[];
}

/** Fields are aligned to at most so many bytes. */
const MOST_ALIGNED = 8;

class HeaderVerifier {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #length: number;
  readonly #options: VerifyOptions;
  readonly #utf8: Utf8;
  /** By kind of table the one met last, as nearly all tables of a kind share one. */
  readonly #known = new Map<string, KnownVtable>();
  /** Where the walk is, joined only when something is wrong. */
  readonly #path: (string | number)[] = [];
  #tables = 0;
  #work = 0;

  constructor(header: Uint8Array<ArrayBuffer>, options: VerifyOptions) {
    this.#bytes = header;
    this.#view = new DataView(header.buffer, header.byteOffset, header.length);
    this.#length = header.length;
    this.#options = options;
    this.#utf8 = createUtf8(header);
  }

  verifyRoot(): void {
    this.#path.push(ROOT_TABLE);
    this.#verifyTable(this.#follow(0), ROOT_TABLE, 1);
  }

  #fail(code: string, message: string): never {
    const [root, ...rest] = this.#path;
    const where = rest.reduce(
      (path, step) => path + (typeof step === 'number' ? `[${step}]` : `.${step}`),
      root,
    );
    throw new DuobitError(code, message, { where: `header ${where}`, remedy: REMEDY_DAMAGED });
  }

  /** Counts every byte that is looked at, so that objects shared many times over cannot cost more than that. */
  #spend(bytes: number): void {
    this.#work += bytes;
    if (this.#work > LIMITS.maxWorkFactor * this.#length) {
      this.#fail(
        'HEADER_BUDGET',
        `objects overlap: they add up to over ${LIMITS.maxWorkFactor} times the header`,
      );
    }
  }

  /** Reads the offset stored at `position`, which is inside, and gives the 4-aligned place it points at. */
  #follow(position: number): number {
    const target = position + this.#view.getUint32(position, true);
    // Bytes 0 to 127 are the preamble; no object may lie there. Any object has at least 4 bytes.
    if (target < LIMITS.preambleBytes || target > this.#length - 4 || target % 4 !== 0) {
      this.#fail('HEADER_OFFSET', `an offset points to byte ${target} of a header of ${this.#length} bytes`);
    }
    return target;
  }

  #verifyTable(table: number, name: string, depth: number): void {
    this.#tables += 1;
    if (this.#tables > LIMITS.maxTables)
      this.#fail('HEADER_BUDGET', `there are over ${LIMITS.maxTables} tables`);
    if (depth > LIMITS.maxDepth) this.#fail('HEADER_BUDGET', `tables nest over ${LIMITS.maxDepth} deep`);
    const vtable = table - this.#view.getInt32(table, true);
    const known = this.#known.get(name);
    if (known?.at === vtable && known.residue === table % MOST_ALIGNED) {
      this.#checkTableLength(table, known.tableBytes);
      this.#spend(known.vtableBytes + known.tableBytes);
      for (const { offset, field } of known.fields) {
        this.#path.push(field.name);
        this.#verifyValue(table + offset, field, depth);
        this.#path.pop();
      }
      return;
    }
    if (vtable < LIMITS.preambleBytes || vtable > this.#length - 4 || vtable % 2 !== 0) {
      this.#fail(
        'HEADER_VTABLE',
        `a table's vtable is at byte ${vtable} of a header of ${this.#length} bytes`,
      );
    }
    const vtableBytes = this.#view.getUint16(vtable, true);
    const tableBytes = this.#view.getUint16(vtable + 2, true);
    if (
      vtableBytes < 4 ||
      vtableBytes % 2 !== 0 ||
      vtableBytes > Math.min(LIMITS.maxVtableBytes, this.#length - vtable)
    ) {
      this.#fail('HEADER_VTABLE', `a vtable at byte ${vtable} says that it has ${vtableBytes} bytes`);
    }
    this.#checkTableLength(table, tableBytes);
    this.#spend(vtableBytes + tableBytes);

    const present: { offset: number; field: FieldSchema }[] = [];
    const fields = TABLES[name]!;
    const slots = (vtableBytes - 4) / 2;
    for (let id = 0; id < Math.max(slots, fields.length); id++) {
      const offset = id < slots ? this.#view.getUint16(vtable + 4 + 2 * id, true) : 0;
      const field = fields[id];
      if (offset === 0 && !field?.required) continue;
      this.#path.push(field?.name ?? `field ${id}`);
      if (offset === 0) this.#fail('HEADER_REQUIRED', 'a required field is absent');
      if (field) {
        this.#verifyField(table, offset, tableBytes, field, depth);
        if (field.kind !== 'scalar') present.push({ offset, field });
      } else if (!this.#options.allowUnknownFields) {
        this.#fail(
          'HEADER_UNKNOWN_FIELD',
          'the field is not in the schema of the version that the file names',
        );
      }
      this.#path.pop();
    }
    const residue = table % MOST_ALIGNED;
    this.#known.set(name, { at: vtable, vtableBytes, tableBytes, residue, fields: present });
  }

  #checkTableLength(table: number, bytes: number): void {
    if (bytes >= 4 && bytes <= this.#length - table) return;
    this.#fail('HEADER_VTABLE', `a table at byte ${table} says that it has ${bytes} bytes`);
  }

  #verifyField(table: number, offset: number, tableBytes: number, field: FieldSchema, depth: number): void {
    const inline = field.kind === 'scalar' || field.kind === 'bool';
    const bytes = inline ? field.bytes : 4;
    const position = table + offset;
    if (offset < 4 || offset + bytes > tableBytes || position % bytes !== 0) {
      this.#fail(
        'HEADER_OFFSET',
        `a field of ${bytes} bytes is at ${offset} of a table of ${tableBytes} bytes`,
      );
    }
    this.#verifyValue(position, field, depth);
  }

  #verifyValue(position: number, field: FieldSchema, depth: number): void {
    switch (field.kind) {
      case 'scalar':
        break;
      case 'bool':
        if (this.#bytes[position]! > 1) this.#fail('HEADER_VALUE', `a bool is ${this.#bytes[position]}`);
        break;
      case 'string':
        this.#verifyString(this.#follow(position));
        break;
      case 'table':
        this.#verifyTable(this.#follow(position), field.table, depth + 1);
        break;
      case 'scalars':
        this.#verifyVector(this.#follow(position), field.bytes);
        break;
      case 'strings':
        this.#verifyElements(this.#follow(position), null, depth);
        break;
      case 'tables':
        this.#verifyElements(this.#follow(position), field.table, depth);
    }
  }

  /** Of a vector of tables, or of strings when `table` is null. */
  #verifyElements(vector: number, table: string | null, depth: number): void {
    const count = this.#verifyVector(vector, 4);
    if (count > LIMITS.maxTensors) {
      this.#fail(
        'LIMIT_EXCEEDED',
        `a vector has ${count} elements; at most ${LIMITS.maxTensors} are allowed`,
      );
    }
    for (let i = 0; i < count; i++) {
      this.#path.push(i);
      const element = this.#follow(vector + 4 + 4 * i);
      if (table === null) this.#verifyString(element);
      else this.#verifyTable(element, table, depth + 1);
      this.#path.pop();
    }
  }

  /** @returns the number of elements, all of which are inside the header. */
  #verifyVector(vector: number, elementBytes: number): number {
    const count = this.#view.getUint32(vector, true);
    const start = vector + 4;
    if (
      count > Math.floor((this.#length - start) / elementBytes) ||
      (count > 0 && start % elementBytes !== 0)
    ) {
      this.#fail(
        'HEADER_VECTOR',
        `a vector at byte ${vector} has ${count} elements of ${elementBytes} bytes`,
      );
    }
    this.#spend(4 + count * elementBytes);
    return count;
  }

  #verifyString(string: number): void {
    const length = this.#verifyVector(string, 1);
    // Once more: text takes up to two bytes a character in memory, and is copied for each place that names it.
    this.#spend(length);
    const end = string + 4 + length;
    if (end >= this.#length || this.#bytes[end] !== 0)
      this.#fail('HEADER_STRING', 'a string lacks its final zero');
    if (length > LIMITS.maxTextBytes) {
      this.#fail(
        'LIMIT_EXCEEDED',
        `a string has ${length} bytes; at most ${LIMITS.maxTextBytes} are allowed`,
      );
    }
    if (length <= MOST_LOOKED_AT && this.#isAscii(string + 4, end)) return;
    if (!this.#utf8.isValid(string + 4, end)) this.#fail('HEADER_STRING', 'a string is not valid UTF-8');
  }

  /** Most strings are names, for which this costs less than a call of the platform. */
  #isAscii(start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (this.#bytes[at]! > 0x7f) return false;
    return true;
  }
}
