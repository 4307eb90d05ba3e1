// tokenizer.json's rules of splitting a text, in a form that the library runs as their definition has it. Its own `ByteLevel` and
// `Digits` read \s and \d as JavaScript does: U+FEFF as a space, U+0085 as none, and no digit but 0 to 9. Its `Split` reads
// patterns as the tokenizers of Hugging Face do, and both can be written as that.

type Rule = Readonly<Record<string, unknown>>;

/** The words of GPT-2, which `ByteLevel` splits at where it says `use_regex`. */
const WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** `pre_tokenizer` of tokenizer.json, of any kind; what it has no business with it gives back as it is. */
export function spellOutSplits(rule: unknown): unknown {
  if (!isRule(rule)) return rule;
  switch (rule.type) {
    case 'Sequence':
      return Array.isArray(rule.pretokenizers)
        ? { ...rule, pretokenizers: rule.pretokenizers.map(spellOutSplits) }
        : rule;
    case 'ByteLevel':
      // A space in front of each piece, where it is asked for, comes before the splitting: no `Split` can do that.
      return rule.use_regex === false || rule.add_prefix_space !== false
        ? rule
        : { type: 'Sequence', pretokenizers: [split(WORDS), { ...rule, use_regex: false }] };
    case 'Digits':
      return split(rule.individual_digits === true ? '\\p{N}' : '\\p{N}+');
    default:
      return rule;
  }
}

function split(regex: string): Rule {
  return { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false };
}

function isRule(value: unknown): value is Rule {
  return typeof value === 'object' && value !== null;
}
