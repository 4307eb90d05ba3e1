// Attention of the wasm backend against a plain double-precision softmax: any geometry, window and way of cutting a
// sequence into runs.
import type { Backend, ExecutionPlan } from '@duobit/core';
import { createRandom, drawNormal, tolerance } from '@duobit/testkit';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createWasmBackend } from './backend.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await createWasmBackend();
});

interface Geometry {
  readonly group: number;
  readonly kvHeadCount: number;
  readonly headSize: number;
  readonly window: number | null;
}

function makePlan({ group, kvHeadCount, headSize, window }: Geometry): ExecutionPlan {
  const heads = { headCount: group * kvHeadCount, kvHeadCount, headSize };
  const kv = { kind: 'f32', width: kvHeadCount * headSize } as const;
  const full = { kind: 'f32', width: heads.headCount * headSize } as const;
  return {
    slots: { q: full, k: kv, v: kv, y: full },
    operations: [{ op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 1, heads, window }],
    cacheLayers: 2,
    heads,
    ropeFrequencies: new Float64Array(Math.floor(headSize / 2)),
  };
}

interface Attended {
  readonly value: number;
  readonly bound: number;
}

/** One output value: head `head`, component d, of the query at position `at`. */
function attend(
  { group, kvHeadCount, headSize, window }: Geometry,
  [q, k, v]: readonly [Float32Array, Float32Array, Float32Array],
  at: number,
  head: number,
): Attended[] {
  const first = window === null ? 0 : Math.max(0, at - window + 1);
  const kvHead = Math.floor(head / group);
  const scores: number[] = [];
  let scoreError = 0;
  for (let p = first; p <= at; p++) {
    let score = 0;
    let absolute = 0;
    for (let d = 0; d < headSize; d++) {
      const product =
        q[(at * group * kvHeadCount + head) * headSize + d]! * k[(p * kvHeadCount + kvHead) * headSize + d]!;
      score += product;
      absolute += Math.abs(product);
    }
    scores.push(score / Math.sqrt(headSize));
    scoreError = Math.max(scoreError, (tolerance.gamma(headSize + 4) * absolute) / Math.sqrt(headSize));
  }
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return Array.from({ length: headSize }, (_, d) => {
    const values = weights.map((_w, i) => v[((first + i) * kvHeadCount + kvHead) * headSize + d]!);
    const value = weights.reduce((sum, weight, i) => sum + (weight / total) * values[i]!, 0);
    const spread = weights.reduce((sum, weight, i) => sum + (weight / total) * Math.abs(values[i]!), 0);
    const range = top - Math.min(...scores);
    const largest = Math.max(...values.map(Math.abs));
    const bound = tolerance.attentionBound(weights.length, scoreError, range, spread, largest);
    return { value, bound };
  });
}

describe('attention', () => {
  it('matches a plain softmax for any heads, head size, window and cut into runs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          group: fc.integer({ min: 1, max: 5 }),
          kvHeadCount: fc.integer({ min: 1, max: 3 }),
          headSize: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.constantFrom(16, 64)).map((n) => 2 * n),
          window: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 12 })),
        }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
        fc.integer(),
        async (geometry, runs, seed) => {
          const { group, kvHeadCount, headSize } = geometry;
          const random = createRandom(seed);
          const length = runs.reduce((sum, rows) => sum + rows, 0);
          const width = group * kvHeadCount * headSize;
          const kvWidth = kvHeadCount * headSize;
          const draw = (count: number, size: number) =>
            Float32Array.from({ length: count }, () => drawNormal(random) * size);
          const q = draw(length * width, 2);
          const k = draw(length * kvWidth, 1);
          const v = draw(length * kvWidth, 1);
          const program = await backend.prepare(makePlan(geometry), async () => expect.fail('no weights'), {
            capacity: length,
            maxRows: 9,
          });
          let position = 0;
          for (const rows of runs) {
            const end = position + rows;
            await program.write('q', q.subarray(position * width, end * width));
            await program.write('k', k.subarray(position * kvWidth, end * kvWidth));
            await program.write('v', v.subarray(position * kvWidth, end * kvWidth));
            await program.run({ rows, position, logits: 'none' });
            const y = await program.read('y');
            for (let row = 0; row < rows; row++)
              for (let head = 0; head < group * kvHeadCount; head++)
                attend(geometry, [q, k, v], position + row, head).forEach(({ value, bound }, d) => {
                  const actual = y[row * width + head * headSize + d]!;
                  if (!(Math.abs(actual - value) <= bound))
                    expect.fail(
                      `position ${position + row}, head ${head}: ${actual}, exact ${value} +- ${bound}`,
                    );
                });
            position = end;
          }
          await program.dispose();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('mixes more positions than one block, and overwrites positions that are run again', async () => {
    const geometry = { group: 3, kvHeadCount: 1, headSize: 8, window: null };
    const length = 150;
    const random = createRandom(7);
    const draw = (count: number) => Float32Array.from({ length: count }, () => drawNormal(random));
    const [q, k, v] = [draw(length * 24), draw(length * 8), draw(length * 8)];
    const program = await backend.prepare(makePlan(geometry), async () => expect.fail('no weights'), {
      capacity: length,
      maxRows: length,
    });
    const runRows = async (first: number, end: number, keys: Float32Array) => {
      await program.write('q', q.subarray(first * 24, end * 24));
      await program.write('k', keys.subarray(first * 8, end * 8));
      await program.write('v', v.subarray(first * 8, end * 8));
      await program.run({ rows: end - first, position: first, logits: 'none' });
      return program.read('y');
    };
    await runRows(0, length, draw(length * 8));
    const y = await runRows(0, length, k);
    for (const at of [0, 63, 64, 65, 149])
      for (let head = 0; head < 3; head++)
        attend(geometry, [q, k, v], at, head).forEach(({ value, bound }, d) => {
          expect(Math.abs(y[at * 24 + head * 8 + d]! - value)).toBeLessThanOrEqual(bound);
        });
    expect(await runRows(149, 150, k)).toEqual(y.slice(149 * 24));
    await program.dispose();
  });
});
