// Attention on the emulator. Of many rows (kernels/attention-many.cu): what is not a number shows in the rows that see it, and in no
// others, though they share a tile with it; the suite does not ask for that of backends that multiply by a weight of 0. Of one row
// (kernels/attention-one.cu): positions in several parts, which the suite's contexts are too short for.
import { type ExecutionPlan, KV_PRECISIONS } from '@duobit/core';
import { createRandom, drawActivations } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createCudaBackend } from './backend.ts';
import { buildEmulator } from './testing/emulator.ts';

const { path: library, reason } = buildEmulator();

const heads = { headCount: 2, kvHeadCount: 1, headSize: 40 };
const WIDTHS = { q: 80, k: 40, v: 40 };

const planOf = (window: number | null): ExecutionPlan => ({
  slots: {
    q: { kind: 'f32', width: WIDTHS.q },
    k: { kind: 'f32', width: WIDTHS.k },
    v: { kind: 'f32', width: WIDTHS.v },
    y: { kind: 'f32', width: WIDTHS.q },
  },
  operations: [{ op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 0, heads, window }],
  cacheLayers: 1,
  heads,
  ropeFrequencies: new Float64Array(20),
});

/** Position, rows, position whose key or value is not a number. The second run ends before that of the first, which the cache holds. */
const RUNS: readonly (readonly [position: number, rows: number, nan: number])[] = [
  [0, 90, 66],
  [30, 25, 66],
  [55, 45, 59],
];

describe.skipIf(reason !== null)(`attention of many rows${reason === null ? '' : `: ${reason}`}`, () => {
  it.each(
    KV_PRECISIONS.flatMap((kv) =>
      (['k', 'v'] as const).flatMap((slot) => ([null, 20] as const).map((window) => ({ kv, slot, window }))),
    ),
  )(
    'shows what is not a number to rows that see it: cache of $kv, slot $slot, window $window',
    async ({ kv, slot, window }) => {
      const draw = createRandom(48);
      const backend = await createCudaBackend({ kv, library });
      const program = await backend.prepare(
        planOf(window),
        async () => {
          throw new Error('there are no weights');
        },
        { capacity: 100, maxRows: 90 },
      );
      for (const [position, rows, nan] of RUNS) {
        for (const [name, width] of Object.entries(WIDTHS)) {
          const values = drawActivations(draw, rows * width);
          if (name === slot) values.fill(Number.NaN, (nan - position) * width, (nan - position + 1) * width);
          await program.write(name, values);
        }
        await program.run({ sequence: 0, position, rows, logits: 'none' });
        const values = await program.read('y');
        const broken = Array.from(
          { length: rows },
          (_, row) => values.subarray(row * WIDTHS.q, (row + 1) * WIDTHS.q).filter(Number.isNaN).length,
        );
        const sees = (at: number) => at >= nan && (window === null || at < nan + window);
        expect(broken).toEqual(broken.map((_, row) => (sees(position + row) ? WIDTHS.q : 0)));
      }
      await program.dispose();
      await backend.dispose();
    },
    600_000,
  );
});

describe.skipIf(reason !== null)(
  `attention of one row in parts${reason === null ? '' : `: ${reason}`}`,
  () => {
    it.each(KV_PRECISIONS.flatMap((kv) => ([null, 530] as const).map((window) => ({ kv, window }))))(
      'is what two rows at once give: cache of $kv, window $window',
      async ({ kv, window }) => {
        const draw = createRandom(49);
        const inputs = Object.entries(WIDTHS).map(
          ([name, width]) => [name, width, drawActivations(draw, 542 * width)] as const,
        );
        const backend = await createCudaBackend({ kv, library });
        const attend = async (rowsOfRuns: readonly number[]): Promise<number[]> => {
          const program = await backend.prepare(
            planOf(window),
            async () => {
              throw new Error('there are no weights');
            },
            { capacity: 600, maxRows: 540 },
          );
          const results: number[] = [];
          let position = 0;
          for (const rows of rowsOfRuns) {
            for (const [name, width, values] of inputs)
              await program.write(name, values.slice(position * width, (position + rows) * width));
            await program.run({ sequence: 0, position, rows, logits: 'none' });
            if (position > 0) results.push(...(await program.read('y')));
            position += rows;
          }
          await program.dispose();
          return results;
        };
        const [parts, together] = [await attend([540, 1, 1]), await attend([540, 2])];
        await backend.dispose();
        // Weighted means of values of about 1, of 542 f32 sums in two orders.
        const most = Math.max(...parts.map((value, i) => Math.abs(value - together[i]!)));
        expect(parts.length).toBe(2 * WIDTHS.q);
        expect(most).toBeLessThan(542 * 2 ** -24);
      },
      600_000,
    );
  },
);
