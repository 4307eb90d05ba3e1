// The ladder on the emulator: all forms for one row of codes give the same products. (Its times mean nothing there.)
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
      const rungs = climbLadder(device, rows, columns, [1], FORMS, 1 << 16);
      expect(rungs.map(({ form }) => form)).toEqual(FORMS);
      // Sums of groups are exact; f32 sums of at most 75 groups in another order.
      expect(rungs[1]!.difference).toBeLessThan(75 * 2 ** -23);
    } finally {
      device.dispose();
    }
  });
});
