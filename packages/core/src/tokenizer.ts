// A model's tokenizer: the library that reads tokenizer.json, with the rules of this project about special tokens,
// streaming and chat templates around it.
import { DuobitError, type ModelSource } from '@duobit/format';
import { Tokenizer as TokenizerLibrary } from '@huggingface/tokenizers';
import {
  type ChatMessage,
  type ChatTemplateOptions,
  compileChatTemplate,
  type RenderChat,
} from './chat-template.ts';
import { spellOutSplits } from './pre-tokenizer.ts';
import { createStreamDecoder, type StreamDecoder } from './stream-decoder.ts';
import { readTokenBytes, type TokenBytes } from './token-bytes.ts';

/** Options of `Tokenizer.decode`. */
export interface DecodeOptions {
  /** Keep the text of special tokens such as `<|im_end|>`. Default false. */
  readonly special?: boolean | undefined;
}

/** Options of `Tokenizer.encode`. */
export interface EncodeOptions {
  /** Begin with BOS. Default: what the model's special tokens say. A text that begins with BOS gets no second one. */
  readonly bos?: boolean | undefined;
}

/** Texts to token ids and back, by the model's own `tokenizer.json`. */
export interface Tokenizer {
  /** Number of ids that have a text; the model's vocabulary may be padded beyond it. */
  readonly vocabularySize: number;
  /** Most characters (UTF-16) that a token stands for. */
  readonly longestToken: number;
  readonly hasChatTemplate: boolean;
  /** Token ids of a text. Special tokens written out in the text become their ids; none is added but BOS. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Text of token ids, spaces as they are (no clean-up). Ids without a text have none. */
  decode(tokens: readonly number[], options?: DecodeOptions): string;
  /** UTF-8 that a token writes, of a special token its name; some have a part of a character only. Ids without a text have none. */
  tokenBytes(token: number): Uint8Array;
  /** Whether a token is special, so that it has no text by default, or an id without a text. */
  isSilent(token: number): boolean;
  /**
   * Decodes tokens as they come.
   * @param before tokens that the text goes on after: some tokenizers begin a text without the space that a word in it has
   */
  createStreamDecoder(options?: DecodeOptions, before?: readonly number[]): StreamDecoder;
  /**
   * The prompt for a conversation, BOS included when the template writes it.
   * @throws DuobitError `CHAT_TEMPLATE_MISSING`, `CHAT_TEMPLATE_INVALID`, `CHAT_TEMPLATE_FAILED`
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}

type TokenizerSource = Pick<ModelSource, 'name' | 'specialTokens' | 'readAsset'>;

export interface TokenizerOptions {
  /** Takes the place of the model's own. */
  readonly chatTemplate?: string | undefined;
}

/**
 * Reads the assets 'tokenizer', 'tokenizer-config' and 'chat-template' of a model.
 * @throws DuobitError `TOKENIZER_MISSING` without a tokenizer, `TOKENIZER_INVALID` when it cannot be used.
 */
export async function createTokenizer(
  source: TokenizerSource,
  { chatTemplate }: TokenizerOptions = {},
): Promise<Tokenizer> {
  const bytes = await source.readAsset('tokenizer');
  if (bytes === null) throw missingTokenizer(source.name);
  const definition = parseObject(bytes, source.name, 'tokenizer.json');
  const configBytes = await source.readAsset('tokenizer-config');
  const config = configBytes === null ? {} : parseObject(configBytes, source.name, 'tokenizer_config.json');
  const templateBytes = await source.readAsset('chat-template');
  const template =
    chatTemplate ?? (templateBytes === null ? templateOf(config) : new TextDecoder().decode(templateBytes));

  let library: TokenizerLibrary;
  try {
    const rules = { ...definition, pre_tokenizer: spellOutSplits(definition.pre_tokenizer) };
    library = new TokenizerLibrary(rules, config);
    library.encode('a', { add_special_tokens: false });
  } catch (cause) {
    throw invalid(
      `the tokenizer cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
      source.name,
      'tokenizer.json',
      cause,
    );
  }
  return new LibraryTokenizer(library, source, template, config, readTokenBytes(definition.decoder));
}

/** @internal shared with the model, which reports the same on first use. */
export function missingTokenizer(source: string): DuobitError {
  return new DuobitError('TOKENIZER_MISSING', 'the model carries no tokenizer, or was loaded without it', {
    source,
    where: 'tokenizer',
    remedy: 'Pass token ids instead of text, or use a model that includes tokenizer.json',
  });
}

class LibraryTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly longestToken: number;
  readonly hasChatTemplate: boolean;
  readonly #library: TokenizerLibrary;
  readonly #source: TokenizerSource;
  readonly #special: ReadonlySet<number>;
  readonly #template: string | null;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #bytesOf: TokenBytes;
  #render: RenderChat | null = null;

  constructor(
    library: TokenizerLibrary,
    source: TokenizerSource,
    template: string | null,
    config: Readonly<Record<string, unknown>>,
    bytesOf: TokenBytes,
  ) {
    this.#library = library;
    this.#bytesOf = bytesOf;
    this.#source = source;
    this.#template = template;
    this.#config = config;
    const vocabulary = library.get_vocab();
    this.vocabularySize = vocabulary.size;
    // Where a token's name is not its text, it is longer: a character for each byte, or <0x0A> for one.
    this.longestToken = [...vocabulary.keys()].reduce((most, { length }) => Math.max(most, length), 1);
    this.hasChatTemplate = template !== null;
    const special = new Set<number>();
    for (const [id, token] of library.get_added_tokens_decoder()) if (token.special) special.add(id);
    this.#special = special;
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { bos, addBos } = this.#source.specialTokens;
    // The library would add what the post-processor says; only the model's own special tokens decide here.
    const ids = this.#library.encode(text, { add_special_tokens: false }).ids;
    if (!(options.bos ?? addBos) || bos === null || ids[0] === bos) return ids;
    return [bos, ...ids];
  }

  decode(tokens: readonly number[], options: DecodeOptions = {}): string {
    const known = tokens.filter((token) => !this.isSilent(token, options));
    if (known.length === 0) return '';
    return this.#library.decode(known, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  tokenBytes(token: number): Uint8Array {
    return this.#bytesOf(this.#library.id_to_token(token) ?? '');
  }

  createStreamDecoder(options: DecodeOptions = {}, before: readonly number[] = []): StreamDecoder {
    return createStreamDecoder(
      (tokens) => this.decode(tokens, options),
      (token) => this.isSilent(token, options),
      before,
    );
  }

  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    if (this.#template === null)
      throw new DuobitError('CHAT_TEMPLATE_MISSING', 'the model has no chat template', {
        source: this.#source.name,
        where: 'chat template',
        remedy: 'Prompt it with plain text, or use an instruction-tuned model',
      });
    this.#render ??= compileChatTemplate(this.#template, this.#templateTokens(), this.#source.name);
    return this.#render(messages, options);
  }

  isSilent(token: number, options: DecodeOptions = {}): boolean {
    return (!options.special && this.#special.has(token)) || this.#library.id_to_token(token) === undefined;
  }

  /** Special tokens by their names in the configuration; BOS and EOS also when only their ids are known. */
  #templateTokens(): Record<string, string> {
    const { bos, eos } = this.#source.specialTokens;
    const tokens: Record<string, string> = {
      bos_token: (bos !== null && this.#library.id_to_token(bos)) || '',
      eos_token: (eos[0] !== undefined && this.#library.id_to_token(eos[0])) || '',
    };
    for (const [name, value] of Object.entries(this.#config)) {
      const text = typeof value === 'string' ? value : isRecord(value) ? value.content : undefined;
      if (name.endsWith('_token') && typeof text === 'string') tokens[name] = text;
    }
    return tokens;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `chat_template` is a text, or several named ones of which 'default' is meant for conversation. */
function templateOf(config: Readonly<Record<string, unknown>>): string | null {
  const { chat_template: template } = config;
  if (typeof template === 'string') return template;
  if (!Array.isArray(template)) return null;
  const named = template.filter(isRecord);
  const chosen = named.find((entry) => entry.name === 'default') ?? named[0];
  return typeof chosen?.template === 'string' ? chosen.template : null;
}

function parseObject(bytes: Uint8Array, source: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid(`${where} (${bytes.length} bytes) is not JSON text`, source, where, cause);
  }
  if (!isRecord(value)) throw invalid(`${where} is not a JSON object`, source, where, undefined);
  return value;
}

function invalid(message: string, source: string, where: string, cause: unknown): DuobitError {
  return new DuobitError('TOKENIZER_INVALID', message, {
    source,
    where,
    remedy: "Take the model's tokenizer from its publisher again",
    cause,
  });
}
