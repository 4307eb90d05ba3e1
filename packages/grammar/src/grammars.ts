// Constraints of grammars by XGrammar: compiled once for a model and a grammar, kept, and matched token by token.
import type { Grammar, Grammars, GrammarVocabulary, TokenConstraint } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type { CompiledGrammar, GrammarCompiler, GrammarMatcher } from '@mlc-ai/web-xgrammar';
import { callLibrary, loadLibrary } from './library.ts';
import { writeMarks } from './marks.ts';
import { Budget, reduceSchema } from './schema.ts';

/** Options of `createGrammars`. */
export interface GrammarOptions {
  /** Compiled grammars that are kept for each model, those used last. Default 32. */
  readonly kept?: number | undefined;
}

/**
 * What holds a model's output to grammars; one does for all models of a program. The library behind it, a megabyte, is loaded with the first
 * grammar. JSON is written on one line, an object's properties in the order of its schema and no others.
 */
export function createGrammars({ kept = 32 }: GrammarOptions = {}): Grammars {
  const models = new WeakMap<GrammarVocabulary, Promise<GrammarCache>>();
  return {
    async createConstraint(grammar, vocabulary) {
      let opening = models.get(vocabulary);
      if (!opening) {
        opening = GrammarCache.open(vocabulary, kept);
        models.set(vocabulary, opening);
        // What failed once may be tried again.
        opening.catch(() => models.delete(vocabulary));
      }
      const compiled = await (await opening).find(grammar);
      const { GrammarMatcher: Matcher } = await loadLibrary();
      // Without end-of-text tokens a text ends as soon as it may.
      const endsAtOnce = vocabulary.eos.length === 0;
      const matcher = await callLibrary(() => Matcher.createGrammarMatcher(compiled, undefined, endsAtOnce));
      return new MatcherConstraint(matcher, vocabulary.eos);
    },
  };
}

/** Compiled grammars of one model. */
class GrammarCache {
  readonly #compiler: GrammarCompiler;
  readonly #kept: number;
  /** Those used last are at the end. */
  readonly #compiled = new Map<string, Promise<CompiledGrammar>>();

  private constructor(compiler: GrammarCompiler, kept: number) {
    this.#compiler = compiler;
    this.#kept = kept;
  }

  static async open({ size, eos, bytesOf }: GrammarVocabulary, kept: number): Promise<GrammarCache> {
    const { GrammarCompiler: Compiler, TokenizerInfo } = await loadLibrary();
    // Bytes as they are, which its declarations do not tell; tokens that write nothing never come.
    const tokens = Array.from({ length: size }, (_, token) => bytesOf(token) ?? new Uint8Array(0));
    const compiler = await callLibrary(async () =>
      Compiler.createGrammarCompiler(
        await TokenizerInfo.createTokenizerInfo(tokens as unknown as string[], 'raw', false, size, [...eos]),
        false,
      ),
    );
    return new GrammarCache(compiler, kept);
  }

  find(grammar: Grammar): Promise<CompiledGrammar> {
    const key = writeKey(grammar);
    const compiled = this.#compiled.get(key) ?? this.#compile(grammar);
    this.#compiled.delete(key);
    this.#compiled.set(key, compiled);
    compiled.catch(() => this.#compiled.delete(key));
    if (this.#compiled.size > this.#kept) this.#drop();
    return compiled;
  }

  #drop(): void {
    const [oldest] = this.#compiled;
    this.#compiled.delete(oldest![0]);
    // Matchers hold what they need of it; who waits for it makes one before the next turn of the event loop, or hears why there is none.
    oldest![1].then(
      (compiled) => setTimeout(() => compiled.dispose()),
      () => {},
    );
  }

  async #compile(grammar: Grammar): Promise<CompiledGrammar> {
    if (grammar.kind !== 'tool-calls') {
      const schema = grammar.kind === 'json-object' ? { type: 'object' } : grammar.schema;
      const written = await writeGrammar(reduceSchema(schema));
      return callLibrary(() => this.#compiler.compileGrammar(written));
    }
    const { begin, end, single } = grammar;
    const tags = [];
    const budget = new Budget();
    for (const { name, parameters } of grammar.tools)
      tags.push({
        type: 'tag' as const,
        begin,
        content: {
          type: 'grammar' as const,
          grammar: await writeGrammar(describeCall(name, parameters, budget)),
        },
        end,
      });
    const format = { type: 'tags_with_separator' as const, tags, separator: '\n' };
    return callLibrary(() =>
      this.#compiler.compileStructuralTag({
        format: { ...format, at_least_one: true, stop_after_first: single },
      }),
    );
  }
}

/** @throws DuobitError `GRAMMAR_INVALID` for so many levels that they cannot be written, long before any schema is looked at */
function writeKey(grammar: Grammar): string {
  try {
    return JSON.stringify(grammar);
  } catch (cause) {
    throw new DuobitError('GRAMMAR_INVALID', 'the schema cannot be used: it cannot be written as JSON', {
      where: '#',
      remedy: 'Simplify it',
      cause,
    });
  }
}

function describeCall(name: string, parameters: Readonly<Record<string, unknown>>, budget: Budget) {
  const { $defs, ...values } = reduceSchema({ ...parameters, type: 'object' }, budget);
  return {
    type: 'object',
    properties: { name: reduceSchema({ const: name }, budget), arguments: values },
    required: ['name', 'arguments'],
    additionalProperties: false,
    ...($defs !== undefined && { $defs }),
  };
}

/** A reduced schema as a grammar: on one line, with a blank behind commas and colons, so that no text goes on with nothing but blanks. */
async function writeGrammar(reduced: Readonly<Record<string, unknown>>): Promise<string> {
  const schema = JSON.stringify(reduced);
  const library = await loadLibrary();
  return callLibrary(async () => {
    const grammar = await library.Grammar.fromJSONSchema(schema, false, -1, undefined, false);
    const text = writeMarks(widenEscapes(grammar.toString()));
    grammar.dispose();
    return text;
  });
}

/** The library writes escapes of two digits, and reads them with as many as follow. */
function widenEscapes(grammar: string): string {
  return grammar.replaceAll(/\\(?:x([0-9a-f]{2})|.)/gs, (written, code?: string) =>
    code === undefined ? written : `\\u00${code}`,
  );
}

class MatcherConstraint implements TokenConstraint {
  readonly #matcher: GrammarMatcher;
  readonly #eos: readonly number[];

  constructor(matcher: GrammarMatcher, eos: readonly number[]) {
    this.#matcher = matcher;
    this.#eos = eos;
  }

  async allowed(): Promise<Int32Array | null> {
    if (this.#matcher.isTerminated()) return null;
    const mask = await callLibrary(() => this.#matcher.getNextTokenBitmask());
    const others = mask.slice();
    for (const token of this.#eos) others[token >> 5]! &= ~(1 << (token & 31));
    if (others.some((word) => word !== 0)) return mask;
    if (mask.some((word) => word !== 0)) return null;
    throw new DuobitError('GRAMMAR_STUCK', 'no token of the vocabulary can go on with what was asked for', {
      where: 'grammar',
      remedy: 'Ask for something that this model has the characters for',
    });
  }

  accept(token: number): void {
    if (!this.#matcher.acceptToken(token))
      throw new DuobitError('INTERNAL', `token ${token} was chosen, and the grammar does not allow it`, {
        where: 'grammar',
      });
  }

  dispose(): void {
    this.#matcher.dispose();
  }
}
