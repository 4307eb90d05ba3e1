// A byte-level tokenizer small enough to read: 256 bytes and four special tokens, no merges. Any text goes through it and
// comes back, and characters beyond ASCII take several tokens.
import type { SpecialTokens } from '@duobit/format';

export const TOY_VOCABULARY = 260;

export const TOY_TOKENS = { bos: 256, eos: 257, turn: 258, end: 259 } as const;

const SPECIAL = ['<|bos|>', '<|eos|>', '<|turn|>', '<|end|>'] as const;

export const TOY_SPECIAL_TOKENS: SpecialTokens = {
  bos: TOY_TOKENS.bos,
  eos: [TOY_TOKENS.eos, TOY_TOKENS.end],
  pad: null,
  addBos: true,
};

/** The printable stand-ins for bytes that byte-level BPE vocabularies use (Radford et al. 2019). */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

/** Contents of tokenizer.json. */
export function toyTokenizer(): Readonly<Record<string, unknown>> {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, i) => ({
      id: 256 + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(byteCharacters().map((character, byte) => [character, byte])),
      merges: [],
    },
  };
}

/** Contents of tokenizer_config.json, with a chat template that refuses roles it does not know. */
export function toyTokenizerConfig(): Readonly<Record<string, unknown>> {
  return {
    bos_token: SPECIAL[0],
    eos_token: { content: SPECIAL[1], special: true },
    chat_template:
      "{{ bos_token }}{% for message in messages %}{% if message['role'] not in ['system', 'user', 'assistant'] %}" +
      "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}" +
      "<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}" +
      '{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}',
  };
}
