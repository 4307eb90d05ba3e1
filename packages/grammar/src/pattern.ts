// Which regular expressions texts can be held to. The library writes what an expression says into the JSON text as it stands, so that
// expressions for quotes, backslashes and control characters, "." among them, would break it; others it does not know.

/** Plain characters, `\d`, `\w`, and punctuation behind a backslash. */
const CHARACTER = String.raw`(?:[A-Za-z0-9 _\-,:;=@#%&!~'<>/]|\\[dw.+*?()[\]{}|^$/\-])`;
const CLASS = String.raw`\[(?:[A-Za-z0-9 _,:;=@#%&!~'<>/.+*?(){}|$]|\\[dw.+*?()[\]{}|^$/\-]|-)+\]`;
const QUANTIFIER = String.raw`(?:[*+?]|\{\d{1,3}(?:,\d{0,3})?\})?`;
const PART = new RegExp(`^(?:(?:${CHARACTER}|${CLASS}|\\((?:\\?:)?|\\))${QUANTIFIER}|\\|)`);

const MOST_REPEATED = 1000;

/** Whether texts can be held to an expression. */
export function isSupportedPattern(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u');
  } catch {
    return false;
  }
  // Repetitions are written out, one in another as often as both say.
  const bounds = [...pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].map(([, least, most]) =>
    Number(most || least),
  );
  if (bounds.reduce((product, bound) => product * Math.max(bound, 1), 1) > MOST_REPEATED) return false;
  let rest = pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, '');
  // Quantified groups end with their quantifier; what opens one has none.
  while (rest !== '') {
    const part = PART.exec(rest)?.[0];
    if (part === undefined || /^\((?:\?:)?[*+{]|^\(\?(?:[^:]|$|:\?)/.test(part)) return false;
    rest = rest.slice(part.length);
  }
  return pattern !== '';
}
