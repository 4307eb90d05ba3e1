// Conformance of what works by position: rotary embedding, and attention over a KV cache.
import type { ExecutionPlan, Operation } from '@duobit/core';
import type { ConformanceCase } from './conformance.ts';
import { f32, runOf } from './operation-plans.ts';
import { createRandom, drawActivations, drawInteger } from './random-values.ts';
import { checkPlanOnBackend } from './trace.ts';

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
            ].map(([position, rows]) => ({
              request: runOf(rows!, 'none', position!),
              inputs: {
                q: drawActivations(draw, rows! * queryWidth),
                k: drawActivations(draw, rows! * kvWidth),
                v: drawActivations(draw, rows! * kvWidth),
              },
            }));
            await checkPlanOnBackend(backend, plan, new Map(), runs, 16);
          }
      },
    },
    {
      name: 'attention with scores far apart does not overflow',
      run: async (backend) => {
        const heads = { headCount: 1, kvHeadCount: 1, headSize: 4 };
        const plan: ExecutionPlan = {
          slots: { q: f32(4), k: f32(4), v: f32(4), y: f32(4) },
          operations: [
            { op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 0, heads, window: null },
          ],
          cacheLayers: 1,
          heads,
          ropeFrequencies: new Float64Array(2),
        };
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
