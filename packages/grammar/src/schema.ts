// JSON schemas, reduced to what the grammar library holds texts to, so that what is written is valid under the schema as it was. What
// would be left out silently, or make the library fail, is refused by name.
import { DuobitError } from '@duobit/format';
import { isMark, markLength, markRange, markValues } from './marks.ts';
import { countPattern, WRITTEN_OUT } from './pattern.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Keywords that no text depends on. */
const ANNOTATIONS = new Set([
  ...['$schema', '$id', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly'],
]);
/** Keywords of types. */
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  number: [],
  boolean: [],
  null: [],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties'],
};
/** What stands for a whole schema, alone. */
const WHOLE = ['$ref', 'anyOf', 'oneOf', 'allOf', 'enum', 'const'];
/** Formats that the library knows; others say nothing, as the standard has it. */
const FORMATS = new Set(['date', 'time', 'date-time', 'uuid', 'ipv4']);
const DEEPEST = 64;
/** Of what takes a third of a millisecond to compile, with a vocabulary of 50,000 and the processor to itself. */
const MOST_PARTS = 4000;
/** Of lengths and counts, and of single values. */
const LONGEST = 1000;
/** Characters of names and of lists of values that are a part. */
const PART_NAMES = 12;
/** Of a character of a length or a pattern. */
const CHARACTER_PARTS = 4;
/** Of a range with two ends, and of one with one. */
const RANGE_PARTS = 80;
const OPEN_RANGE_PARTS = 30;

/** What the schemas of one grammar may cost together. */
export class Budget {
  #parts = 0;

  /** @returns whether there was enough */
  spend(parts: number): boolean {
    this.#parts += parts;
    return this.#parts <= MOST_PARTS;
  }
}

/**
 * The schema with its references resolved to definitions, nothing in it that says nothing, and marks (see `writeMarks`).
 * @throws DuobitError `GRAMMAR_INVALID`, naming the place in the schema
 * @param budget of the grammar that it is a part of
 */
export function reduceSchema(schema: unknown, budget = new Budget()): Fields {
  return new Reduction(schema, budget).all();
}

class Reduction {
  readonly #root: unknown;
  /** Definitions by the references that need them. */
  readonly #definitions = new Map<string, { readonly name: string; reduced: Fields | null }>();
  readonly #budget: Budget;
  readonly #rules = new Set<string>();

  constructor(root: unknown, budget: Budget) {
    this.#root = root;
    this.#budget = budget;
  }

  all(): Fields {
    const reduced = this.#reduce(this.#root, '#', 0, []);
    const definitions = [...this.#definitions.values()].map(({ name, reduced }) => [name, reduced]);
    return definitions.length === 0 ? reduced : { ...reduced, $defs: Object.fromEntries(definitions) };
  }

  /** @param open references that nothing was written for since: one of them here would never end */
  #reduce(schema: unknown, where: string, depth: number, open: readonly string[]): Fields {
    if (schema === true) return {};
    if (!isFields(schema)) throw refuse(where, 'no value fits it, or it is not a schema', 'Give an object');
    if (depth > DEEPEST) throw refuse(where, `it has more than ${DEEPEST} levels`, 'Simplify it');
    this.#spend(1, where);
    const names = Object.keys(schema).filter((name) => !ANNOTATIONS.has(name) && schema[name] !== undefined);
    const whole = names.find((name) => WHOLE.includes(name));
    const types = readTypes(schema.type, where);
    if (whole === undefined) {
      const known = types ?? Object.keys(KEYWORDS);
      const keywords = ['type', ...known.flatMap((type) => KEYWORDS[type]!)];
      for (const name of names)
        if (!keywords.includes(name))
          throw unsupported(where, name, types ? ` of type ${types.join(', ')}` : '');
      // Keywords without a type say what they say of values of their types; these are enough.
      const implied =
        types ?? Object.keys(KEYWORDS).filter((type) => KEYWORDS[type]!.some((k) => names.includes(k)));
      if (implied.length === 0) return {};
      const options = implied.map((type) => this.#reduceType(type, schema, where, depth));
      return options.length === 1 ? options[0]! : { anyOf: options };
    }
    const beside = names.find((name) => name !== whole && !(name === 'type' && isLiteral(whole)));
    if (beside !== undefined) throw unsupported(where, beside, ` beside ${whole}`);
    return this.#reduceWhole(whole, schema[whole], types, where, depth, open);
  }

  #spend(parts: number, where: string): void {
    if (!this.#budget.spend(parts))
      throw refuse(where, 'with what comes before it takes too long to compile', 'Simplify it');
  }

  #reduceWhole(
    keyword: string,
    value: unknown,
    types: readonly string[] | null,
    where: string,
    depth: number,
    open: readonly string[],
  ): Fields {
    const place = `${where}/${keyword}`;
    if (isLiteral(keyword)) {
      const values: unknown[] = keyword === 'const' ? [value] : Array.isArray(value) ? value : [];
      const fitting = values.filter((one) => types === null || types.some((type) => isOfType(one, type)));
      if (fitting.length === 0) throw refuse(place, 'it has no value, or none of its type', 'Give one');
      const length = JSON.stringify(fitting).length;
      if (fitting.some((one) => JSON.stringify(one).length > LONGEST))
        throw refuse(place, `a value is longer than ${LONGEST}`, 'Shorten it');
      this.#spend(length / PART_NAMES, place);
      return markValues(fitting);
    }
    if (keyword === '$ref') return this.#refer(value, place, depth, open);
    if (!Array.isArray(value) || value.length === 0 || (keyword === 'allOf' && value.length > 1))
      throw refuse(
        place,
        keyword === 'allOf' ? 'only one is supported' : 'it is no list, or empty',
        'Correct it',
      );
    const options = value.map((one, i) => this.#reduce(one, `${place}/${i}`, depth + 1, open));
    return options.length === 1 ? options[0]! : { anyOf: options };
  }

  #refer(reference: unknown, where: string, depth: number, open: readonly string[]): Fields {
    if (typeof reference !== 'string' || !/^#($|\/)/.test(reference))
      throw refuse(where, `"${String(reference)}" is not a reference into this schema`, 'Put it into $defs');
    if (open.includes(reference)) throw refuse(where, `"${reference}" refers to itself`, 'Correct it');
    let definition = this.#definitions.get(reference);
    if (definition === undefined) {
      const path = reference.slice(2).split('/').map(unescapePointer);
      let target: unknown = this.#root;
      if (reference !== '#')
        for (const key of path)
          target =
            key !== null && (isFields(target) || Array.isArray(target)) && Object.hasOwn(target, key)
              ? (target as Fields)[key]
              : undefined;
      if (target === undefined) throw refuse(where, `there is no "${reference}"`, 'Correct the reference');
      definition = { name: `d${this.#definitions.size}`, reduced: null };
      this.#definitions.set(reference, definition);
      definition.reduced = this.#reduce(target, reference, depth + 1, [...open, reference]);
    }
    return { $ref: `#/$defs/${definition.name}` };
  }

  #reduceType(type: string, schema: Fields, where: string, depth: number): Fields {
    if (type === 'string') {
      const { minLength = 0, maxLength = minLength, pattern } = schema;
      const reduced = reduceString(schema, where);
      const characters =
        typeof pattern === 'string' ? countPattern(pattern)! : Math.min(Number(maxLength), WRITTEN_OUT);
      // What several of a schema have is one rule.
      const rule = JSON.stringify(reduced);
      if (!this.#rules.has(rule)) this.#spend(characters * CHARACTER_PARTS, where);
      this.#rules.add(rule);
      return reduced;
    }
    if (type === 'integer') {
      const reduced = reduceInteger(schema, where);
      const ends = Object.keys(schema).filter((name) => /m(in|ax)imum/i.test(name)).length;
      if (reduced.const) this.#spend(ends > 1 ? RANGE_PARTS : OPEN_RANGE_PARTS, where);
      return reduced;
    }
    if (type === 'array') return this.#reduceArray(schema, where, depth);
    if (type === 'object') return this.#reduceObject(schema, where, depth);
    return { type };
  }

  #reduceArray(schema: Fields, where: string, depth: number): Fields {
    const { items = true, prefixItems } = schema;
    const [minItems, maxItems] = readRange(schema, 'minItems', 'maxItems', where);
    if (prefixItems !== undefined) {
      if (!Array.isArray(prefixItems) || prefixItems.length === 0)
        throw refuse(`${where}/prefixItems`, 'it is no list, or empty', 'Correct it');
      const count = prefixItems.length;
      if ((minItems ?? 0) > count || (maxItems ?? count) < count)
        throw refuse(`${where}/minItems`, 'lists are as long as prefixItems', 'Leave it out');
      const first = prefixItems.map((one, i) =>
        this.#reduce(one, `${where}/prefixItems/${i}`, depth + 1, []),
      );
      return { type: 'array', prefixItems: first, items: false };
    }
    this.#spend(Math.min(maxItems ?? minItems ?? 0, WRITTEN_OUT), where);
    const range = {
      ...(minItems !== undefined && { minItems }),
      ...(maxItems !== undefined && { maxItems }),
    };
    return { type: 'array', items: this.#reduce(items, `${where}/items`, depth + 1, []), ...range };
  }

  #reduceObject(schema: Fields, where: string, depth: number): Fields {
    const { properties = {}, required = [], additionalProperties: others = true } = schema;
    if (!isFields(properties)) throw refuse(`${where}/properties`, 'it is not an object', 'Correct it');
    const names = Object.keys(properties);
    // Names are written into the text as they stand.
    for (const name of names)
      if (!/^[^"\\\p{Cc}]+$/u.test(name) || isMark(name))
        throw refuse(`${where}/properties`, `the name "${name}" is not supported`, 'Rename it');
    this.#spend(names.join('').length / PART_NAMES, `${where}/properties`);
    if (!Array.isArray(required) || !required.every((name) => names.includes(name)))
      throw refuse(`${where}/required`, 'it is no list, or names what is not in properties', 'Correct it');
    if (names.length === 0) {
      if (others === false) return { type: 'object', properties: {}, additionalProperties: false };
      return {
        type: 'object',
        additionalProperties: this.#reduce(others, `${where}/additionalProperties`, depth + 1, []),
      };
    }
    const reduced = names.map((name) => [
      name,
      this.#reduce(properties[name], `${where}/properties/${name}`, depth + 1, []),
    ]);
    // Of others one could have the name of a property, with a value that does not fit.
    return { type: 'object', properties: Object.fromEntries(reduced), required, additionalProperties: false };
  }
}

function reduceString(schema: Fields, where: string): Fields {
  const { pattern, format } = schema;
  const [minLength, maxLength] = readRange(schema, 'minLength', 'maxLength', where);
  const isRanged = minLength !== undefined || maxLength !== undefined;
  const isKnown = typeof format === 'string' && FORMATS.has(format);
  if (Number(isRanged) + Number(pattern !== undefined) + Number(isKnown) > 1)
    throw refuse(
      where,
      'of pattern, format and lengths only one is supported at a time',
      'Leave the others out',
    );
  if (pattern !== undefined && (typeof pattern !== 'string' || countPattern(pattern) === null))
    throw refuse(
      `${where}/pattern`,
      `"${String(pattern)}" is not supported`,
      'Use plain characters, classes of them, \\d, \\w, groups, | and quantifiers',
    );
  if (isRanged) return markLength(minLength ?? 0, maxLength ?? null);
  return { type: 'string', ...(pattern !== undefined && { pattern }), ...(isKnown && { format }) };
}

function reduceInteger(schema: Fields, where: string): Fields {
  const read = (name: string, step: number): number | undefined => {
    const value = schema[name];
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value))
      throw refuse(`${where}/${name}`, 'it is not a whole number', 'Correct it');
    return (value as number) + step;
  };
  const least = Math.max(read('minimum', 0) ?? -Infinity, read('exclusiveMinimum', 1) ?? -Infinity);
  const most = Math.min(read('maximum', 0) ?? Infinity, read('exclusiveMaximum', -1) ?? Infinity);
  if (least > most) throw refuse(`${where}/minimum`, 'no number is in the range', 'Correct it');
  // The ends of safe integers, which some libraries name for every integer, are none.
  const from = least <= Number.MIN_SAFE_INTEGER ? null : least;
  const to = most >= Number.MAX_SAFE_INTEGER ? null : most;
  return from === null && to === null ? { type: 'integer' } : markRange(from, to);
}

/** Least and most, whole numbers. */
function readRange(schema: Fields, least: string, most: string, where: string): (number | undefined)[] {
  const range = [least, most].map((name) => {
    const value = schema[name];
    if (value === undefined) return undefined;
    if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= LONGEST)
      return value as number;
    throw refuse(`${where}/${name}`, `it is not a whole number from 0 to ${LONGEST}`, 'Correct it');
  });
  if ((range[0] ?? 0) > (range[1] ?? LONGEST))
    throw refuse(`${where}/${least}`, `it is more than ${most}`, 'Correct it');
  return range;
}

function readTypes(type: unknown, where: string): readonly string[] | null {
  if (type === undefined) return null;
  const types: unknown[] = Array.isArray(type) ? type : [type];
  if (
    types.length > 0 &&
    types.every((one): one is string => typeof one === 'string' && Object.hasOwn(KEYWORDS, one))
  )
    return types;
  throw refuse(
    `${where}/type`,
    'it is not a type of JSON',
    `Use one of: ${Object.keys(KEYWORDS).join(', ')}`,
  );
}

function isLiteral(keyword: string): boolean {
  return keyword === 'enum' || keyword === 'const';
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'null') return value === null;
  return type === 'object' ? isFields(value) : typeof value === type;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Null for what is no part of an address. */
function unescapePointer(key: string): string | null {
  try {
    return decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return null;
  }
}

function unsupported(where: string, name: string, context: string): DuobitError {
  return refuse(`${where}/${name}`, `it is not supported${context}`, 'Leave it out');
}

function refuse(where: string, what: string, remedy: string): DuobitError {
  return new DuobitError('GRAMMAR_INVALID', `the schema cannot be used: ${what}`, { where, remedy });
}
