// Text from tokens one at a time. A character may be spread over several tokens (byte-level BPE, byte fallback), and a
// token's text may depend on the one before it (leading spaces); so a short window of tokens is decoded again each time
// and only what can no longer change is given out.

/** Turns a growing token sequence into text; what it gives out, joined, equals decoding the whole sequence. */
export interface StreamDecoder {
  /** Text that became final with this token; '' while a character is incomplete. */
  push(token: number): string;
  /** What is left, with U+FFFD for a character that stayed incomplete. To be called once, at the end. */
  flush(): string;
}

const REPLACEMENT = '\uFFFD';
/** Tokens held at most while nothing completes (a broken model can write invalid UTF-8 for ever) … */
const LONGEST_WINDOW = 32;
/** … and what is then kept, as of what came before: more than the three bytes an incomplete character can have. */
const KEPT_TAIL = 8;

/**
 * @param decode text of a token sequence; appending tokens may change only a trailing U+FFFD of it
 * @param skip tokens that have no text
 * @param before tokens that the text goes on after; theirs is not given out
 */
export function createStreamDecoder(
  decode: (tokens: readonly number[]) => string,
  skip: (token: number) => boolean,
  before: readonly number[] = [],
): StreamDecoder {
  let window = before.filter((token) => !skip(token)).slice(-KEPT_TAIL);
  /** Tokens at the start of the window whose text is out already; they are kept as context for the leading space. */
  let context = window.length;
  /** Characters of the window's text that are out. */
  let given = context === 0 ? 0 : decode(window).length;

  const give = (text: string, end: number): string => {
    const fresh = text.slice(given, end);
    given = Math.max(given, end);
    return fresh;
  };

  return {
    push(token) {
      if (skip(token)) return '';
      window.push(token);
      const text = decode(window);
      // An incomplete character decodes to exactly one U+FFFD at the end (WHATWG Encoding, UTF-8 decoder), so whatever
      // stands before it is final. A U+FFFD that the model really wrote goes out with the next token, or on flush.
      const complete = !text.endsWith(REPLACEMENT);
      const fresh = give(text, complete ? text.length : text.length - 1);
      if (complete) {
        window = window.slice(context);
        context = window.length;
        given = decode(window).length;
      } else if (window.length > LONGEST_WINDOW) {
        window = window.slice(-KEPT_TAIL);
        context = 0;
        given = decode(window).length - 1;
      }
      return fresh;
    },
    flush() {
      const text = decode(window);
      return give(text, text.length);
    },
  };
}
