// Reads JSON text (RFC 8259) without building anything from it: a tokenizer has a hundred thousand strings, of which
// validation wants one number. Checks the whole text, UTF-8 included, and says where its numbers and elements are.

/** What is wanted of the contents of an array or object: nothing, values, or values with their names or indices. */
export type JsonInterest = 'none' | 'values' | 'names';

/** Receives what is in the text. Paths lead from the root; names that nobody wants are empty in them. */
export interface JsonVisitor {
  /** Begins a container that is wanted. What is in it is always checked. */
  enter(path: readonly string[], kind: 'object' | 'array'): JsonInterest;
  /** A number in a container that is wanted. */
  number(path: readonly string[], value: number): void;
  /** Ends an array in a container that is wanted. */
  array(path: readonly string[], length: number): void;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const decoder = new TextDecoder();

/** Deeper text is refused, as most readers would fail on it. */
const MOST_DEPTH = 512;

/** @returns whether the bytes are one JSON value, a byte order mark before it allowed */
export function scanJson(bytes: Uint8Array, visitor: JsonVisitor): boolean {
  return new JsonScanner(bytes, visitor).scan();
}

/** Every method returns false on anything but JSON. */
class JsonScanner {
  readonly #bytes: Uint8Array;
  readonly #visitor: JsonVisitor;
  readonly #path: string[] = [];
  #at: number;

  constructor(bytes: Uint8Array, visitor: JsonVisitor) {
    this.#bytes = bytes;
    this.#visitor = visitor;
    this.#at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  }

  scan(): boolean {
    this.#skipSpace();
    if (!this.#value(true)) return false;
    this.#skipSpace();
    return this.#at === this.#bytes.length;
  }

  #skipSpace(): void {
    const bytes = this.#bytes;
    for (;;) {
      const byte = bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at += 1;
    }
  }

  #value(wanted: boolean): boolean {
    switch (this.#bytes[this.#at]) {
      case OPEN_OBJECT:
        return this.#object(wanted);
      case OPEN_ARRAY:
        return this.#array(wanted);
      case QUOTE:
        return this.#string();
      case 0x74:
        return this.#word('true');
      case 0x66:
        return this.#word('false');
      case 0x6e:
        return this.#word('null');
      default:
        return this.#number(wanted);
    }
  }

  #object(wanted: boolean): boolean {
    const inside = this.#enter(wanted, 'object');
    if (inside === null) return false;
    if (this.#bytes[this.#at] === CLOSE_OBJECT) return this.#leave();
    for (;;) {
      const begin = this.#at;
      if (!this.#string()) return false;
      const end = this.#at;
      this.#skipSpace();
      if (this.#bytes[this.#at] !== COLON) return false;
      this.#at += 1;
      this.#skipSpace();
      this.#path.push(inside === 'names' ? decodeString(this.#bytes.subarray(begin, end)) : '');
      if (!this.#value(inside !== 'none')) return false;
      this.#path.pop();
      this.#skipSpace();
      const next = this.#bytes[this.#at];
      if (next === CLOSE_OBJECT) return this.#leave();
      if (next !== COMMA) return false;
      this.#at += 1;
      this.#skipSpace();
    }
  }

  #array(wanted: boolean): boolean {
    const inside = this.#enter(wanted, 'array');
    if (inside === null) return false;
    let length = 0;
    if (this.#bytes[this.#at] !== CLOSE_ARRAY) {
      for (;;) {
        this.#path.push(inside === 'names' ? String(length) : '');
        if (!this.#value(inside !== 'none')) return false;
        this.#path.pop();
        length += 1;
        this.#skipSpace();
        const next = this.#bytes[this.#at];
        if (next === CLOSE_ARRAY) break;
        if (next !== COMMA) return false;
        this.#at += 1;
        this.#skipSpace();
      }
    }
    if (wanted) this.#visitor.array(this.#path, length);
    return this.#leave();
  }

  /** @returns null when it is too deep */
  #enter(wanted: boolean, kind: 'object' | 'array'): JsonInterest | null {
    if (this.#path.length >= MOST_DEPTH) return null;
    this.#at += 1;
    this.#skipSpace();
    return wanted ? this.#visitor.enter(this.#path, kind) : 'none';
  }

  #leave(): boolean {
    this.#at += 1;
    return true;
  }

  #word(word: string): boolean {
    for (let i = 0; i < word.length; i++) {
      if (this.#bytes[this.#at + i] !== word.charCodeAt(i)) return false;
    }
    this.#at += word.length;
    return true;
  }

  #number(wanted: boolean): boolean {
    const bytes = this.#bytes;
    const begin = this.#at;
    let at = begin;
    if (bytes[at] === 0x2d) at += 1;
    const digits = (): boolean => {
      const first = at;
      while (bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at += 1;
      return at > first;
    };
    if (bytes[at] === 0x30) at += 1;
    else if (!digits()) return false;
    if (bytes[at] === 0x2e) {
      at += 1;
      if (!digits()) return false;
    }
    if (bytes[at] === 0x65 || bytes[at] === 0x45) {
      at += 1;
      if (bytes[at] === 0x2b || bytes[at] === 0x2d) at += 1;
      if (!digits()) return false;
    }
    this.#at = at;
    if (wanted) this.#visitor.number(this.#path, toNumber(bytes, begin, at));
    return true;
  }

  /** From one quote to behind the other. */
  #string(): boolean {
    const bytes = this.#bytes;
    if (bytes[this.#at] !== QUOTE) return false;
    const { length } = bytes;
    for (let at = this.#at + 1; at < length; ) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        this.#at = at + 1;
        return true;
      }
      if (byte < 0x20) return false;
      if (byte === BACKSLASH) at = this.#escape(at);
      else if (byte < 0x80) at += 1;
      else at = this.#sequence(at, byte);
      if (at < 0) return false;
    }
    return false;
  }

  /** @returns the place behind an escape sequence, or -1 */
  #escape(at: number): number {
    switch (this.#bytes[at + 1]) {
      case QUOTE:
      case BACKSLASH:
      case 0x2f:
      case 0x62:
      case 0x66:
      case 0x6e:
      case 0x72:
      case 0x74:
        return at + 2;
      case 0x75: {
        for (let i = at + 2; i < at + 6; i++) {
          const byte = this.#bytes[i];
          if (byte === undefined || !/[0-9a-fA-F]/.test(String.fromCharCode(byte))) return -1;
        }
        return at + 6;
      }
      default:
        return -1;
    }
  }

  /** @returns the place behind a UTF-8 sequence of two to four bytes, the shortest for its character, or -1 */
  #sequence(at: number, first: number): number {
    const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length === 0) return -1;
    for (let i = at + 1; i < at + length; i++) {
      if ((this.#bytes[i] ?? 0) >> 6 !== 2) return -1;
    }
    const second = this.#bytes[at + 1]!;
    // Too long a form, surrogates, and characters above U+10FFFF.
    const wrong =
      (first === 0xe0 && second < 0xa0) ||
      (first === 0xed && second > 0x9f) ||
      (first === 0xf0 && second < 0x90) ||
      (first === 0xf4 && second > 0x8f);
    return wrong ? -1 : at + length;
  }
}

function toNumber(bytes: Uint8Array, begin: number, end: number): number {
  let value = 0;
  // Exact up to nine digits, as nearly all ids are.
  if (end - begin <= 9) {
    let at = begin;
    while (at < end && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) value = 10 * value + bytes[at++]! - 0x30;
    if (at === end) return value;
  }
  return Number(decoder.decode(bytes.subarray(begin, end)));
}

/** Of a string with its quotes, which was checked. */
function decodeString(bytes: Uint8Array): string {
  return String(JSON.parse(decoder.decode(bytes)));
}
