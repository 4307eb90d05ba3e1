// Which regular expressions texts can be held to. The library writes what an expression says into the JSON text as it stands, so that
// expressions for quotes, backslashes and control characters, "." among them, would break it; others it does not know.

/** Plain characters, `\d`, `\w`, and punctuation behind a backslash. */
const CHARACTER = String.raw`(?:[A-Za-z0-9 _\-,:;=@#%&!~'<>/]|\\[dw.+*?()[\]{}|^$/\-])`;
const CLASS = String.raw`\[(?:[A-Za-z0-9 _,:;=@#%&!~'<>/.+*?(){}|$]|\\[dw.+*?()[\]{}|^$/\-]|-)+\]`;
const QUANTIFIER = String.raw`(?:[*+?]|\{\d{1,3}(?:,\d{0,3})?\})?`;
const PART = new RegExp(`^(?:(?:${CHARACTER}|${CLASS}|\\((?:\\?:)?|\\))${QUANTIFIER}|\\|)`);

/** Of repetitions the library writes so many out; further ones take no time. */
export const WRITTEN_OUT = 128;
const MOST_CHARACTERS = 1000;

/** How many characters an expression has with its repetitions written out; null where texts cannot be held to it. */
export function countPattern(pattern: string): number | null {
  try {
    new RegExp(pattern, 'u');
  } catch {
    return null;
  }
  /** Of the groups that are open, the whole first. */
  const counts = [0];
  let rest = pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, '');
  // Quantified groups end with their quantifier; what opens one has none.
  while (rest !== '') {
    const part = PART.exec(rest)?.[0];
    if (part === undefined || /^\((?:\?:)?[*+{]|^\(\?(?:[^:]|$|:\?)/.test(part)) return null;
    const [, least, most] = /\{(\d+)(?:,(\d*))?\}$/.exec(part) ?? [];
    const times = Math.min(Math.max(Number(most || least || 1), 1), WRITTEN_OUT);
    if (part.startsWith('(')) counts.push(0);
    else if (part !== '|') {
      const repeated = (part.startsWith(')') ? counts.pop()! : 1) * times;
      counts.push(counts.pop()! + repeated);
    }
    rest = rest.slice(part.length);
  }
  return pattern === '' || counts[0]! > MOST_CHARACTERS ? null : counts[0]!;
}
