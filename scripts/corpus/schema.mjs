// Reads schemas/duobit.fbs as far as this repository uses the language: enums, tables, explicit ids. It is apart
// from the generated code on purpose: the corpus and the tables in docs/format.md check that code.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Bytes of a scalar in a table. */
export const SCALAR_BYTES = { bool: 1, ubyte: 1, ushort: 2, uint: 4, ulong: 8, double: 8 };

/**
 * @returns {{ enums: Record<string, Record<string, number>>, root: string, tables: Record<string, Field[]> }}
 * A Field is { id, name, type, vector, required, nullable, comment }, sorted by id.
 */
export function parseSchema(text = readFileSync(join(ROOT, 'schemas/duobit.fbs'), 'utf8')) {
  const enums = {};
  for (const [, name, body] of text.matchAll(/enum (\w+) : ushort \{([^}]*)\}/g)) {
    enums[name] = Object.fromEntries(
      [...body.matchAll(/(\w+) = (\d+)/g)].map(([, key, value]) => [key, Number(value)]),
    );
  }
  const tables = {};
  for (const [, name, body] of text.matchAll(/table (\w+) \{([^}]*)\}/g)) {
    const field = /((?:\s*\/\/[^\n]*\n)*)\s*(\w+): (\[?)(\w+)\]?( = null)? \(id: (\d+)(, required)?\);/g;
    tables[name] = [...body.matchAll(field)]
      .map(([, comment, key, vector, type, nullable, id, required]) => ({
        id: Number(id),
        name: key,
        type,
        vector: vector !== '',
        required: required !== undefined,
        nullable: nullable !== undefined,
        comment: comment.replace(/\s*\/\/ ?/g, ' ').trim(),
      }))
      .sort((a, b) => a.id - b.id);
    const count = body.split('\n').filter((line) => /^\s*\w+:/.test(line)).length;
    if (count !== tables[name].length || tables[name].some(({ id }, i) => id !== i)) {
      throw new Error(`schema: table ${name} has a field that this parser does not understand`);
    }
  }
  return { enums, tables, root: /root_type (\w+);/.exec(text)[1] };
}

export const SCHEMA = parseSchema();

/** What a field holds: 'scalar', 'enum', 'string', 'table', 'bytes', 'scalars' or 'tables'. */
export function kindOf({ type, vector }, schema = SCHEMA) {
  if (type in SCALAR_BYTES) return !vector ? 'scalar' : type === 'ubyte' ? 'bytes' : 'scalars';
  if (type in schema.enums) return 'enum';
  if (type === 'string') return 'string';
  if (type in schema.tables) return vector ? 'tables' : 'table';
  throw new Error(`schema: type ${type} is not known`);
}
