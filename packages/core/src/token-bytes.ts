// The bytes that single tokens write, whatever the kind of tokenizer: characters may be spread over several tokens, so a token's text
// alone would not do.

/** Bytes of a token of the vocabulary, given as the vocabulary spells it. */
export type TokenBytes = (token: string) => Uint8Array;

/**
 * Reads from a tokenizer's decoder how its vocabulary spells bytes: as 256 printable characters (byte-level BPE), or as texts with
 * U+2581 or another character for a space and `<0xAB>` for bytes of characters that it has no token for (SentencePiece).
 * @param decoder `decoder` of tokenizer.json
 */
export function readTokenBytes(decoder: unknown): TokenBytes {
  const steps = listSteps(decoder);
  const utf8 = new TextEncoder();
  if (steps.some(({ type }) => type === 'ByteLevel')) {
    const bytes = byteCharacters();
    return (token) => {
      const known = Array.from(token, (character) => bytes.get(character));
      // A token that was added to the vocabulary is spelled as it is.
      return known.includes(undefined) ? utf8.encode(token) : Uint8Array.from(known as number[]);
    };
  }
  const fallsBack = steps.some(({ type }) => type === 'ByteFallback');
  const spaces = steps.flatMap((step) => (step.space === null ? [] : [step.space]));
  return (token) => {
    const byte = fallsBack ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token) : null;
    if (byte) return Uint8Array.of(Number.parseInt(byte[1]!, 16));
    return utf8.encode(spaces.reduce((text, space) => text.replaceAll(space, ' '), token));
  };
}

interface Step {
  readonly type: unknown;
  /** What stands for a space before this step. */
  readonly space: string | null;
}

function listSteps(decoder: unknown): Step[] {
  if (typeof decoder !== 'object' || decoder === null) return [];
  const { type, decoders, replacement, pattern, content } = decoder as Readonly<Record<string, unknown>>;
  if (type === 'Sequence') return Array.isArray(decoders) ? decoders.flatMap(listSteps) : [];
  const replaced = (pattern as { readonly String?: unknown } | null | undefined)?.String;
  const space =
    type === 'Metaspace'
      ? (replacement ?? '\u2581')
      : type === 'Replace' && content === ' '
        ? replaced
        : null;
  return [{ type, space: typeof space === 'string' ? space : null }];
}

/** The characters that stand for bytes in byte-level vocabularies: printable ones for themselves, the others from U+0100 on. */
function byteCharacters(): ReadonlyMap<string, number> {
  const bytes = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    bytes.set(String.fromCodePoint(isPrintable ? byte : next++), byte);
  }
  return bytes;
}
