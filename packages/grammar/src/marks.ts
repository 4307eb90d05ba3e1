// Ranges of whole numbers and lengths of texts as grammars. The library has its own, but lets some numbers beyond the ends of a range in, and
// control characters, which are no JSON, into texts of a length. So a schema carries marks in their place, and the grammar that comes of it
// gets them from here.

export type MarkKind = 'range' | 'length';

/** A text that is no other's, to stand for a range or a length in a schema; null: no end there. */
export function mark(kind: MarkKind, least: number | null, most: number | null): string {
  return `duobit-${kind}:${least ?? ''}:${most ?? ''}`;
}

/** Puts ranges and lengths where a grammar has the texts that stand for them. */
export function writeMarks(grammar: string): string {
  const read = (end: string): number | null => (end === '' ? null : Number(end));
  return grammar.replaceAll(
    /"\\"duobit-(range|length):(-?\d*):(-?\d*)\\""/g,
    (_, kind: MarkKind, least: string, most: string) =>
      kind === 'range' ? writeRange(read(least), read(most)) : writeLength(read(least) ?? 0, read(most)),
  );
}

/** Characters and short escapes: a long escape may be half a character. */
function writeLength(least: number, most: number | null): string {
  return `("\\"" ([^\\0-\\x1f"\\\\] | "\\\\" ["\\\\/bfnrt]){${least},${most ?? ''}} "\\"")`;
}

/** @param least, most safe integers; null: no end there */
function writeRange(least: number | null, most: number | null): string {
  const parts: string[] = [];
  if (least === null || least < 0) {
    const magnitudes = writeMagnitudes(
      most === null || most >= 0 ? 1 : -most,
      least === null ? null : -least,
    );
    parts.push(...magnitudes.map((part) => `"-" ${part}`));
  }
  if (most === null || most >= 0) parts.push(...writeMagnitudes(Math.max(least ?? 0, 0), most));
  return `(${parts.join(' | ')})`;
}

function writeMagnitudes(least: number, most: number | null): string[] {
  const first = String(least);
  const last = most === null ? '9'.repeat(first.length) : String(most);
  const parts: string[] = [];
  for (let length = first.length; length <= last.length; length++) {
    const from = length === first.length ? first : `1${'0'.repeat(length - 1)}`;
    const to = length === last.length ? last : '9'.repeat(length);
    parts.push(...writeDigits(from, to));
  }
  if (most === null) parts.push(`[1-9] [0-9]{${first.length},}`);
  return parts;
}

/** Numbers of as many digits as both have. */
function writeDigits(from: string, to: string): string[] {
  const rest = from.length - 1;
  const any = rest === 0 ? '' : ` [0-9]{${rest}}`;
  if (/^.0*$/.test(from) && /^.9*$/.test(to)) return [`[${from[0]}-${to[0]}]${any}`];
  if (from[0] === to[0]) return behind(from[0]!, writeDigits(from.slice(1), to.slice(1)));
  const [low, high] = [Number(from[0]), Number(to[0])];
  const parts = behind(from[0]!, writeDigits(from.slice(1), '9'.repeat(rest)));
  if (high - low > 1) parts.push(`[${low + 1}-${high - 1}]${any}`);
  return [...parts, ...behind(to[0]!, writeDigits('0'.repeat(rest), to.slice(1)))];
}

function behind(digit: string, parts: readonly string[]): string[] {
  return parts.map((part) => `"${digit}" ${part}`);
}
