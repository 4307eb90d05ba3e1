// What is left of schemas, and what is refused and where.
import { describe, expect, it } from 'vitest';
import { markLength, markRange, markValues } from './marks.ts';
import { countPattern } from './pattern.ts';
import { Budget, reduceSchema } from './schema.ts';

const refusalOf = (schema: unknown): unknown => {
  try {
    return reduceSchema(schema);
  } catch (error) {
    return error;
  }
};

describe('schemas', () => {
  it('keep what texts depend on', () => {
    expect(
      reduceSchema({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        title: 'A person',
        type: 'object',
        properties: {
          name: { type: 'string', maxLength: 8, description: 'Of the person', format: 'nickname' },
          age: { type: ['integer', 'null'], exclusiveMinimum: 0, maximum: 150, default: 3 },
          kind: { type: 'string', enum: ['a', 1, 'b'] },
          friend: { $ref: '#/$defs/friend' },
        },
        required: ['name'],
        $defs: { friend: { anyOf: [{ $ref: '#' }, { type: 'null' }] }, unused: { not: {} } },
      }),
    ).toEqual({
      type: 'object',
      properties: {
        name: markLength(0, 8),
        age: { anyOf: [markRange(1, 150), { type: 'null' }] },
        kind: markValues(['a', 'b']),
        friend: { $ref: '#/$defs/d0' },
      },
      required: ['name'],
      additionalProperties: false,
      $defs: { d0: { anyOf: [{ $ref: '#/$defs/d1' }, { type: 'null' }] }, d1: expect.any(Object) },
    });
    const { MIN_SAFE_INTEGER: minimum, MAX_SAFE_INTEGER: maximum } = Number;
    expect(reduceSchema({ type: 'integer', minimum, maximum })).toEqual({ type: 'integer' });
    expect(reduceSchema({ type: 'integer', minimum: 0, maximum })).toEqual(markRange(0, null));
    expect(reduceSchema(true)).toEqual({});
    expect(reduceSchema({ description: 'anything' })).toEqual({});
    expect(reduceSchema({ type: 'object' })).toEqual({ type: 'object', additionalProperties: {} });
  });

  it('are refused, by place, where something would be left out or cannot be met', () => {
    const refused: [unknown, string][] = [
      [false, '#'],
      [7, '#'],
      [{ type: 'text' }, '#/type'],
      [{ type: 'object', properties: { a: { type: 'number', minimum: 1 } } }, '#/properties/a/minimum'],
      [{ type: 'integer', multipleOf: 2 }, '#/multipleOf'],
      [{ type: 'integer', minimum: 2, exclusiveMaximum: 2 }, '#/minimum'],
      [{ type: 'integer', minimum: 1.5 }, '#/minimum'],
      [{ type: 'array', uniqueItems: true }, '#/uniqueItems'],
      [{ type: 'array', minItems: 3, maxItems: 2 }, '#/minItems'],
      [{ type: 'array', items: false }, '#/items'],
      [{ type: 'object', required: ['a'] }, '#/required'],
      [{ type: 'object', properties: { 'a"': {} } }, '#/properties'],
      [{ type: 'object', patternProperties: {} }, '#/patternProperties'],
      [{ not: {} }, '#/not'],
      [{ anyOf: [] }, '#/anyOf'],
      [{ anyOf: [{}], type: 'object' }, '#/type'],
      [{ allOf: [{}, {}] }, '#/allOf'],
      [{ enum: [] }, '#/enum'],
      [{ type: 'string', const: 5 }, '#/const'],
      [{ type: 'string', pattern: '(' }, '#/pattern'],
      [{ type: 'string', minLength: 2, pattern: 'a' }, '#'],
      [{ type: 'string', minLength: 5000 }, '#/minLength'],
      [{ $ref: '#' }, '#/$ref'],
      [{ $ref: '#/$defs/a', $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }] } } }, '#/$defs/a/anyOf/0/$ref'],
      [{ $ref: '#/nowhere' }, '#/$ref'],
      [{ $ref: '#/%' }, '#/$ref'],
      // It would be taken for a mark, and what follows for a part of the grammar.
      [{ type: 'object', properties: { 'duobit-grammar:6162': {} } }, '#/properties'],
      [{ $ref: 'https://example.org/schema' }, '#/$ref'],
    ];
    for (const [schema, where] of refused)
      expect(refusalOf(schema), JSON.stringify(schema)).toMatchObject({ code: 'GRAMMAR_INVALID', where });
    let deep: unknown = {};
    for (let i = 0; i < 100; i++) deep = { type: 'array', items: deep };
    const many = Array.from({ length: 300 }, (_, i) => ({ type: 'integer', minimum: i, maximum: 10 ** 12 }));
    for (const schema of [
      deep,
      { anyOf: many },
      { const: 'x'.repeat(2000) },
      { enum: Array.from({ length: 9000 }, (_, i) => `value ${i}`) },
      {
        type: 'object',
        properties: Object.fromEntries(many.map((_, i) => [i, { type: 'string', maxLength: 500 + i }])),
      },
      {
        type: 'object',
        properties: Object.fromEntries(many.map((_, i) => [i, { type: 'string', pattern: `[a-z]{${i}}b` }])),
      },
      { anyOf: many.map(() => ({ type: 'array', maxItems: 1000 })) },
      { type: 'object', properties: { ['x'.repeat(100_000)]: {} } },
    ])
      expect(refusalOf(schema)).toMatchObject({ code: 'GRAMMAR_INVALID' });
  });
});

describe('what schemas cost', () => {
  it('is counted once for what is one rule, and over all schemas of a grammar', () => {
    const texts = Array.from({ length: 300 }, (_, i) => [`p${i}`, { type: 'string', maxLength: 500 }]);
    const schema = { type: 'object', properties: Object.fromEntries(texts) };
    expect(refusalOf(schema)).toMatchObject({ type: 'object' });
    const budget = new Budget();
    for (let i = 0; i < 3; i++) reduceSchema(schema, budget);
    // In each it is a rule again.
    expect(() => {
      for (let i = 0; i < 3; i++) reduceSchema(schema, budget);
    }).toThrow('takes too long to compile');
  });
});

describe('patterns', () => {
  it('are those whose texts need no escapes in JSON', () => {
    for (const pattern of [
      '^[a-z]+$',
      '\\d{3}-\\w+',
      '(?:ab|cd)*e?',
      '^[A-Z]{2,}$',
      'a\\.b',
      '(a(b|c){1,2})+',
      '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
    ])
      expect(countPattern(pattern), pattern).not.toBe(null);
    for (const pattern of [
      '',
      '.',
      '(',
      '[^a]',
      '\\s',
      '\\n',
      '"',
      'a\\\\b',
      '(?=a)',
      '(?<n>a)',
      '\\1',
      '(a{99}){99}',
      '\\bx',
      '*',
      'é',
    ])
      expect(countPattern(pattern), pattern).toBe(null);
  });
});
