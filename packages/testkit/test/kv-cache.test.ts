// What caches hold lies within the bounds that docs/numerics.md "KV cache" gives, and broken values stay visible.
import { cacheValues, createRandom, drawActivations, drawInteger } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';

const LEVELS = { int8: 255, int4: 15 } as const;
const SLACK = { int8: 2 ** -16, int4: 2 ** -20 } as const;
const HEAD = 40;

function rowsOf(seed: number): Float32Array[] {
  const draw = createRandom(seed);
  return Array.from({ length: 200 }, () => {
    const scale = 2 ** drawInteger(draw, -26, 12);
    const offset = drawInteger(draw, -3, 3) * scale * 2 ** drawInteger(draw, 0, 5);
    return drawActivations(draw, 2 * HEAD).map((value) =>
      Math.max(-65504, Math.min(65504, value * scale + offset)),
    );
  });
}

describe('the KV cache', () => {
  it('holds f32 as it is and f16 within half a unit in the last place', () => {
    for (const row of rowsOf(1)) {
      expect(cacheValues(row, 'f32', HEAD).values).toEqual([...row]);
      cacheValues(row, 'f16', HEAD).values.forEach((held, i) => {
        expect(Math.abs(held - row[i]!)).toBeLessThanOrEqual(2 ** -11 * Math.abs(row[i]!) + 2 ** -25);
      });
    }
  });

  it.each(['int8', 'int4'] as const)(
    'holds %s within half a step and the rounding of offset and step',
    (kv) => {
      for (const row of rowsOf(2)) {
        const { values } = cacheValues(row, kv, HEAD);
        for (const from of [0, 32, HEAD, HEAD + 32]) {
          const group = row.subarray(from, Math.min(from + 32, from < HEAD ? HEAD : 2 * HEAD));
          const [mn, mx] = [Math.min(...group), Math.max(...group)];
          const range = mx - mn;
          const bound =
            range / (2 * LEVELS[kv]) + 2 ** -10 * (Math.max(Math.abs(mn), Math.abs(mx)) + range) + SLACK[kv];
          group.forEach((value, i) => {
            expect(Math.abs(values[from + i]! - value)).toBeLessThanOrEqual(bound);
          });
        }
      }
    },
  );

  it.each(['f16', 'int8', 'int4'] as const)(
    '%s limits large values, keeps NaN, and turns infinite ones into NaN',
    (kv) => {
      const held = cacheValues(
        Float32Array.of(1e6, 1e6, -1e6, -1e6, Number.NaN, 1, Infinity, 2),
        kv,
        2,
      ).values;
      expect(held.slice(0, 4)).toEqual([65504, 65504, -65504, -65504]);
      expect(held[4]).toBeNaN();
      expect(held[6]).toBeNaN();
    },
  );
});
