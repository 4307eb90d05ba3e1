// Which of many names somebody meant who typed one that does not exist.

/** Beyond this, a name was hardly typed by hand. */
const LONGEST = 255;

/** Least number of insertions, deletions and replacements that turn `a` into `b` (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replaced, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}

/** The `count` names nearest to `wanted`, best first: those that contain it, then by edit distance. */
export function findNearest(wanted: string, names: readonly string[], count = 3): string[] {
  const query = wanted.slice(0, LONGEST);
  const rank = (name: string): number =>
    (query !== '' && name.includes(query) ? 0 : LONGEST) + editDistance(query, name);
  return names
    .map((name) => ({ name, rank: rank(name) }))
    .sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : 1))
    .slice(0, count)
    .map(({ name }) => name);
}
