// Steps of attention: keys and values into the cache, and softmax over it.
import type { Operation } from '@duobit/core';
import { attentionShare, type Context } from './context.ts';
import type { SlotPlace } from './slots.ts';
import { float, type Step } from './steps.ts';

type Attention = Extract<Operation, { readonly op: 'attention' }>;

/** Heads larger than this do not fit the workgroup memory of attention. */
export const MOST_HEAD_SIZE = 512;

const place = ({ layout }: Context, slot: string): SlotPlace => layout.places.get(slot)!;

/** Threads of a workgroup that has a quad of a head's dimensions each, in whole groups of 32 dimensions. Few sizes are compiled. */
function headThreads(quads: number): number {
  return quads <= 16 ? 16 : quads <= 32 ? 32 : MOST_HEAD_SIZE / 4;
}

/** Writes keys and values as they are. */
export function cacheStep(context: Context, operation: Attention): Step {
  const { builder, arenas, options, kv, imports } = context;
  const { kvHeadCount, headSize } = operation.heads;
  const quads = Math.ceil(headSize / 4);
  const [key, value] = [place(context, operation.key), place(context, operation.value)];
  const kernel = builder.add(
    {
      name: 'cache-write',
      bindings: 'uuw-w',
      imports: { ...imports, 'cache-store': `cache-store-${kv}` },
      constants: { THREADS: headThreads(quads) },
    },
    [key.offset, value.offset, key.stride, kvHeadCount, headSize, quads, options.capacity],
    [arenas.floats, null, arenas.caches[operation.layer]!],
  );
  return {
    label: 'cache write',
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(), x: 2 * kvHeadCount, y: run.rows }),
  };
}

/** Turns queries and keys, and writes keys and values. */
export function ropeCacheStep(context: Context, operation: Attention): Step {
  const { builder, arenas, options, kv, imports } = context;
  const { headCount, kvHeadCount, headSize } = operation.heads;
  const quads = headSize / 4;
  const [query, key, value] = [operation.query, operation.key, operation.value].map((slot) =>
    place(context, slot),
  ) as [SlotPlace, SlotPlace, SlotPlace];
  const kernel = builder.add(
    {
      name: 'rope-cache',
      bindings: 'uuwrw',
      imports: { ...imports, 'cache-store': `cache-store-${kv}` },
      constants: { THREADS: headThreads(quads) },
    },
    [
      query.offset,
      query.stride,
      headCount,
      key.offset,
      value.offset,
      key.stride,
      kvHeadCount,
      headSize,
      quads,
      options.capacity,
    ],
    [arenas.floats, arenas.angles, arenas.caches[operation.layer]!],
  );
  return {
    label: `rope + cache ${headCount}x${headSize}`,
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(), x: headCount + 2 * kvHeadCount, y: run.rows }),
  };
}

/** Attention over the cache; of a single row in shares of positions, which a second step puts together. */
export function attendSteps(context: Context, operation: Attention): Step[] {
  const { builder, arenas, options, kv, imports, tuning } = context;
  const { headCount, kvHeadCount, headSize } = operation.heads;
  const quads = Math.ceil(headSize / 4);
  const [query, out] = [place(context, operation.query), place(context, operation.out)];
  const window = operation.window ?? 0;
  const attend = builder.add(
    { name: 'attend', bindings: 'uuwrw', imports: { ...imports, 'cache-load': `cache-load-${kv}` } },
    [
      query.offset,
      query.stride,
      out.offset,
      out.stride,
      headCount,
      headCount / kvHeadCount,
      headSize,
      quads,
      options.capacity,
      window,
      float(1 / Math.sqrt(headSize)),
    ],
    [arenas.floats, arenas.caches[operation.layer]!, arenas.parts],
  );
  const join = builder.add(
    { name: 'attend-join', bindings: 'uuw-r' },
    [out.offset, headSize, quads, window],
    [arenas.floats, null, arenas.parts],
  );
  const countShares = (rows: number, position: number): number => {
    const seen = window > 0 ? Math.min(window, position + 1) : position + 1;
    return rows > 1 ? 1 : Math.ceil(seen / attentionShare(tuning, rows, position));
  };
  return [
    {
      label: `attention ${headCount}x${headSize}`,
      weightBytes: 0,
      dispatch: ({ rows, position }) => ({
        ...attend(),
        x: headCount,
        y: rows,
        z: countShares(rows, position),
      }),
    },
    {
      label: 'attention, joined',
      weightBytes: 0,
      dispatch: ({ rows, position }) =>
        countShares(rows, position) > 1 ? { ...join(), x: headCount, y: 1 } : null,
    },
  ];
}
