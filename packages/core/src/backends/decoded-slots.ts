// Which plans are those of a text: their runs can be done again, and go on from the best logit.
import type { ExecutionPlan, Operation } from '../plan.ts';

/** Fields of operations whose slots get something else than they held. */
const RESULTS = ['out', 'kept', 'taken'];

/**
 * The slots of a plan whose results depend on its tokens and the cache alone, so that a run can be done again, and whose best logit
 * always is a token; or null.
 * @param vocabularies of each slot of tokens, the rows of what it is looked up in
 */
export function decodedSlots(
  { operations, slots }: ExecutionPlan,
  vocabularies: ReadonlyMap<string, number>,
): { readonly tokens: string; readonly logits: string } | null {
  const first = operations[0];
  const heads = operations.filter(({ op }) => op === 'logits') as Extract<Operation, { op: 'logits' }>[];
  if (first?.op !== 'embed' || heads.length !== 1) return null;
  if (slots[heads[0]!.out]!.width > vocabularies.get(first.input)!) return null;
  if (operations.some(({ op }, i) => op === 'accumulateGram' || (op === 'embed' && i > 0))) return null;
  const written = new Set([first.input]);
  for (const { op, ...fields } of operations) {
    const named = Object.entries(fields).filter(([, value]) => typeof value === 'string' && value in slots);
    const isResult = (field: string) => op !== 'add' && RESULTS.includes(field);
    if (named.some(([field, slot]) => !isResult(field) && !written.has(slot))) return null;
    for (const [, slot] of named) written.add(slot);
  }
  return { tokens: first.input, logits: heads[0]!.out };
}
