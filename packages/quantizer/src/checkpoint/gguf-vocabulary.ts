// tokenizer.ggml.* of a GGUF file, typed and checked: what both kinds of tokenizer are rebuilt from.
import { DuobitError, type SpecialTokens } from '@duobit/format';
import { Fields } from './fields.ts';
import type { GgufValue } from './gguf-header.ts';

/** tokenizer.ggml.token_type */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface GgufVocabulary {
  readonly model: 'gpt2' | 'llama';
  /** tokenizer.ggml.pre; 'default' when absent. */
  readonly pre: string;
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  /** Null where the file has none. */
  readonly scores: readonly number[] | null;
  readonly merges: readonly string[] | null;
  readonly addSpacePrefix: boolean;
  readonly unknown: number | null;
  readonly addEos: boolean;
  readonly special: SpecialTokens;
  readonly source: string;
}

const PREFIX = 'tokenizer.ggml.';

/** Texts of control tokens that end a turn; files do not always list them among the ids that end generation. */
const END_OF_TURN = new Set(['<|im_end|>', '<|eot_id|>', '<|eom_id|>']);

export function invalidTokenizer(message: string, source: string, where: string): DuobitError {
  return new DuobitError('GGUF_TOKENIZER_INVALID', message, {
    source,
    where,
    remedy: 'Convert the checkpoint again, or use its Hugging Face folder',
  });
}

export function unsupportedTokenizer(message: string, source: string, where: string): DuobitError {
  return new DuobitError('GGUF_TOKENIZER_UNSUPPORTED', message, {
    source,
    where,
    remedy: 'Use the Hugging Face folder of the model, which has its tokenizer.json',
  });
}

/**
 * @returns null when the file carries no tokenizer.
 * @throws DuobitError `GGUF_TOKENIZER_UNSUPPORTED`, `GGUF_TOKENIZER_INVALID`, `CHECKPOINT_CONFIG_INVALID`
 */
export function readGgufVocabulary(
  metadata: ReadonlyMap<string, GgufValue>,
  source: string,
): GgufVocabulary | null {
  const fields = new Fields(metadata, source);
  const model = fields.string(`${PREFIX}model`);
  if (model === undefined || model === 'no_vocab' || model === 'none') return null;
  if (model !== 'gpt2' && model !== 'llama') {
    throw unsupportedTokenizer(
      `tokenizer model ${JSON.stringify(model)} is not supported; gpt2 and llama are`,
      source,
      `${PREFIX}model`,
    );
  }
  const isText = (item: unknown): item is string => typeof item === 'string';
  const isNumber = (item: unknown): item is number => typeof item === 'number';
  const readList = <T>(key: string, check: (item: unknown) => item is T, length?: number): T[] | null => {
    const value = fields.get(PREFIX + key);
    if (value === undefined) return null;
    if (!Array.isArray(value) || !value.every(check)) {
      throw invalidTokenizer('the list has items of a wrong type', source, PREFIX + key);
    }
    if (length !== undefined && value.length !== length) {
      throw invalidTokenizer(`${value.length} items for ${length} tokens`, source, PREFIX + key);
    }
    return value;
  };
  const tokens = readList('tokens', isText);
  if (tokens === null || tokens.length === 0) {
    throw invalidTokenizer('the file names a tokenizer but has no tokens', source, `${PREFIX}tokens`);
  }
  const seen = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const first = seen.get(token);
    if (first !== undefined) {
      const message = `tokens ${first} and ${id} are both ${JSON.stringify(token)}`;
      throw invalidTokenizer(message, source, `${PREFIX}tokens`);
    }
    seen.set(token, id);
  }
  const types = readList('token_type', isNumber, tokens.length) ?? tokens.map(() => TOKEN_TYPE.normal);
  const readId = (key: string): number | null => {
    const name = `${PREFIX}${key}_token_id`;
    // Converters write 0xffffffff for "none".
    if (!fields.has(name) || fields.get(name) === 0xffffffff) return null;
    return fields.integer(name, { min: 0, max: tokens.length - 1 });
  };
  const bos = readId('bos');
  const ends = [readId('eos'), readId('eot'), readId('eom')].filter((id) => id !== null);
  for (const [id, token] of tokens.entries()) {
    if (types[id] === TOKEN_TYPE.control && END_OF_TURN.has(token)) ends.push(id);
  }
  const pre = fields.string(`${PREFIX}pre`) ?? 'default';
  // SentencePiece models and Llama 3 begin with BOS where the file says nothing, as llama.cpp has it.
  const addBosByDefault = model === 'llama' || LLAMA3_NAMES.has(pre);
  return {
    model,
    pre,
    tokens,
    types,
    scores: readList('scores', isNumber, tokens.length),
    merges: readList('merges', isText),
    addSpacePrefix: fields.boolean(`${PREFIX}add_space_prefix`, true),
    unknown: readId('unknown'),
    addEos: fields.boolean(`${PREFIX}add_eos_token`, false),
    special: {
      bos,
      eos: [...new Set(ends)],
      pad: readId('padding'),
      addBos: bos !== null && fields.boolean(`${PREFIX}add_bos_token`, addBosByDefault),
    },
    source,
  };
}

export const LLAMA3_NAMES: ReadonlySet<string> = new Set(['llama-bpe', 'llama3', 'llama-v3']);
