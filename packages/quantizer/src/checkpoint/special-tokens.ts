// Which tokens begin and end a text, from the several files of a Hugging Face folder that have a say in it.
import { DuobitError, type SpecialTokens } from '@duobit/format';
import { isObject, type JsonObject } from './strict-json.ts';

export interface TokenFiles {
  readonly config: JsonObject;
  readonly generationConfig: JsonObject | null;
  readonly tokenizer: JsonObject | null;
  readonly tokenizerConfig: JsonObject | null;
}

/**
 * Ids come from generation_config.json, else config.json, else the named tokens of tokenizer_config.json. BOS is
 * added when tokenizer_config says `add_bos_token: true`, or, where it says nothing, when tokenizer.json's
 * post-processor puts it first.
 * @throws DuobitError `CHECKPOINT_CONFIG_INVALID` when an id lies outside the vocabulary.
 */
export function readSpecialTokens(files: TokenFiles, vocabularySize: number, source: string): SpecialTokens {
  const isId = (value: unknown): value is number =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < vocabularySize;

  const readIds = (name: 'bos' | 'eos' | 'pad'): number[] => {
    const field = `${name}_token_id`;
    const stated = files.generationConfig?.[field] ?? files.config[field];
    if (stated === undefined || stated === null) {
      const named = findTokenId(files, `${name}_token`);
      return isId(named) ? [named] : [];
    }
    const ids: unknown[] = Array.isArray(stated) ? stated : [stated];
    // Old configurations write -1 for "no padding token".
    if (name === 'pad' && ids.length === 1 && ids[0] === -1) return [];
    return ids.map((id) => {
      if (isId(id)) return id;
      throw new DuobitError(
        'CHECKPOINT_CONFIG_INVALID',
        `${field} must be a token id below ${vocabularySize}, or a list of them; it has ${JSON.stringify(id)}`,
        { source, where: field, remedy: 'Correct the field, or get the checkpoint again' },
      );
    });
  };

  const bos = readIds('bos')[0] ?? null;
  const stated = files.tokenizerConfig?.add_bos_token;
  const addBos =
    bos !== null && (typeof stated === 'boolean' ? stated : beginsWith(files.tokenizer?.post_processor, bos));
  return { bos, eos: [...new Set(readIds('eos'))], pad: readIds('pad')[0] ?? null, addBos };
}

/** The id of a token that tokenizer_config.json names by its text. */
function findTokenId({ tokenizer, tokenizerConfig }: TokenFiles, name: string): unknown {
  const value = tokenizerConfig?.[name];
  const text = isObject(value) ? value.content : value;
  if (typeof text !== 'string' || tokenizer === null) return undefined;
  if (Array.isArray(tokenizer.added_tokens)) {
    const added: unknown = tokenizer.added_tokens.find((token) => isObject(token) && token.content === text);
    if (isObject(added)) return added.id;
  }
  const model = tokenizer.model;
  const vocabulary = isObject(model) ? model.vocab : undefined;
  return isObject(vocabulary) && Object.hasOwn(vocabulary, text) ? vocabulary[text] : undefined;
}

/** Whether a tokenizer.json post-processor puts the token `id` before a single text. */
function beginsWith(processor: unknown, id: number): boolean {
  if (!isObject(processor)) return false;
  if (processor.type === 'Sequence' && Array.isArray(processor.processors)) {
    return processor.processors.some((part) => beginsWith(part, id));
  }
  if (processor.type !== 'TemplateProcessing' || !Array.isArray(processor.single)) return false;
  const first: unknown = processor.single[0];
  const piece = isObject(first) ? first.SpecialToken : undefined;
  const name = isObject(piece) ? piece.id : undefined;
  const tokens = processor.special_tokens;
  if (typeof name !== 'string' || !isObject(tokens) || !Object.hasOwn(tokens, name)) return false;
  const token = tokens[name];
  return isObject(token) && Array.isArray(token.ids) && token.ids[0] === id;
}
