import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { ropeFrequencies } from './rope.ts';

const plain = { headSize: 64, ropeTheta: 500_000, ropeScaling: null };

describe('ropeFrequencies', () => {
  it('is theta^(-2i/headSize)', () => {
    const frequencies = ropeFrequencies({ headSize: 4, ropeTheta: 10_000, ropeScaling: null });
    expect([...frequencies]).toEqual([1, 0.01]);
    expect(ropeFrequencies(plain)).toHaveLength(32);
  });

  it('divides all by the factor under linear scaling', () => {
    const scaled = ropeFrequencies({ ...plain, ropeScaling: { kind: 'linear', factor: 4 } });
    expect([...scaled]).toEqual([...ropeFrequencies(plain)].map((frequency) => frequency / 4));
  });

  it('keeps high, divides low and blends middle frequencies under llama3 scaling', () => {
    const ropeScaling = {
      kind: 'llama3',
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    } as const;
    const before = ropeFrequencies(plain);
    const after = ropeFrequencies({ ...plain, ropeScaling });
    // By wavelength, as the published description puts it.
    for (let i = 0; i < 32; i++) {
      const wavelength = (2 * Math.PI) / before[i]!;
      if (wavelength < 8192 / 4) expect(after[i]).toBe(before[i]);
      else if (wavelength > 8192) expect(after[i]).toBe(before[i]! / 8);
      else {
        const smooth = (8192 / wavelength - 1) / 3;
        expect(after[i]).toBeCloseTo((1 - smooth) * (before[i]! / 8) + smooth * before[i]!, 14);
        expect(after[i]).toBeLessThan(before[i]!);
        expect(after[i]).toBeGreaterThan(before[i]! / 8);
      }
    }
    expect(after[0]).toBe(before[0]);
    expect(after[31]).toBe(before[31]! / 8);
  });

  it('refuses values that define no frequencies', () => {
    const invalid = [
      { ...plain, headSize: 7 },
      { ...plain, ropeTheta: 0 },
      { ...plain, ropeScaling: { kind: 'linear', factor: 0 } as const },
      {
        ...plain,
        ropeScaling: {
          kind: 'llama3',
          factor: 8,
          lowFrequencyFactor: 4,
          highFrequencyFactor: 4,
          originalContextLength: 8192,
        } as const,
      },
    ];
    for (const architecture of invalid) {
      expect(() => ropeFrequencies(architecture)).toThrow(DuobitError);
      expect(() => ropeFrequencies(architecture)).toThrow(/must be|needs/);
    }
  });
});
