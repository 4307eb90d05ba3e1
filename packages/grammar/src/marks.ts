// Parts of schemas whose grammars come from here: ranges of whole numbers, lengths and lists of values. The library has its own, but lets some
// numbers beyond the ends of a range in, control characters, which are no JSON, into texts of a length, and texts that are none of several
// that begin alike. So a schema carries marks, and the grammar that comes of it gets what they hold. In these a text is decided by its first
// character at every place.

const MARK = 'duobit-grammar:';

/** A text that is no other's, to stand in a schema for an expression in ASCII. In hexadecimal nothing of it is escaped on the way. */
function mark(expression: string): { readonly const: string } {
  const codes = Array.from(expression, (character) => character.charCodeAt(0).toString(16).padStart(2, '0'));
  return { const: MARK + codes.join('') };
}

/** Whether a text, other than that of a mark, would be taken for one. */
export function isMark(text: string): boolean {
  return text.startsWith(MARK);
}

/** Puts expressions where a grammar has the texts that stand for them, and the rules that these need behind it. */
export function writeMarks(grammar: string): string {
  const rules = new Set<string>();
  const written = grammar.replaceAll(
    new RegExp(`"\\\\"${MARK}([0-9a-f]+)\\\\""`, 'g'),
    (_, codes: string) => {
      const expression = codes.replaceAll(/../g, (code) => String.fromCharCode(Number.parseInt(code, 16)));
      const [rule, least, most] = LENGTH.exec(expression) ?? [];
      if (rule !== undefined) rules.add(`${rule} ::= "\\"" ${CHARACTER}{${least},${most}} "\\""`);
      return expression;
    },
  );
  if (rules.size > 0) rules.add(String.raw`${CHARACTER} ::= [^\0-\x1f"\\] | "\\" ["\\/bfnrt]`);
  return [written.trimEnd(), ...rules, ''].join('\n');
}

/** Rules of their own: written in place, repetitions take half a minute to compile with a vocabulary of 50,000, and each takes its time. */
const CHARACTER = 'duobit_character';
const LENGTH = /^duobit_length_(\d+)_(\d*)$/;

/** A text of so many characters, `most` null: or more. Short escapes are among them: a long one may be half a character. */
export function markLength(least: number, most: number | null) {
  return mark(`duobit_length_${least}_${most ?? ''}`);
}

/** One of several values, as JSON on one line. */
export function markValues(values: readonly unknown[]) {
  const texts = new Set(values.map((value) => writeJson(value)));
  return mark(writeTexts([...texts].map((text) => Array.from(text))));
}

/** A whole number; null: no end there. */
export function markRange(least: number | null, most: number | null) {
  const parts: string[] = [];
  if (least === null || least < 0) {
    const digits = listDigits(Math.max(1, -(most ?? 0)), least === null ? null : -least);
    parts.push(`"-" ${writeDigits(digits)}`);
  }
  if (most === null || most >= 0) parts.push(writeDigits(listDigits(Math.max(0, least ?? 0), most)));
  return mark(`(${parts.join(' | ')})`);
}

/** As the rest of the grammar has it: a blank behind commas and colons. */
function writeJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(writeJson).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, one]) => `${JSON.stringify(name)}: ${writeJson(one)}`)
    .join(', ')}}`;
}

/** @param texts different ones, as characters */
function writeTexts(texts: readonly (readonly string[])[]): string {
  const byFirst = new Map<string, string[][]>();
  for (const [first, ...rest] of texts)
    if (first !== undefined) byFirst.set(first, [...(byFirst.get(first) ?? []), rest]);
  const parts = [...byFirst].map(([first, rests]) =>
    `${writeCharacter(first)} ${writeTexts(rests)}`.trimEnd(),
  );
  const mayEnd = texts.some(({ length }) => length === 0);
  if (parts.length === 0) return '';
  if (parts.length === 1 && !mayEnd) return parts[0]!;
  return `(${[...parts, ...(mayEnd ? ['""'] : [])].join(' | ')})`;
}

function writeCharacter(character: string): string {
  if (/^[ !#-[\]-~]$/.test(character)) return `"${character}"`;
  return `"\\U${character.codePointAt(0)!.toString(16).padStart(8, '0')}"`;
}

/** Numbers of as many digits, from the first to the last; and where it goes on, all that begin like one of them. */
interface Digits {
  readonly from: string;
  readonly to: string;
  readonly goesOn: boolean;
}

/**
 * @param least 0 or more
 * @param most null: no end
 */
function listDigits(least: number, most: number | null): Digits[] {
  const first = String(least);
  const last = most === null ? '9'.repeat(first.length + 1) : String(most);
  return Array.from({ length: last.length - first.length + 1 }, (_, i) => {
    const length = first.length + i;
    const from = i === 0 ? first : `1${'0'.repeat(length - 1)}`;
    const isLast = length === last.length;
    return { from, to: isLast ? last : '9'.repeat(length), goesOn: isLast && most === null };
  });
}

function writeDigits(numbers: readonly Digits[]): string {
  /** First digits by what may follow them. */
  const byRest = new Map<string, { digits: string; rest: Digits[] }>();
  for (let digit = 0; digit <= 9; digit++) {
    const rest = numbers
      .filter(({ from, to }) => from !== '' && digit >= Number(from[0]) && digit <= Number(to[0]))
      .map(({ from, to, goesOn }): Digits => {
        const count = from.length - 1;
        return {
          from: digit === Number(from[0]) ? from.slice(1) : '0'.repeat(count),
          to: digit === Number(to[0]) ? to.slice(1) : '9'.repeat(count),
          goesOn,
        };
      });
    if (rest.length === 0) continue;
    const key = JSON.stringify(rest);
    byRest.set(key, { digits: (byRest.get(key)?.digits ?? '') + digit, rest });
  }
  const parts = [...byRest.values()].map(({ digits, rest }) => `[${digits}] ${writeDigits(rest)}`.trimEnd());
  if (numbers.some(({ from, goesOn }) => from === '' && goesOn)) return '[0-9]*';
  if (parts.length === 0) return '';
  if (numbers.some(({ from }) => from === '')) parts.push('""');
  return parts.length === 1 ? parts[0]! : `(${parts.join(' | ')})`;
}
