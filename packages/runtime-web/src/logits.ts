// Steps that search logits on the device, so that few bytes are read back: the largest, or some of the largest.
import { type ExecutionPlan, MOST_TOP } from '@duobit/core';
import { padTo } from './constants.ts';
import type { Context } from './context.ts';
import type { Step } from './steps.ts';

/** Logits that a workgroup looks at. */
const PART = 2048;

/** Where in the arena of codes the searches of a slot put what they find; a pair of words each. */
interface SearchPlace {
  readonly slot: string;
  readonly candidates: number;
  readonly result: number;
}

export interface Search {
  readonly steps: readonly Step[];
  /** Word of the arena of codes where the result begins: key and place of the largest, or pairs of them (kernels/top.wgsl). */
  readonly result: number;
}

/** The searches of a slot of logits. One begins when the other has been read, so they share their places. */
export interface Searches {
  readonly best: Search;
  readonly top: Search;
}

/**
 * Places for the searches of every slot of logits, from a word of the arena of codes on.
 * @returns the places, and the word after them
 */
export function placeSearches(plan: ExecutionPlan, from: number): { places: SearchPlace[]; end: number } {
  const places = new Map<string, SearchPlace>();
  let end = from;
  for (const operation of plan.operations) {
    if (operation.op !== 'logits' || places.has(operation.out)) continue;
    const candidates = end;
    const result = candidates + 2 * MOST_TOP * countParts(plan.slots[operation.out]!.width);
    end = padTo(result + 2 * MOST_TOP, 4);
    places.set(operation.out, { slot: operation.out, candidates, result });
  }
  return { places: [...places.values()], end };
}

/** No word of the arena. */
const NOWHERE = 0xffffffff;

/** @param decoded where the best logit becomes the next token; null: nowhere */
export function compileSearches(
  context: Context,
  places: readonly SearchPlace[],
  decoded: { readonly tokens: string } | null,
): Map<string, Searches> {
  const next = decoded ? context.layout.places.get(decoded.tokens)!.offset : NOWHERE;
  return new Map(
    places.map((place) => [
      place.slot,
      { best: searchWith(context, 'argmax', place, next), top: searchWith(context, 'top', place) },
    ]),
  );
}

function searchWith(context: Context, name: 'argmax' | 'top', place: SearchPlace, next = NOWHERE): Search {
  const { slot, candidates, result } = place;
  const { offset, width } = context.layout.places.get(slot)!;
  const count = countParts(width);
  const steps = (['first', 'second'] as const).map((entryPoint): Step => {
    const kernel = context.builder.add(
      { name, entryPoint, bindings: 'uuww' },
      [offset, width, PART, candidates, count, result, next],
      [context.arenas.floats, context.arenas.codes],
    );
    return {
      label: `${name} ${entryPoint}`,
      weightBytes: 0,
      dispatch: () => ({ ...kernel(), x: entryPoint === 'first' ? count : 1, y: 1 }),
    };
  });
  return { steps, result };
}

function countParts(width: number): number {
  return Math.ceil(width / PART);
}
