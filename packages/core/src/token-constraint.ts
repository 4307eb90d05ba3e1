// What holds a text to a form while it is written: says before each token which ones may come.

/** The state of one text; not to be used for another. */
export interface TokenConstraint {
  /**
   * Which tokens may come next: token t where bit t % 32 of word t / 32 is set, the end-of-text tokens where the text may end here. Null
   * where it is complete, and nothing else may come.
   * @throws DuobitError `GRAMMAR_STUCK` when no token of the vocabulary can go on
   */
  allowed(): Promise<Int32Array | null>;
  /** Takes the token that was chosen, one of those allowed. */
  accept(token: number): void;
  /** Frees what it holds. */
  dispose(): void;
}

/** What a text can be held to. */
export type Grammar =
  /** JSON that fits a schema. */
  | {
      readonly kind: 'json-schema';
      readonly schema: Readonly<Record<string, unknown>>;
    }
  /** Any JSON object. */
  | { readonly kind: 'json-object' }
  /**
   * Calls of tools, one or more, each between `begin` and `end`: JSON objects with `name` and `arguments`.
   */
  | {
      readonly kind: 'tool-calls';
      readonly tools: readonly {
        readonly name: string;
        readonly parameters: Readonly<Record<string, unknown>>;
      }[];
      readonly begin: string;
      readonly end: string;
      /** At most one call. */
      readonly single: boolean;
    };

/** All that there are. */
export const GRAMMAR_KINDS: readonly Grammar['kind'][] = ['json-object', 'json-schema', 'tool-calls'];

/** What a grammar needs to know of a model's tokens; one object for all texts of a model. */
export interface GrammarVocabulary {
  /** Logits of the model. */
  readonly size: number;
  /** End-of-text tokens. */
  readonly eos: readonly number[];
  /** The bytes that a token writes; null where it writes none: special tokens, ids without a text. */
  bytesOf(token: number): Uint8Array | null;
}

/** Makes constraints of grammars: `createGrammars` of `@duobit/grammar`. */
export interface Grammars {
  /**
   * Compiles the grammar, or finds it compiled.
   * @throws DuobitError `GRAMMAR_INVALID` for a schema that is malformed or asks for what is not supported
   */
  createConstraint(grammar: Grammar, vocabulary: GrammarVocabulary): Promise<TokenConstraint>;
}
