// The ladder on the emulator: every form gives the same products, of one row and of several. (Its times mean nothing there.)
import { describe, expect, it } from 'vitest';
import { climbLadder } from './bench.ts';
import { Device } from './device.ts';
import type { W11Form } from './products.ts';
import { buildEmulator } from './testing/emulator.ts';

const { path: library, reason } = buildEmulator();
const FORMS: readonly W11Form[] = ['mma', 'one'];

describe.skipIf(reason !== null)(`the ladder${reason === null ? '' : `: ${reason}`}`, () => {
  // Odd numbers of units of 128 columns, the last not whole, and more steps than are loaded ahead.
  it.each([
    [33, 128],
    [50, 1900],
    [17, 9600],
  ])('forms agree, %i x %i', (rows, columns) => {
    const device = new Device(library);
    try {
      const rungs = climbLadder(device, rows, columns, [1, 3], FORMS, 1 << 16);
      expect(rungs.filter(({ tokens }) => tokens === 1).map(({ form }) => form)).toEqual(FORMS);
      // Sums of groups are exact; f32 sums of at most 75 groups in another order.
      for (const { difference } of rungs) expect(difference ?? 0).toBeLessThan(75 * 2 ** -23);
    } finally {
      device.dispose();
    }
  });
});
