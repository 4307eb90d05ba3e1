// Launches of kernels/attention.cu: rotary embedding with the cache's new rows, then attention over the cache; of many rows that of
// kernels/attention-many.cu; and of kernels/attention-one.cu, which is all of that for a run of one row.
import type { Operation } from '@duobit/core';
import { float } from './device.ts';
import { type AttentionScratch, f32Of, type Setting, type Step, type StepRun } from './setting.ts';

type Attention = Extract<Operation, { op: 'attention' }>;
type Rope = Extract<Operation, { op: 'rope' }>;

/** Positions that are worth a block of their own; of one row, what it takes to join parts is more than a few hundred positions do. */
const [PART, PART_ONE] = [128, 512];
const [CACHE_THREADS, THREADS] = [128, 256];
/** Of kernels/attention-one.cu. */
const ONE_THREADS = { f32: 512, f16: 512, int8: 512, int4: 256 } as const;
/** Of kernels/attention-many.cu: threads, and queries and positions of a tile, with the floats that pad a row in shared memory. */
const MANY = { threads: 128, queries: 64, positions: 64, padding: 4, leastRows: 16, mostHead: 128 } as const;

/** Parts of no less than `part` into which the positions of each row and head go; with enough rows and heads, one. */
function countParts(part: number, pairs: number, positions: number, multiprocessors: number): number {
  return Math.max(1, Math.min(Math.ceil(positions / part), Math.floor((4 * multiprocessors) / pairs)));
}

/** Room for `countParts`: pairs times parts is at most four times the multiprocessors where there is more than one part. */
export function planAttention({
  plan,
  device,
  arena,
  options,
}: Pick<Setting, 'plan' | 'device' | 'arena' | 'options'>): AttentionScratch {
  const heads = plan.operations.flatMap((operation) =>
    operation.op === 'attention' ? [operation.heads] : [],
  );
  if (heads.length === 0) return { mix: 0, stats: 0, done: 0 };
  const parts = 4 * device.facts.multiprocessors;
  const most = (of: (layout: (typeof heads)[number]) => number) => Math.max(...heads.map(of));
  return {
    mix: arena.allocate(4 * parts * most(({ headSize }) => headSize), 'parts of attention'),
    stats: arena.allocate(8 * parts, 'parts of attention'),
    done: arena.allocateZeroed(
      4 * options.maxRows * most(({ headCount }) => headCount),
      'parts of attention',
    ),
  };
}

/**
 * Whether a run's rows go in tiles of queries. A tile keeps one multiprocessor busy, for as long as about five rows of a head would
 * by themselves; so with fewer rows and heads than this, a block for each row, over all multiprocessors, is done earlier.
 */
function goesInTiles(
  { rows, sequence }: StepRun,
  headCount: number,
  headSize: number,
  multiprocessors: number,
) {
  return (
    sequence !== null &&
    rows >= MANY.leastRows &&
    headSize <= MANY.mostHead &&
    rows * headCount >= 4 * multiprocessors
  );
}

/** Kernels for rows of several sequences are apart: they look up each row's place. */
const suffixOf = ({ sequence }: StepRun): string => (sequence === null ? '_several' : '');
const stateOf = ({ state, places }: Setting, { sequence }: StepRun): number =>
  sequence === null ? places : state;

/** Keys, values and what belongs to their codes: of the run's sequence, or of the first where it has several. */
function cacheOf({ cache }: Setting, layer: number, { sequence }: StepRun): number[] {
  const { keys, values, keyParams, valueParams } = cache.layers[layer]!;
  const first = (sequence ?? 0) * cache.sequenceRows;
  const [bytes, params] = [first * cache.rowBytes, first * cache.groups * 4];
  return [keys + bytes, values + bytes, keyParams + params, valueParams + params];
}

export function ropeStep(setting: Setting, { target, headCount, headSize }: Rope): Step {
  const { device, table } = setting;
  const x = f32Of(setting, target);
  return (run) =>
    device.launch(
      `rope${suffixOf(run)}`,
      [run.rows, 1, 1],
      256,
      [x.address, table, stateOf(setting, run)],
      [headCount, headSize / 2, x.stride],
    );
}

/** How attention turns its query and key itself: `left` turned in their slots, where something may look at them after the run. */
export type Turning = 'not' | 'in passing' | 'left';

/** Whether a kernel for one row has this head: a warp has a position's bytes, and halves of a head are of whole quads. */
const fitsOne = (headSize: number, rowBytes: number): boolean => headSize % 8 === 0 && rowBytes <= 32 * 16;

export function attentionStep(setting: Setting, operation: Attention, turning: Turning): Step {
  const { device, cache, table, attention, options } = setting;
  const [query, key, value, out] = [
    f32Of(setting, operation.query),
    f32Of(setting, operation.key),
    f32Of(setting, operation.value),
    f32Of(setting, operation.out),
  ];
  const { headCount, kvHeadCount, headSize } = operation.heads;
  const sharing = headCount / kvHeadCount;
  const { capacity } = options;
  const window = operation.window ?? 0;
  const turns = turning !== 'not';
  const fits = fitsOne(headSize, cache.rowBytes);
  const store: Step = (run) =>
    device.launch(
      `rope_cache${suffixOf(run)}`,
      [run.rows, kvHeadCount, 1],
      CACHE_THREADS,
      [
        query.address,
        key.address,
        value.address,
        table,
        stateOf(setting, run),
        ...cacheOf(setting, operation.layer, run),
      ],
      [
        sharing,
        headSize,
        capacity,
        cache.rowBytes,
        cache.groups,
        query.stride,
        key.stride,
        value.stride,
        turns ? 1 : 0,
        cache.kind,
      ],
    );
  /** Numbers that the arguments of all kernels of attention begin with; `scale` ends them. */
  const shape = [headSize, sharing, capacity, cache.rowBytes, cache.groups, query.stride, out.stride, window];
  const scale = float(1 / Math.sqrt(headSize));
  const attendInTiles: Step = (run) => {
    const tiles = Math.ceil(run.rows / MANY.queries);
    const padded = headSize <= 64 ? 64 : MANY.mostHead;
    // Heavy tiles go first; where all blocks are there at once, two on a multiprocessor, light ones join the heavy.
    const allAtOnce = headCount * tiles <= 2 * device.facts.multiprocessors;
    const floats =
      (MANY.queries + MANY.positions) * (padded + MANY.padding) +
      MANY.queries * (MANY.positions + MANY.padding);
    device.launch(
      `attention_many${padded}_${cache.precision}`,
      [headCount, tiles, 1],
      MANY.threads,
      [query.address, out.address, ...cacheOf(setting, operation.layer, run), stateOf(setting, run)],
      [...shape, allAtOnce ? Math.ceil(tiles / 2) : tiles, scale],
      4 * floats,
    );
  };
  const attend: Step = (run) => {
    const { rows, positions } = run;
    const one = rows === 1 && fits;
    const seen = window > 0 ? Math.min(window, positions) : positions;
    const parts = countParts(one ? PART_ONE : PART, headCount * rows, seen, device.facts.multiprocessors);
    const scratch = parts > 1 ? [attention.mix, attention.stats, attention.done] : [0, 0, 0];
    device.launch(
      `attention${one ? '_one' : suffixOf(run)}_${cache.precision}`,
      [headCount, rows, parts],
      one ? ONE_THREADS[cache.precision] : THREADS,
      [
        query.address,
        out.address,
        ...cacheOf(setting, operation.layer, run),
        ...scratch,
        stateOf(setting, run),
      ],
      [...shape, scale],
      0,
      one ? { pointers: [key.address, value.address, turns ? table : 0], numbers: [] } : undefined,
    );
  };
  return (run) => {
    const one = run.rows === 1 && fits;
    if (!one) store(run);
    if (goesInTiles(run, headCount, headSize, device.facts.multiprocessors)) attendInTiles(run);
    else attend(run);
    // What the cache holds is written again, and is the same.
    if (one && turning === 'left' && !run.isLean) store(run);
  };
}
