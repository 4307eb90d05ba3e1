// Every method through the one path that packs and verifies: nearest codes, ranges, short groups, row slices.
import { DuobitError, decodeTensor, f16ToF32 } from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeTensor } from '../tensor-encoding.ts';
import { makeWeights } from '../testing/memory-checkpoint.ts';
import { createDenseMethod } from './dense-method.ts';
import { createIntegerMethod } from './integer-method.ts';
import type { RowBlock, TensorMethod } from './tensor-method.ts';
import { createW11Method } from './w11-method.ts';

function makeBlock(values: Float32Array, columns: number, importance?: Float64Array): RowBlock {
  return {
    name: 'test.weight',
    firstRow: 10,
    rows: values.length / columns,
    columns,
    values,
    importance: importance ?? new Float64Array(columns).fill(1),
  };
}

function encodeWhole(method: TensorMethod, values: Float32Array<ArrayBuffer>, shape: readonly number[]) {
  const columns = shape.at(-1)!;
  const source = {
    name: 'memory',
    readRows: async (_: string, start: number, end: number) => values.slice(start * columns, end * columns),
  };
  return encodeTensor(source, { name: 'test.weight', shape }, method, () => {});
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
}

/** The four stored levels of one (row, group), by code m * 2 + s. */
function storedLevels(planes: ReturnType<TensorMethod['encode']>['planes'], group: number): number[] {
  const alpha = new Uint16Array(planes.alpha!.buffer);
  const mu = planes.mu ? new Uint16Array(planes.mu.buffer) : null;
  return [0, 1].flatMap((m) => {
    const middle = mu ? f16ToF32(mu[2 * group + m]!) : 0;
    const half = f16ToF32(alpha[2 * group + m]!);
    return [middle - half, middle + half];
  });
}

describe('createW11Method', () => {
  it.each([
    [128, true],
    [128, false],
    [32, true],
  ])('gives every weight the nearest stored level (group %i, offsets %s)', (groupSize, offsets) => {
    const columns = 172;
    const values = makeWeights(5 * columns, 3);
    const { planes, approximation } = createW11Method({ groupSize, offsets }).encode(
      makeBlock(values, columns),
    );
    const groups = Math.ceil(columns / groupSize);
    values.forEach((value, i) => {
      const row = Math.floor(i / columns);
      const levels = storedLevels(planes, row * groups + Math.floor((i % columns) / groupSize));
      const nearest = Math.min(...levels.map((level) => Math.abs(value - level)));
      // The approximation is a level rounded to f32.
      expect(Math.abs(value - approximation[i]!)).toBeLessThanOrEqual(nearest * (1 + 2 ** -22) + 2 ** -30);
    });
  });

  it('puts the inner levels under bitmap 0', () => {
    const { planes } = createW11Method({ groupSize: 128, offsets: true }).encode(
      makeBlock(makeWeights(8 * 256, 5), 256),
    );
    for (let group = 0; group < 16; group++) {
      const [innerLow, innerHigh, outerLow, outerHigh] = storedLevels(planes, group);
      expect(outerLow).toBeLessThan(innerLow!);
      expect(innerLow).toBeLessThan(innerHigh!);
      expect(innerHigh).toBeLessThan(outerHigh!);
    }
  });

  it('has about the error of four optimal levels on normal weights, and symmetric levels cost more', () => {
    const values = makeWeights(64 * 512, 7);
    const squares = squaredError(values, new Float32Array(values.length));
    const relative = (offsets: boolean) => {
      const method = createW11Method({ groupSize: 128, offsets });
      return squaredError(values, method.encode(makeBlock(values, 512)).approximation) / squares;
    };
    // The Lloyd-Max quantizer of a normal source with 4 levels has 0.1175; a group of 128 can fit itself closer.
    expect(relative(true)).toBeGreaterThan(0.08);
    expect(relative(true)).toBeLessThan(0.1175);
    expect(relative(false)).toBeGreaterThan(relative(true));
  });

  it('lowers the error of the columns that matter', () => {
    const columns = 128;
    const values = makeWeights(32 * columns, 11);
    const importance = new Float64Array(columns).map((_, i) => (i % 8 === 0 ? 100 : 1));
    const method = createW11Method({ groupSize: 128, offsets: true });
    const weighted = method.encode(makeBlock(values, columns, importance)).approximation;
    const uniform = method.encode(makeBlock(values, columns)).approximation;
    const loss = (w: Float32Array) =>
      values.reduce((sum, value, i) => sum + importance[i % columns]! * (value - w[i]!) ** 2, 0);
    expect(loss(weighted)).toBeLessThan(0.9 * loss(uniform));
    expect(squaredError(values, weighted)).toBeGreaterThan(squaredError(values, uniform));
  });

  it('never errs more than any random assignment to its own levels', () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 70 }),
        fc.boolean(),
        fc.integer(),
        (list, offsets, seed) => {
          const values = Float32Array.from(list);
          const block = makeBlock(values, values.length);
          const { planes, approximation } = createW11Method({ groupSize: 32, offsets }).encode(block);
          const random = values.map((_, i) => {
            const levels = storedLevels(planes, Math.floor(i / 32));
            return levels[(Math.imul(i + 1, 2_654_435_761 ^ seed) >>> 9) & 3]!;
          });
          expect(squaredError(values, approximation)).toBeLessThanOrEqual(
            squaredError(values, random) * (1 + 1e-6) + 1e-12,
          );
        },
      ),
    );
  });

  it.each([
    ['zeros', new Float32Array(40)],
    ['one value', new Float32Array(40).fill(0.375)],
    ['two values', new Float32Array(40).map((_, i) => (i % 3 === 0 ? -0.5 : 0.25))],
    ['four values', new Float32Array(40).map((_, i) => [-1, -0.25, 0.5, 2][i % 4]!)],
  ])('keeps %s exactly', (_, values) => {
    const { approximation } = createW11Method({ groupSize: 32, offsets: true }).encode(makeBlock(values, 40));
    expect([...approximation].map((value) => value + 0)).toEqual([...values]);
  });

  it('takes denormal weights without producing anything strange', () => {
    const values = new Float32Array(32).map((_, i) => (i - 16) * 1e-41);
    const { approximation } = createW11Method({ groupSize: 32, offsets: true }).encode(makeBlock(values, 32));
    expect([...approximation].map((value) => value + 0)).toEqual(new Array(32).fill(0));
  });

  it('names tensor and row when weights exceed f16', () => {
    const values = makeWeights(3 * 64, 1);
    values[2 * 64 + 40] = 1e6;
    values[2 * 64 + 41] = 1e6;
    const encode = () => createW11Method({ groupSize: 32, offsets: true }).encode(makeBlock(values, 64));
    expect(encode).toThrow(DuobitError);
    expect(encode).toThrow(/row 12 from column 32/);
  });
});

describe('createIntegerMethod', () => {
  it('keeps each value within half a step at eight bits', () => {
    const columns = 100;
    const values = makeWeights(7 * columns, 2);
    const { planes, approximation } = createIntegerMethod({ kind: 'int8', groupSize: 64 }).encode(
      makeBlock(values, columns),
    );
    const scales = new Uint16Array(planes.scale!.buffer);
    values.forEach((value, i) => {
      const scale = f16ToF32(scales[Math.floor(i / columns) * 2 + Math.floor((i % columns) / 64)]!);
      // Rounding the scale to f16 can clip the largest value by up to 127 * 2^-12 steps.
      expect(Math.abs(value - approximation[i]!)).toBeLessThanOrEqual(scale * 0.54);
    });
  });

  it('beats plain max scaling at four bits', () => {
    const columns = 64;
    const values = makeWeights(50 * columns, 4);
    const { approximation } = createIntegerMethod({ kind: 'int4', groupSize: 32 }).encode(
      makeBlock(values, columns),
    );
    const plain = values.map((value, i) => {
      const start = Math.floor(i / 32) * 32;
      const scale = Math.max(...values.slice(start, start + 32).map(Math.abs)) / 7;
      return Math.round(value / scale) * scale;
    });
    expect(squaredError(values, approximation)).toBeLessThan(squaredError(values, plain));
  });

  it.each(['int8', 'int4'] as const)('handles zeros, tiny and huge values as %s', (kind) => {
    const method = createIntegerMethod({ kind, groupSize: 32 });
    expect(method.encode(makeBlock(new Float32Array(32), 32)).approximation).toEqual(new Float32Array(32));
    const tiny = new Float32Array(32).fill(1e-40);
    expect(method.encode(makeBlock(tiny, 32)).approximation).toEqual(new Float32Array(32));
    const huge = new Float32Array(32).fill(1e20);
    expect(() => method.encode(makeBlock(huge, 32))).toThrow(/row 10 holds a value of magnitude/);
  });
});

describe('createDenseMethod', () => {
  it('keeps f32 and rounds to f16', () => {
    const values = Float32Array.of(1, 0.1, -65504, 1e-9);
    expect(createDenseMethod('f32').encode(makeBlock(values, 4)).approximation).toEqual(values);
    expect([...createDenseMethod('f16').encode(makeBlock(values, 4)).approximation]).toEqual([
      1, 0.0999755859375, -65504, 0,
    ]);
    expect(() => createDenseMethod('f16').encode(makeBlock(Float32Array.of(1, 70_000), 2))).toThrow(
      /row 10 holds 70000/,
    );
  });
});

describe('encodeTensor', () => {
  const methods: [string, TensorMethod][] = [
    ['w11', createW11Method({ groupSize: 128, offsets: true })],
    ['int8', createIntegerMethod({ kind: 'int8', groupSize: 64 })],
    ['int4', createIntegerMethod({ kind: 'int4', groupSize: 32 })],
    ['f16', createDenseMethod('f16')],
  ];

  it.each(methods)('gives the same planes in slices as at once (%s)', async (_, method) => {
    // More than 2^20 weights with a column count that divides nothing.
    const shape = [1900, 577];
    const values = makeWeights(shape[0]! * shape[1]!, 9);
    const sliced = await encodeTensor(
      { name: 'memory', readRows: async (__, a, b) => values.slice(a * 577, b * 577) },
      { name: 'test.weight', shape },
      method,
      () => {},
    );
    const whole = method.encode({ ...makeBlock(values, 577), firstRow: 0 });
    expect(Object.keys(sliced.planes)).toEqual(Object.keys(whole.planes));
    for (const [role, bytes] of Object.entries(whole.planes)) {
      expect(Buffer.compare(sliced.planes[role as keyof typeof sliced.planes]!, bytes)).toBe(0);
    }
  });

  it.each([
    [1, 1],
    [1, 2],
    [17, 33],
    [192, 172],
    [3, 576],
    [2, 256],
  ])('decodes to what the fit intended, shape %i x %i', async (rows, columns) => {
    const values = makeWeights(rows * columns, rows + columns);
    for (const [, method] of methods) {
      const { planes, sums } = await encodeWhole(method, values, [rows, columns]);
      const info = {
        name: 'test.weight',
        shape: [rows, columns],
        encoding: method.encoding,
        activation: null,
      };
      expect(squaredError(decodeTensor({ info, planes }), values)).toBeCloseTo(sums.error, 10);
    }
  });

  it('names the place of a NaN', async () => {
    const values = makeWeights(40 * 50, 1);
    values[31 * 50 + 7] = Number.NaN;
    await expect(encodeWhole(methods[0]![1], values, [40, 50])).rejects.toMatchObject({
      code: 'QUANTIZE_NOT_FINITE',
      where: 'test.weight',
      message: expect.stringContaining('row 31, column 7 is NaN'),
    });
  });

  it('refuses planes that do not decode to what the method claims', async () => {
    const method = createW11Method({ groupSize: 32, offsets: true });
    const liar: TensorMethod = {
      encoding: method.encoding,
      encode(block) {
        const { planes, approximation } = method.encode(block);
        const sign = planes.sign!.slice();
        sign[5]! ^= 1;
        return { planes: { ...planes, sign }, approximation };
      },
    };
    await expect(encodeWhole(liar, makeWeights(4 * 64, 1), [4, 64])).rejects.toMatchObject({
      code: 'QUANTIZE_VERIFY',
      message: expect.stringContaining('row 0, column 40'),
    });
  });
});
