// Conformance of what works by position: rotary embedding, and attention over a KV cache.
import type { ExecutionPlan, Operation } from '@duobit/core';
import type { ConformanceCase } from './conformance.ts';
import { f32, runOf } from './operation-plans.ts';
import { createRandom, drawActivations, drawInteger } from './random-values.ts';
import { checkPlanOnBackend } from './trace.ts';

/** A run of so many rows from a position on, with queries, keys and values drawn for it. */
const drawRun =
  (draw: () => number, { headCount, kvHeadCount, headSize }: ExecutionPlan['heads']) =>
  ([position, rows]: readonly number[]) => ({
    request: runOf(rows!, 'none', position!),
    inputs: {
      q: drawActivations(draw, rows! * headCount * headSize),
      k: drawActivations(draw, rows! * kvHeadCount * headSize),
      v: drawActivations(draw, rows! * kvHeadCount * headSize),
    },
  });

export function attentionCases(): ConformanceCase[] {
  const layouts = [
    { headCount: 1, kvHeadCount: 1, headSize: 2 },
    { headCount: 4, kvHeadCount: 2, headSize: 16 },
    { headCount: 9, kvHeadCount: 3, headSize: 64 },
    { headCount: 3, kvHeadCount: 1, headSize: 10 },
    { headCount: 2, kvHeadCount: 2, headSize: 128 },
  ];
  return [
    {
      name: 'rope, several head sizes, positions up to 100,000',
      run: async (backend) => {
        const draw = createRandom(41);
        for (const { headCount, headSize } of layouts) {
          const ropeFrequencies = Float64Array.from(
            { length: headSize / 2 },
            (_, i) => 10_000 ** ((-2 * i) / headSize),
          );
          const plan: ExecutionPlan = {
            slots: { x: f32(headCount * headSize) },
            operations: [{ op: 'rope', target: 'x', headCount, headSize }],
            cacheLayers: 0,
            heads: { headCount, kvHeadCount: headCount, headSize },
            ropeFrequencies,
          };
          const runs = [0, 1, 63, 8191, 99_997].map((position) => ({
            request: runOf(3, 'none', position),
            inputs: { x: drawActivations(draw, 3 * headCount * headSize) },
          }));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 100_000);
        }
      },
    },
    {
      name: 'attention with a cache: chunks, single steps, rewinding, windows, two layers',
      run: async (backend) => {
        const draw = createRandom(42);
        for (const heads of layouts)
          for (const window of [null, 1, 4]) {
            const { headCount, kvHeadCount, headSize } = heads;
            const [queryWidth, kvWidth] = [headCount * headSize, kvHeadCount * headSize];
            const attend = (layer: number, out: string): Operation => ({
              op: 'attention',
              query: 'q',
              key: layer === 0 ? 'k' : 'v',
              value: layer === 0 ? 'v' : 'k',
              out,
              layer,
              heads,
              window,
            });
            const plan: ExecutionPlan = {
              slots: {
                q: f32(queryWidth),
                k: f32(kvWidth),
                v: f32(kvWidth),
                y: f32(queryWidth),
                z: f32(queryWidth),
              },
              operations: [attend(0, 'y'), attend(1, 'z')],
              cacheLayers: 2,
              heads,
              ropeFrequencies: new Float64Array(headSize / 2),
            };
            const runs = [
              [0, 5],
              [5, 1],
              [6, 1],
              [3, 4],
              [7, 9],
            ].map(drawRun(draw, heads));
            await checkPlanOnBackend(backend, plan, new Map(), runs, 16);
          }
      },
    },
    {
      name: 'attention over long contexts: across the borders of blocks and parts, 1 to 5 queries on a kv head',
      run: async (backend) => {
        const draw = createRandom(44);
        for (const [queries, kvHeadCount, headSize, window] of [
          [1, 2, 64, null],
          [2, 1, 40, 100],
          [3, 1, 64, null],
          [4, 1, 6, 129],
          [5, 1, 72, 70],
        ] as const) {
          const heads = { headCount: queries * kvHeadCount, kvHeadCount, headSize };
          const plan = attentionPlan(heads, window);
          const runs = [
            [0, 70],
            [70, 1],
            [71, 61],
            [132, 1],
            [127, 2],
            [129, 140],
            [269, 1],
          ].map(drawRun(draw, heads));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 270);
        }
      },
    },
    {
      name: 'attention of many rows at once, from any position on, several head sizes, windows within and across them',
      run: async (backend) => {
        const draw = createRandom(47);
        for (const [queries, kvHeadCount, headSize, window] of [
          [2, 2, 128, null],
          [1, 2, 64, 33],
          [3, 1, 40, 70],
          [2, 1, 90, null],
        ] as const) {
          const heads = { headCount: queries * kvHeadCount, kvHeadCount, headSize };
          const runs = [
            [0, 37],
            [37, 40],
            [77, 1],
            [51, 99],
          ].map(drawRun(draw, heads));
          await checkPlanOnBackend(backend, attentionPlan(heads, window), new Map(), runs, 150);
        }
      },
    },
    {
      name: 'attention with large, small and equal keys and values stays finite',
      run: async (backend) => {
        const heads = { headCount: 1, kvHeadCount: 1, headSize: 34 };
        const draw = createRandom(45);
        const rows = 6;
        const scale = (values: Float32Array, factor: number) => values.map((value) => value * factor);
        const values = drawActivations(draw, rows * 34);
        const inputs = {
          q: scale(drawActivations(draw, rows * 34), 2 ** -12),
          k: scale(drawActivations(draw, rows * 34), 2 ** -22),
          v: values.map((value, i) =>
            i < 34 ? value * 2 ** 17 : i < 68 ? 3 : i < 102 ? value * 2 ** -24 : value,
          ),
        };
        inputs.k.fill(-7.3, 34, 68);
        inputs.k[70] = 90_000;
        await checkPlanOnBackend(
          backend,
          attentionPlan(heads, null),
          new Map(),
          [{ request: runOf(rows), inputs }],
          rows,
        );
      },
    },
    {
      name: 'attention that sees what is not a number gives what is not a number',
      run: async (backend) => {
        const heads = { headCount: 2, kvHeadCount: 1, headSize: 40 };
        const widths = { q: 80, k: 40, v: 40 };
        const draw = createRandom(46);
        for (const slot of ['k', 'v'] as const) {
          const program = await backend.prepare(
            attentionPlan(heads, null),
            async () => {
              throw new Error('there are no weights');
            },
            { capacity: 3, maxRows: 2 },
          );
          for (const [position, rows] of [
            [0, 1],
            [1, 2],
          ] as const) {
            for (const [name, width] of Object.entries(widths)) {
              const values = drawActivations(draw, rows * width);
              // Of the second position: all of a value, one number of a key.
              if (name === slot && position === 1)
                values.fill(Number.NaN, slot === 'k' ? 33 : 0, slot === 'k' ? 34 : 40);
              await program.write(name, values);
            }
            await program.run(runOf(rows, 'none', position));
            for (const [i, value] of (await program.read('y')).entries())
              if (Number.isNaN(value) !== (position === 1))
                throw new Error(
                  `value ${i} from position ${position} is ${value}, with NaN in "${slot}" at 1`,
                );
          }
          await program.dispose();
        }
      },
    },
    {
      name: 'attention with scores far apart does not overflow',
      run: async (backend) => {
        const heads = { headCount: 1, kvHeadCount: 1, headSize: 4 };
        const plan = attentionPlan(heads, null);
        const draw = createRandom(43);
        const rows = 6;
        const inputs = {
          q: Float32Array.from({ length: rows * 4 }, () => drawInteger(draw, -30, 30)),
          k: Float32Array.from({ length: rows * 4 }, () => drawInteger(draw, -30, 30)),
          v: drawActivations(draw, rows * 4),
        };
        await checkPlanOnBackend(backend, plan, new Map(), [{ request: runOf(rows), inputs }], rows);
      },
    },
  ];
}

/** One attention on slots q, k, v and y. */
function attentionPlan(heads: ExecutionPlan['heads'], window: number | null): ExecutionPlan {
  const [query, kv] = [heads.headCount * heads.headSize, heads.kvHeadCount * heads.headSize];
  return {
    slots: { q: f32(query), k: f32(kv), v: f32(kv), y: f32(query) },
    operations: [{ op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 0, heads, window }],
    cacheLayers: 1,
    heads,
    ropeFrequencies: new Float64Array(heads.headSize / 2),
  };
}
