// Rebuilds tokenizer.json and tokenizer_config.json from the vocabulary of a GGUF file. GGUF names the splitting rules
// by `tokenizer.ggml.pre`; unknown names are refused, because wrong rules give wrong tokens without any error.
import {
  type GgufVocabulary,
  invalidTokenizer,
  LLAMA3_NAMES,
  TOKEN_TYPE,
  unsupportedTokenizer,
} from './gguf-vocabulary.ts';
import { deriveMerges } from './spm-merges.ts';

export interface TokenizerFiles {
  /** tokenizer.json as text. */
  readonly tokenizer: string;
  /** tokenizer_config.json as text. */
  readonly tokenizerConfig: string;
}

/** @throws DuobitError `GGUF_TOKENIZER_UNSUPPORTED`, `GGUF_TOKENIZER_INVALID` */
export function buildTokenizerFiles(vocabulary: GgufVocabulary): TokenizerFiles {
  const definition =
    vocabulary.model === 'gpt2' ? defineByteLevel(vocabulary) : defineSentencePiece(vocabulary);
  const { tokens, types, special, unknown } = vocabulary;
  const added = tokens.flatMap((content, id) => {
    const type = types[id];
    // The unknown token is a special token of converted SentencePiece models; in a byte-level one nothing is unknown.
    const isSpecial = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
    if (!isSpecial && type !== TOKEN_TYPE.userDefined) return [];
    return [
      {
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: isSpecial,
      },
    ];
  });
  const { model, ...rest } = definition;
  const outer = JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    ...rest,
    post_processor: definePostProcessor(vocabulary),
  });
  const inner = JSON.stringify({ type: 'BPE', dropout: null, ...model.options });
  // Written by hand: an object with a token such as "__proto__" among its keys would lose it.
  const vocab = tokens.map((token, id) => `${JSON.stringify(token)}:${id}`).join(',');
  const named = (id: number | null): { content: string } | null =>
    id === null ? null : { content: tokens[id]! };
  return {
    tokenizer: `${outer.slice(0, -1)},"model":${inner.slice(0, -1)},"vocab":{${vocab}},"merges":${JSON.stringify(model.merges)}}}`,
    tokenizerConfig: JSON.stringify({
      tokenizer_class: 'PreTrainedTokenizerFast',
      add_bos_token: special.addBos,
      add_eos_token: vocabulary.addEos,
      bos_token: named(special.bos)?.content ?? null,
      eos_token: named(special.eos[0] ?? null)?.content ?? null,
      pad_token: named(special.pad)?.content ?? null,
      unk_token: named(unknown)?.content ?? null,
      clean_up_tokenization_spaces: false,
    }),
  };
}

interface Definition {
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly decoder: object;
  readonly model: { readonly options: object; readonly merges: readonly (readonly [string, string])[] };
}

function definePostProcessor({ special, addEos, tokens }: GgufVocabulary): object | null {
  const begin = special.addBos && special.bos !== null ? [special.bos] : [];
  const end = addEos && special.eos[0] !== undefined ? [special.eos[0]] : [];
  if (begin.length + end.length === 0) return null;
  const piece = (id: number, type: number): object => ({ SpecialToken: { id: tokens[id], type_id: type } });
  const wrap = (name: string, type: number): object[] => [
    ...begin.map((id) => piece(id, type)),
    { Sequence: { id: name, type_id: type } },
    ...end.map((id) => piece(id, type)),
  ];
  return {
    type: 'TemplateProcessing',
    single: wrap('A', 0),
    pair: [...wrap('A', 0), ...wrap('B', 1)],
    special_tokens: Object.fromEntries(
      [...begin, ...end].map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}

const WORDS_OF_LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const WORDS_OF_QWEN2 = WORDS_OF_LLAMA3.replace('\\p{N}{1,3}', '\\p{N}');

function splitByRegex(regex: string): object[] {
  return [
    { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ];
}

const BYTE_LEVEL = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
} as const;

interface SplittingRules {
  readonly normalizer: object | null;
  readonly steps: readonly object[];
  /** A word that is a token as a whole is not built from merges. */
  readonly ignoreMerges: boolean;
}

function findRules({ pre, source }: GgufVocabulary): SplittingRules {
  if (pre === 'gpt-2' || pre === 'default')
    return { normalizer: null, steps: [BYTE_LEVEL], ignoreMerges: false };
  if (pre === 'smollm') {
    const steps = [{ type: 'Digits', individual_digits: true }, BYTE_LEVEL];
    return { normalizer: null, steps, ignoreMerges: false };
  }
  if (LLAMA3_NAMES.has(pre))
    return { normalizer: null, steps: splitByRegex(WORDS_OF_LLAMA3), ignoreMerges: true };
  if (pre === 'qwen2') {
    return { normalizer: { type: 'NFC' }, steps: splitByRegex(WORDS_OF_QWEN2), ignoreMerges: false };
  }
  throw unsupportedTokenizer(
    `the splitting rules ${JSON.stringify(pre)} are not known; gpt-2, smollm, llama-bpe, qwen2 and default are`,
    source,
    'tokenizer.ggml.pre',
  );
}

/** Byte-level BPE: GPT-2 and what came after it. */
function defineByteLevel(vocabulary: GgufVocabulary): Definition {
  const { normalizer, steps, ignoreMerges } = findRules(vocabulary);
  if (vocabulary.merges === null) {
    throw invalidTokenizer('a gpt2 tokenizer has no merges', vocabulary.source, 'tokenizer.ggml.merges');
  }
  const known = new Set(vocabulary.tokens);
  const merges = vocabulary.merges.map((merge, rank): [string, string] => {
    // No byte-level token holds a space: the one in a merge is the separator.
    const [left, right, more] = merge.split(' ');
    if (
      left &&
      right &&
      more === undefined &&
      known.has(left) &&
      known.has(right) &&
      known.has(left + right)
    ) {
      return [left, right];
    }
    throw invalidTokenizer(
      `merge ${rank}, ${JSON.stringify(merge)}, does not join two tokens to a third`,
      vocabulary.source,
      'tokenizer.ggml.merges',
    );
  });
  return {
    normalizer,
    pre_tokenizer: steps.length === 1 ? steps[0]! : { type: 'Sequence', pretokenizers: steps },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      options: {
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: ignoreMerges,
      },
      merges,
    },
  };
}

const SPACE = '\u2581';

/** SentencePiece BPE with byte fallback, as transformers' conversion of Llama tokenizers writes it. */
function defineSentencePiece(vocabulary: GgufVocabulary): Definition {
  const { tokens, types, scores, source, addSpacePrefix, unknown } = vocabulary;
  if (scores === null)
    throw invalidTokenizer('a llama tokenizer has no scores', source, 'tokenizer.ggml.scores');
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  return {
    normalizer: addSpacePrefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: SPACE }, replace] }
      : replace,
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(addSpacePrefix ? [strip] : []),
      ],
    },
    model: {
      options: {
        unk_token: unknown === null ? null : tokens[unknown],
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
      },
      merges: deriveMerges(tokens, types, scores),
    },
  };
}
