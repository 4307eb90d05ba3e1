// Output held to grammars: of random models it parses and is valid under the schema, whatever the kind of vocabulary, or it ends at its
// limit; and of real generation with chat completions.
import {
  createChatCompletions,
  createModel,
  createRandom,
  createReferenceBackend,
  type Grammar,
  type GrammarVocabulary,
} from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createGrammars } from './grammars.ts';

const EOS = 256;
/** Bytes, some words that cross the borders of JSON's syntax, and tokens that write nothing. */
const WORDS = [
  '{"',
  '": ',
  '", "',
  '"}',
  ']}',
  'true',
  'null',
  ' [',
  '12',
  'ab',
  '\n\n',
  '😀',
  '<tool',
  '_call>',
];
const utf8 = new TextEncoder();
const vocabulary: GrammarVocabulary = {
  size: 288,
  eos: [EOS],
  bytesOf: (token) => {
    if (token < 256) return Uint8Array.of(token);
    const word = WORDS[token - 257];
    return token === EOS || word === undefined ? null : utf8.encode(word);
  },
};
const grammars = createGrammars({ kept: 4 });
const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** Writes what random logits choose; null where it was cut off. */
async function write(grammar: Grammar, seed: number, most = 4000): Promise<string | null> {
  const constraint = await grammars.createConstraint(grammar, vocabulary);
  const random = createRandom(seed);
  const written: number[] = [];
  try {
    for (let count = 0; ; count++) {
      const mask = await constraint.allowed();
      if (mask === null) break;
      const allowed = Array.from({ length: vocabulary.size }, (_, token) => token).filter(
        (token) => (mask[token >> 5]! >> (token & 31)) & 1,
      );
      expect(allowed.length).toBeGreaterThan(0);
      // Parts of characters are chosen where nothing else may come, as else there would be some that make no character.
      const whole = allowed.filter((token) => token < 0x80 || token > 0xff);
      // Ends, of texts and of lists, are liked, as else numbers and nested values go on for long.
      const ends = allowed.filter((token) => token === EOS || '"]},'.includes(String.fromCharCode(token)));
      const from = ends.length > 0 && random() < 0.3 ? ends : whole.length > 0 ? whole : allowed;
      const token = from[Math.floor(random() * from.length)]!;
      if (token === EOS) break;
      if (count === most) return null;
      constraint.accept(token);
      written.push(...vocabulary.bytesOf(token)!);
    }
  } finally {
    constraint.dispose();
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(written));
}

const schemas = fc.letrec<{ schema: Record<string, unknown> }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom<Record<string, unknown>>(
      ...[{ type: 'boolean' }, { type: 'null' }, { type: 'integer' }, { type: 'string' }, { type: 'number' }],
      ...[
        { type: 'string', pattern: '^[a-f]{2,4}-\\d+$' },
        { type: 'string', format: 'date' },
      ],
      ...[{ type: ['integer', 'null'], minimum: -3 }, { const: { a: [1, 'éa"\\x41'] } }, { type: 'object' }],
    ),
    fc.record({ enum: fc.array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 4 }) }),
    fc
      .tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 }))
      .map(([least, more]) => ({ type: 'string', minLength: least, maxLength: least + more })),
    fc.tuple(fc.integer({ min: -2000, max: 2000 }), fc.nat(3000), fc.nat(2)).map(([least, more, open]) => ({
      type: 'integer',
      ...(open !== 1 && { minimum: least }),
      ...(open !== 2 && { maximum: Math.max(least + more, 0) }),
    })),
    fc
      .tuple(tie('schema'), fc.nat(3), fc.nat(3))
      .map(([items, least, more]) => ({ type: 'array', items, minItems: least, maxItems: least + more })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((prefixItems) => ({
      ...{ type: 'array', prefixItems, minItems: prefixItems.length },
      items: false,
    })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc
      .array(fc.tuple(fc.stringMatching(/^[ab]{1,3}$/), tie('schema')), { minLength: 2, maxLength: 4 })
      .map((list) => ({
        anyOf: list.map(([kind, schema]) => ({
          type: 'object',
          properties: { kind: { const: kind }, value: schema },
          required: ['kind', 'value'],
        })),
      })),
    fc
      .array(fc.tuple(fc.stringMatching(/^[a-zé .$'{}]{1,6}$/), tie('schema'), fc.boolean()), {
        maxLength: 4,
      })
      .map((list) => ({
        type: 'object',
        properties: Object.fromEntries(list.map(([name, schema]) => [name, schema])),
        required: [...new Set(list.filter(([, , isRequired]) => isRequired).map(([name]) => name))],
      })),
  ),
})).schema;

describe('grammars', () => {
  it('hold random models to random schemas', async () => {
    let complete = 0;
    await fc.assert(
      fc.asyncProperty(schemas, fc.nat(1e6), async (schema, seed) => {
        const text = await write({ kind: 'json-schema', schema }, seed);
        if (text === null) return;
        complete++;
        const isValid = ajv.compile(schema);
        expect(isValid(JSON.parse(text)), `${text} under ${JSON.stringify(schema)}`).toBe(true);
      }),
      { numRuns: 150, seed: 9 },
    );
    expect(complete).toBeGreaterThan(120);
  });

  it('let every number of a range in, and no other', async () => {
    const accepts = async (schema: Record<string, unknown>, value: number): Promise<boolean> => {
      const constraint = await grammars.createConstraint({ kind: 'json-schema', schema }, vocabulary);
      try {
        for (const token of [...utf8.encode(String(value)), EOS]) {
          const mask = await constraint.allowed();
          // A number that nothing can follow is complete by itself.
          if (mask === null) return token === EOS;
          if (!((mask[token >> 5]! >> (token & 31)) & 1)) return false;
          if (token !== EOS) constraint.accept(token);
        }
        return true;
      } finally {
        constraint.dispose();
      }
    };
    const range = fc.tuple(
      fc.integer({ min: -1200, max: 1200 }),
      fc.oneof(fc.nat(30), fc.nat(9000)),
      fc.nat(3),
    );
    await fc.assert(
      fc.asyncProperty(range, async ([least, more, open]) => {
        const most = least + more;
        const schema = {
          type: 'integer',
          ...(open !== 1 && { minimum: least }),
          ...(open !== 2 && { maximum: most }),
        };
        const near = [0, 9, 10, 99, 100, 999, 1000].flatMap((n) => [n, -n]);
        const values = [least, most].flatMap((end) => [-11, -1, 0, 1, 2, 11].map((step) => end + step));
        for (const value of new Set([...near, ...values, (least + most) >> 1, 123_456])) {
          const isIn = (open === 1 || value >= least) && (open === 2 || value <= most);
          expect(await accepts(schema, value), `${value} in ${JSON.stringify(schema)}`).toBe(isIn);
        }
      }),
      { numRuns: 40, seed: 4 },
    );
  });

  it('let every value of a list in, and no other', async () => {
    /** All texts that may be written. */
    const listTexts = async (schema: Record<string, unknown>): Promise<string[]> => {
      const texts: string[] = [];
      const go = async (written: readonly number[]): Promise<void> => {
        expect(written.length).toBeLessThan(40);
        const constraint = await grammars.createConstraint({ kind: 'json-schema', schema }, bytes);
        for (const token of written) constraint.accept(token);
        const mask = await constraint.allowed();
        constraint.dispose();
        const may = (token: number): boolean =>
          mask !== null && ((mask[token >> 5]! >> (token & 31)) & 1) === 1;
        if (mask === null || may(EOS)) texts.push(new TextDecoder().decode(Uint8Array.from(written)));
        for (let token = 0; token < 256; token++) if (may(token)) await go([...written, token]);
      };
      await go([]);
      return texts;
    };
    const bytes = { ...vocabulary, bytesOf: (token: number) => (token < 256 ? Uint8Array.of(token) : null) };
    const words = fc.uniqueArray(fc.stringMatching(/^[abcé]{1,4}$/), { minLength: 2, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(words, fc.boolean(), async (values, isUnion) => {
        const half = values.length >> 1;
        const schema = isUnion
          ? { anyOf: [{ enum: values.slice(0, half) }, { enum: values.slice(half) }] }
          : { enum: values };
        expect((await listTexts(schema)).sort()).toEqual(values.map((value) => JSON.stringify(value)).sort());
      }),
      { numRuns: 25, seed: 2 },
    );
  });

  it('follow references that come back to themselves', async () => {
    const schema = {
      type: 'object',
      properties: { value: { type: 'integer' }, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
      required: ['value', 'next'],
    };
    const isValid = ajv.compile(schema);
    const texts = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((seed) => write({ kind: 'json-schema', schema }, seed)),
    );
    for (const text of texts) expect(isValid(JSON.parse(text!)), text!).toBe(true);
    expect(new Set(texts).size).toBeGreaterThan(1);
  });

  it('write any object, and calls of tools, one or more', async () => {
    for (let seed = 0; seed < 5; seed++) {
      const text = await write({ kind: 'json-object' }, seed);
      if (text !== null) expect(JSON.parse(text)).toBeTypeOf('object');
    }
    const tools = [
      {
        name: 'add',
        parameters: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
      },
      { name: 'tree', parameters: { properties: { of: { anyOf: [{ $ref: '#' }, { type: 'null' }] } } } },
    ];
    const counts = new Set<number>();
    const names = new Set<string>();
    for (let seed = 0; seed < 24; seed++) {
      const single = seed % 2 === 0;
      const text = await write(
        { kind: 'tool-calls', tools, begin: '<tool_call>', end: '</tool_call>', single },
        seed,
      );
      if (text === null) continue;
      const calls = [...text.matchAll(/<tool_call>(.*?)<\/tool_call>\n?/g)];
      expect(calls.map(([call]) => call).join('')).toBe(text);
      for (const [, body] of calls) {
        const call = JSON.parse(body!) as { name: string; arguments: unknown };
        names.add(call.name);
        const { parameters } = tools.find(({ name }) => name === call.name)!;
        expect(ajv.compile(parameters)(call.arguments)).toBe(true);
      }
      if (single) expect(calls).toHaveLength(1);
      counts.add(calls.length);
    }
    expect(names.size).toBe(2);
    expect(counts.size).toBeGreaterThan(1);
  });

  it('write names of tools as they are, also such as have a meaning here', async () => {
    for (const name of ['a"b\\', `duobit-grammar:${Buffer.from('"x"').toString('hex')}`]) {
      const tools = [{ name, parameters: { properties: {}, additionalProperties: false } }];
      const text = await write({ kind: 'tool-calls', tools, begin: '<', end: '>', single: true }, 1);
      expect(JSON.parse(text!.slice(1, -1))).toEqual({ name, arguments: {} });
    }
  });

  it('write patterns as they are, also such as have a meaning here', async () => {
    const pattern = `duobit-grammar:${Buffer.from('"x"').toString('hex')}`;
    expect(await write({ kind: 'json-schema', schema: { type: 'string', pattern: `^${pattern}$` } }, 1)).toBe(
      JSON.stringify(pattern),
    );
  });

  it('count the characters of long texts', async () => {
    for (const [minLength, maxLength] of [
      [200, 300],
      [300, 300],
    ] as const) {
      const grammar: Grammar = { kind: 'json-schema', schema: { type: 'string', minLength, maxLength } };
      const constraint = await grammars.createConstraint(grammar, vocabulary);
      const may = async (token: number) =>
        Boolean(((await constraint.allowed())![token >> 5]! >> (token & 31)) & 1);
      constraint.accept(0x22);
      for (let count = 0; count <= maxLength; count++) {
        expect([await may(0x22), await may(0x61), await may(0x5c), await may(0x0a)], `${count}`).toEqual([
          count >= minLength,
          count < maxLength,
          count < maxLength,
          false,
        ]);
        // "ab" is a token.
        expect(await may(266)).toBe(count < maxLength - 1);
        if (count === maxLength) break;
        if (count % 7 === 0) constraint.accept(0x5c);
        constraint.accept(count % 7 === 0 ? 0x6e : 0x61);
      }
      constraint.dispose();
    }
  });

  it('are made beside others where few are kept, and fail alone', async () => {
    const few = createGrammars({ kept: 1 });
    const text = (value: string): Grammar => ({ kind: 'json-schema', schema: { const: value } });
    const tools = [{}, { type: 'object', not: {} }].map((parameters, i) => ({ name: `f${i}`, parameters }));
    // What is wrong with the second tool shows when another grammar has taken the place.
    const bad: Grammar = { kind: 'tool-calls', tools, begin: '<', end: '>', single: true };
    const made = await Promise.allSettled(
      [text('a'), bad, text('b'), text('c')].map((grammar) => few.createConstraint(grammar, vocabulary)),
    );
    expect(made.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    for (const one of made) {
      if (one.status === 'rejected') continue;
      expect(await one.value.allowed()).not.toBeNull();
      one.value.dispose();
    }
  });

  it('say when a vocabulary cannot write what is asked for, and refuse bad schemas', async () => {
    const poor = {
      ...vocabulary,
      bytesOf: (token: number) => (token === 0x7b ? null : vocabulary.bytesOf(token)),
    };
    const words = { ...poor, bytesOf: (token: number) => (token > EOS ? null : poor.bytesOf(token)) };
    const constraint = await grammars.createConstraint({ kind: 'json-object' }, words);
    await expect(constraint.allowed()).rejects.toMatchObject({ code: 'GRAMMAR_STUCK' });
    constraint.dispose();
    let deep: Record<string, unknown> = {};
    for (let i = 0; i < 100_000; i++) deep = { items: deep };
    await expect(
      grammars.createConstraint({ kind: 'json-schema', schema: deep }, vocabulary),
    ).rejects.toMatchObject({ code: 'GRAMMAR_INVALID', where: '#' });
    const schema = { type: 'string', minLength: -1 };
    await expect(
      grammars.createConstraint({ kind: 'json-schema', schema }, vocabulary),
    ).rejects.toMatchObject({
      code: 'GRAMMAR_INVALID',
      where: '#/minLength',
    });
  });

  it('end texts of models without end-of-text tokens', async () => {
    const endless = { ...vocabulary, eos: [] };
    const constraint = await grammars.createConstraint(
      { kind: 'json-schema', schema: { const: 'a' } },
      endless,
    );
    for (const byte of utf8.encode('"a"')) {
      expect(await constraint.allowed()).not.toBeNull();
      constraint.accept(byte);
    }
    expect(await constraint.allowed()).toBeNull();
    expect(() => constraint.accept(65)).toThrow(/does not allow/);
    constraint.dispose();
  });
});

describe('chat completions with grammars', () => {
  const messages = [{ role: 'user', content: 'Hi' }] as const;
  const schema = {
    type: 'object',
    properties: { kind: { enum: ['cat', 'dog'] }, age: { type: 'integer', minimum: 0, maximum: 30 } },
    required: ['kind', 'age'],
  };
  const response_format = {
    type: 'json_schema',
    json_schema: { name: 'pet', schema, strict: true },
  } as const;
  const makeModel = () =>
    createModel(makeTinyModel({ seed: 3, architecture: { contextLength: 1024 } }), createReferenceBackend());

  it('answer in JSON that fits, greedily and not, whole and streamed, and stop by themselves', async () => {
    const model = await makeModel();
    const chat = createChatCompletions(model, { grammars });
    const isValid = ajv.compile(schema);
    for (const temperature of [0, 1]) {
      const request = { messages, response_format, temperature, seed: 5, logprobs: true, top_logprobs: 2 };
      const { choices } = await chat.completions.create(request);
      const { content } = choices[0]!.message;
      expect(isValid(JSON.parse(content!)), content!).toBe(true);
      expect(choices[0]!.finish_reason).toBe('stop');
      expect(choices[0]!.logprobs!.content.map(({ token }) => token).join('')).toBe(content);
      let streamed = '';
      for await (const chunk of await chat.completions.create({ ...request, stream: true }))
        streamed += chunk.choices[0]!.delta.content ?? '';
      expect(streamed).toBe(content);
    }
    const cut = await chat.completions.create({ messages, response_format, max_tokens: 4 });
    expect(cut.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: '{"ki' } });
    const bad = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'nothing' } } } as const;
    await expect(chat.completions.create({ messages, response_format: bad })).rejects.toMatchObject({
      code: 'GRAMMAR_INVALID',
    });
    await expect(
      createChatCompletions(model).completions.create({ messages, response_format }),
    ).rejects.toMatchObject({
      code: 'CHAT_REQUEST',
      where: 'response_format',
    });
    await model.dispose();
  });

  it('call the tool that was named', async () => {
    const model = await makeModel();
    const chat = createChatCompletions(model, { grammars });
    const tools = ['pet', 'other'].map((name) => ({
      type: 'function' as const,
      function: { name, parameters: schema },
    }));
    const tool_choice = { type: 'function', function: { name: 'pet' } } as const;
    const request = { messages, tools, tool_choice, seed: 2 };
    const { choices } = await chat.completions.create(request);
    expect(choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } });
    const [call, ...others] = choices[0]!.message.tool_calls!;
    expect(others).toEqual([]);
    expect(call).toMatchObject({
      type: 'function',
      id: expect.stringMatching(/^call_/),
      function: { name: 'pet' },
    });
    expect(ajv.compile(schema)(JSON.parse(call!.function.arguments))).toBe(true);
    const deltas = [];
    for await (const chunk of await chat.completions.create({ ...request, stream: true }))
      deltas.push(chunk.choices[0]!);
    expect(deltas.flatMap(({ delta }) => delta.tool_calls ?? [])).toEqual([
      { ...call, index: 0, id: expect.stringMatching(/^call_/) },
    ]);
    expect(deltas.at(-1)!.finish_reason).toBe('tool_calls');
    const any = await chat.completions.create({
      messages,
      tools,
      tool_choice: 'required',
      parallel_tool_calls: false,
    });
    expect(any.choices[0]!.message.tool_calls).toHaveLength(1);
    await model.dispose();
  });
});
