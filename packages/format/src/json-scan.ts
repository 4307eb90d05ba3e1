// Reads JSON text (RFC 8259) without building anything from it: a tokenizer has a hundred thousand strings, of which
// validation wants one number. Checks the whole text, UTF-8 included, in one loop that compilers do well on.

/**
 * Zones are the caller's names for kinds of containers: it says which zone a container that opens is, and is asked
 * about nothing inside zone 0. The text itself is zone 1.
 */
export interface JsonVisitor {
  /** Whether names are wanted in objects of a zone; elsewhere `name` is empty. */
  readonly named: readonly boolean[];
  /** @returns the zone of a container that opens inside `zone` */
  open(zone: number, name: string, kind: 'object' | 'array'): number;
  number(zone: number, name: string, value: number): void;
  /** Ends a container with `count` elements or members. */
  close(zone: number, count: number): void;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const OPEN_ARRAY = 0x5b;
/** A closing bracket is two above its opening one. */
const CLOSING = 2;

/** Deeper text is refused, as many readers would fail on it. */
const MOST_DEPTH = 512;

/** What may come next. */
const VALUE = 0;
const VALUE_OR_END = 1;
const NAME = 2;
const NAME_OR_END = 3;
const COLON = 4;
const COMMA_OR_END = 5;

/** What a byte is, as most need no more than one look: white space, or what stands for itself in strings. */
const SPACE = 1;
const PLAIN = 2;
const DIGIT = 3;
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) return SPACE;
  if (byte >= 0x30 && byte <= 0x39) return DIGIT;
  return byte > 0x20 && byte < 0x80 && byte !== QUOTE && byte !== BACKSLASH ? PLAIN : 0;
});

const decoder = new TextDecoder();

/** @returns whether the bytes are one JSON value, a byte order mark before it allowed */
export function scanJson(bytes: Uint8Array, visitor: JsonVisitor): boolean {
  const openings = new Uint8Array(MOST_DEPTH + 1);
  const zones = new Uint8Array(MOST_DEPTH + 1);
  const counts = new Uint32Array(MOST_DEPTH + 1);
  zones[0] = 1;
  let depth = 0;
  let state = VALUE;
  let name = '';
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (KINDS[byte] === SPACE) {
      at += 1;
    } else if (byte === QUOTE) {
      const end = endOfString(bytes, at);
      if (end < 0 || state >= COLON) return false;
      if (state >= NAME) {
        // Names are decoded only where somebody looks at them.
        name = visitor.named[zones[depth]!]
          ? String(JSON.parse(decoder.decode(bytes.subarray(at, end))))
          : '';
        state = COLON;
      } else state = COMMA_OR_END;
      at = end;
    } else if (byte === 0x3a) {
      if (state !== COLON) return false;
      state = VALUE;
      at += 1;
    } else if (byte === 0x2c) {
      if (state !== COMMA_OR_END || depth === 0) return false;
      counts[depth]! += 1;
      state = openings[depth] === OPEN_OBJECT ? NAME : VALUE;
      at += 1;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      if (state > VALUE_OR_END || depth === MOST_DEPTH) return false;
      const zone = zones[depth]!;
      const kind = byte === OPEN_OBJECT ? 'object' : 'array';
      depth += 1;
      openings[depth] = byte;
      zones[depth] = zone === 0 ? 0 : visitor.open(zone, name, kind);
      counts[depth] = 0;
      state = byte === OPEN_OBJECT ? NAME_OR_END : VALUE_OR_END;
      at += 1;
    } else if (byte === OPEN_OBJECT + CLOSING || byte === OPEN_ARRAY + CLOSING) {
      if (depth === 0 || byte !== openings[depth]! + CLOSING) return false;
      if (state === COMMA_OR_END) counts[depth]! += 1;
      else if (state !== VALUE_OR_END && state !== NAME_OR_END) return false;
      if (zones[depth] !== 0) visitor.close(zones[depth]!, counts[depth]!);
      depth -= 1;
      state = COMMA_OR_END;
      at += 1;
    } else if (byte < 0x40) {
      if (state > VALUE_OR_END) return false;
      // Short plain integers at once, as nearly all ids are; anything else is looked at more closely.
      let end = at;
      let value = 0;
      while (end < bytes.length && KINDS[bytes[end]!] === DIGIT) value = 10 * value + bytes[end++]! - 0x30;
      const next = bytes[end];
      const plain = end > at && end < at + 10 && (byte !== 0x30 || end === at + 1);
      if (!plain || next === 0x2e || next === 0x65 || next === 0x45) {
        end = endOfNumber(bytes, at);
        if (end === 0) return false;
        if (zones[depth] !== 0) value = Number(decoder.decode(bytes.subarray(at, end)));
      }
      if (zones[depth] !== 0) visitor.number(zones[depth]!, name, value);
      state = COMMA_OR_END;
      at = end;
    } else {
      const end = state > VALUE_OR_END ? 0 : endOfWord(bytes, at);
      if (end === 0) return false;
      state = COMMA_OR_END;
      at = end;
    }
  }
  return depth === 0 && state === COMMA_OR_END;
}

/** @returns the place behind the closing quote, or -1 */
function endOfString(bytes: Uint8Array, begin: number): number {
  for (let at = begin + 1; at < bytes.length; ) {
    const byte = bytes[at]!;
    if (KINDS[byte]! >= PLAIN || byte === 0x20) {
      at += 1;
      continue;
    }
    if (byte === QUOTE) return at + 1;
    // Two bytes, by far the most frequent of these.
    if (byte >= 0xc2 && byte < 0xe0 && (bytes[at + 1] ?? 0) >> 6 === 2) {
      at += 2;
      continue;
    }
    if (byte < 0x20) return -1;
    at = byte === BACKSLASH ? endOfEscape(bytes, at) : endOfSequence(bytes, at);
    if (at < 0) return -1;
  }
  return -1;
}

/** @returns the place behind an escape sequence, or -1 */
function endOfEscape(bytes: Uint8Array, at: number): number {
  const kind = String.fromCharCode(bytes[at + 1] ?? 0);
  if ('"\\/bfnrt'.includes(kind)) return at + 2;
  const digits = String.fromCharCode(...bytes.subarray(at + 2, at + 6));
  return kind === 'u' && /^[0-9a-fA-F]{4}$/.test(digits) ? at + 6 : -1;
}

/** @returns the place behind a UTF-8 sequence of two to four bytes, the shortest for its character, or -1 */
function endOfSequence(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0) return -1;
  for (let i = at + 1; i < at + length; i++) if ((bytes[i] ?? 0) >> 6 !== 2) return -1;
  const second = bytes[at + 1]!;
  // Too long a form, surrogates, and characters above U+10FFFF.
  const wrong =
    (first === 0xe0 && second < 0xa0) ||
    (first === 0xed && second > 0x9f) ||
    (first === 0xf0 && second < 0x90) ||
    (first === 0xf4 && second > 0x8f);
  return wrong ? -1 : at + length;
}

/** @returns the place behind true, false or null, or 0 */
function endOfWord(bytes: Uint8Array, at: number): number {
  const first = bytes[at];
  const word = first === 0x74 ? 'true' : first === 0x66 ? 'false' : first === 0x6e ? 'null' : '';
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return 0;
  return word === '' ? 0 : at + word.length;
}

/** @returns the place behind a number, or 0 */
function endOfNumber(bytes: Uint8Array, begin: number): number {
  let at = bytes[begin] === 0x2d ? begin + 1 : begin;
  const integer = at;
  at = endOfDigits(bytes, at);
  if (at === integer || (at > integer + 1 && bytes[integer] === 0x30)) return 0;
  if (bytes[at] === 0x2e) {
    const fraction = at + 1;
    at = endOfDigits(bytes, fraction);
    if (at === fraction) return 0;
  }
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    const signed = bytes[at + 1] === 0x2b || bytes[at + 1] === 0x2d;
    const exponent = at + (signed ? 2 : 1);
    at = endOfDigits(bytes, exponent);
    if (at === exponent) return 0;
  }
  return at;
}

function endOfDigits(bytes: Uint8Array, begin: number): number {
  let at = begin;
  while (at < bytes.length && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at += 1;
  return at;
}
