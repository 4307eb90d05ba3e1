// Merge rules for a SentencePiece BPE vocabulary, which has scores only. Its encoder joins, again and again, the two
// neighbours whose union has the best score; so each way to cut a piece into two pieces is a merge, ranked by the
// piece's score (the derivation that transformers' slow-to-fast conversion uses).
import { TOKEN_TYPE } from './gguf-vocabulary.ts';

/** @returns pairs, best first. */
export function deriveMerges(
  tokens: readonly string[],
  types: readonly number[],
  scores: readonly number[],
): [string, string][] {
  const isPiece = (id: number): boolean => {
    const type = types[id];
    return type === TOKEN_TYPE.normal || type === TOKEN_TYPE.userDefined;
  };
  const pieces = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (isPiece(id)) pieces.set(token, id);
  const ranked = [...pieces].sort(([, a], [, b]) => scores[b]! - scores[a]! || a - b);
  const merges: [string, string][] = [];
  for (const [piece] of ranked) {
    const cuts: { left: string; right: string; order: [number, number] }[] = [];
    let at = 0;
    // By code points: a cut inside a surrogate pair would be no text.
    for (const character of piece) {
      at += character.length;
      const left = piece.slice(0, at);
      const right = piece.slice(at);
      const order: [number | undefined, number | undefined] = [pieces.get(left), pieces.get(right)];
      if (order[0] !== undefined && order[1] !== undefined) {
        cuts.push({ left, right, order: [order[0], order[1]] });
      }
    }
    cuts.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);
    for (const { left, right } of cuts) merges.push([left, right]);
  }
  return merges;
}
