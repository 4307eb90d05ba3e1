// Products of many rows (kernels/w11-many.cu) on the emulator: equal to those of few rows, bit for bit, where all sums are exact.
import { describe, expect, it } from 'vitest';
import { Device } from './device.ts';
import { chooseW11 } from './products.ts';
import { buildEmulator } from './testing/emulator.ts';
import { MANY_CASES, manyEqualFew, multiplyRows } from './testing/many-rows.ts';

const { path: library, reason } = buildEmulator();
const { path: watched, reason: unwatched } = buildEmulator(true);

describe.skipIf(reason !== null)(`products of many rows${reason === null ? '' : `: ${reason}`}`, () => {
  it.each(MANY_CASES)('are those of few, groups of %i, offsets %s, %j', (...each) => {
    const device = new Device(library);
    try {
      expect(manyEqualFew(device, each)).toBe(true);
    } finally {
      device.dispose();
    }
  });

  it('are taken where there are blocks enough', () => {
    const device = new Device(library);
    try {
      const name = (groupSize: number, tiles: number, rows: number) =>
        chooseW11(device, 'mma', { groupSize, offsets: false, columns: 128 }, tiles, rows).name;
      const tiles = 8 * device.facts.multiprocessors;
      expect(name(128, tiles, 64)).toBe('w11_many64_g128');
      expect(name(128, tiles / 2, 64)).toBe('w11_many32_g128');
      expect(name(128, tiles / 4, 64)).toBe('w11_mma16_g128');
      expect(name(256, tiles, 64)).toBe('w11_many32_g256');
      expect(name(128, tiles, 17)).toBe('w11_many32_g128');
      expect(name(128, tiles, 16)).toBe('w11_mma16_g128');
    } finally {
      device.dispose();
    }
  });
});

describe.skipIf(unwatched !== null)(
  `products of many rows, watched${unwatched ? `: ${unwatched}` : ''}`,
  () => {
    it.each([
      [32, true],
      [128, true],
      [256, false],
    ])('groups of %i: no races', (groupSize, offsets) => {
      const device = new Device(watched);
      try {
        expect(() => multiplyRows(device, 32, groupSize, offsets, [[50], 700, 33])).not.toThrow();
      } finally {
        device.dispose();
      }
    });
  },
);
