// The encodings with planes that depend on each other: packed, decoded, written and refused.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, makePlanes, makeSpec, makeWeights } from '../test/sample.ts';
import {
  createContainerWriter,
  createMemorySink,
  type DuobitError,
  decodeTensor,
  type Encoding,
  encodedPlaneLengths,
  f16ToF32,
  f32ToF16,
  type InputRotation,
  type Planes,
  packPartialBinary,
  packW11,
  packW11Outlier,
} from './index.ts';
import { checkPlaneRelations } from './plane-relations.ts';

const decode = (encoding: Encoding, shape: number[], planes: Planes) =>
  decodeTensor({ info: { name: 't', shape, encoding, activation: null }, planes });
const round = (value: number) => f16ToF32(f32ToF16(value));

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return (error as DuobitError).code;
  }
  return 'none';
}

const matrix = fc.record({
  rows: fc.integer({ min: 1, max: 7 }),
  columns: fc.integer({ min: 1, max: 100 }),
  groupSize: fc.constantFrom(32, 64, 128, 256),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

describe('w11-outlier', () => {
  const small = {
    rows: 2,
    columns: 3,
    groupSize: 32,
    sign: Uint8Array.of(1, 1, 0, 0, 1, 1),
    bitmap: Uint8Array.of(1, 1, 0, 0, 0, 1),
    alpha: Float32Array.of(1, 2, 3, 4),
    mu: null,
    outlierIndex: Uint32Array.of(1),
    outlierCodes: Int8Array.of(-127, 5),
    outlierScale: Float32Array.of(0.5, -2),
  };

  it('is the planes of w11, without bits in outlier columns, and the outliers', () => {
    const planes = packW11Outlier(small);
    expect([...planes.sign!]).toEqual([1, 0, 0, 0, 4, 0, 0, 0]);
    expect([...planes.bitmap!]).toEqual([1, 0, 0, 0, 4, 0, 0, 0]);
    expect([...planes['outlier-index']!]).toEqual([1, 0, 0, 0]);
    expect([...planes['outlier-codes']!]).toEqual([0x81, 0, 0, 0, 5, 0, 0, 0]);
    expect([...planes['outlier-scale']!]).toEqual([0x00, 0x38, 0x00, 0xc0]);
    const encoding = { kind: 'w11-outlier', groupSize: 32, offsets: false, outlierColumns: 1 } as const;
    expect([...decode(encoding, [2, 3], planes)]).toEqual([2, -63.5, -1, -3, -10, 4]);
  });

  it('decodes as w11 outside the outlier columns', () => {
    fc.assert(
      fc.property(matrix, fc.boolean(), fc.double({ min: 0, max: 1, noNaN: true }), (grid, offsets, part) => {
        const { rows, columns, groupSize, seed } = grid;
        const outlierColumns = 1 + Math.floor(part * (columns - 1));
        const encoding = { kind: 'w11-outlier', groupSize, offsets, outlierColumns } as const;
        const planes = makePlanes({ encoding, shape: [rows, columns] }, createRandom(seed));
        for (const [role, length] of Object.entries(encodedPlaneLengths(encoding, [rows, columns]))) {
          expect(planes[role as keyof Planes]!.length).toBe(length);
        }
        const values = decode(encoding, [rows, columns], planes);
        const plain = decode({ kind: 'w11', groupSize, offsets }, [rows, columns], planes);
        const index = new Uint32Array(planes['outlier-index']!.buffer);
        const scale = new Uint16Array(planes['outlier-scale']!.buffer);
        const codes = new Int8Array(planes['outlier-codes']!.buffer);
        const expected = plain.slice();
        for (let row = 0; row < rows; row++) {
          for (const [c, column] of index.entries()) {
            const code = codes[row * 4 * Math.ceil(outlierColumns / 4) + c]!;
            expected[row * columns + column] = f16ToF32(scale[row]!) * code;
          }
        }
        expect(values).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses columns that do not ascend or exist, and codes and scales that do not fit', () => {
    expect(codeOf(() => packW11Outlier({ ...small, outlierIndex: Uint32Array.of(3) }))).toBe('OUTLIER_INDEX');
    const two = { outlierCodes: new Int8Array(4) };
    for (const index of [
      [1, 1],
      [2, 0],
    ]) {
      const outlierIndex = Uint32Array.from(index);
      expect(codeOf(() => packW11Outlier({ ...small, ...two, outlierIndex }))).toBe('OUTLIER_INDEX');
    }
    expect(codeOf(() => packW11Outlier({ ...small, ...two }))).toBe('PACK_LENGTH');
    expect(codeOf(() => packW11Outlier({ ...small, outlierCodes: Int8Array.of(-128, 0) }))).toBe(
      'CODE_RANGE',
    );
    const outlierScale = Float32Array.of(1, 1e9);
    expect(codeOf(() => packW11Outlier({ ...small, outlierScale }))).toBe('VALUE_NOT_FINITE');
    const planes = packW11Outlier(small);
    planes['outlier-index']!.set([3]);
    const encoding = { kind: 'w11-outlier', groupSize: 32, offsets: false, outlierColumns: 1 } as const;
    expect(codeOf(() => decode(encoding, [2, 3], planes))).toBe('OUTLIER_INDEX');
    expect(codeOf(() => encodedPlaneLengths({ ...encoding, outlierColumns: 4 }, [2, 3]))).toBe(
      'ENCODING_PARAMETERS',
    );
  });
});

describe('partial-binary', () => {
  const small = {
    rows: 2,
    columns: 3,
    groupSize: 32,
    sign: Uint8Array.of(1, 1, 0, 0, 1, 1),
    alpha: Float32Array.of(1, 2),
    mu: Float32Array.of(0.5, 0),
    salient: Uint8Array.of(0, 1, 0, 1, 0, 1),
    salientCodes: Uint8Array.of(9, 255, 9, 0, 9, 3),
    salientScale: Float32Array.of(0.5, -1),
    salientMinimum: Float32Array.of(-64, 2),
  };
  const encoding = { kind: 'partial-binary', groupSize: 32, salientCount: 3 } as const;

  it('is one bit a weight, and eight for those of the mask', () => {
    const planes = packPartialBinary(small);
    expect([...planes.sign!]).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
    expect([...planes['salient-mask']!]).toEqual([2, 0, 0, 0, 5, 0, 0, 0]);
    expect([...planes['salient-codes']!]).toEqual([255, 0, 3, 0]);
    expect([...planes['salient-scale']!]).toEqual([0x00, 0x38, 0x00, 0xd4, 0x00, 0xbc, 0x00, 0x40]);
    expect([...planes['salient-offsets']!]).toEqual([0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]);
    expect([...decode(encoding, [2, 3], planes)]).toEqual([1.5, 63.5, -0.5, 2, 2, -1]);
  });

  it('decodes what was packed', () => {
    fc.assert(
      fc.property(matrix, (grid) => {
        const { rows, columns, groupSize, seed } = grid;
        const random = createRandom(seed);
        const count = rows * columns;
        const groups = Math.ceil(columns / groupSize);
        const bits = () => Uint8Array.from({ length: count }, () => Math.round(random()));
        const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5);
        const input = {
          rows,
          columns,
          groupSize,
          sign: bits(),
          salient: bits(),
          alpha: floats(rows * groups),
          mu: floats(rows * groups),
          salientCodes: Uint8Array.from({ length: count }, () => Math.floor(random() * 256)),
          salientScale: floats(rows),
          salientMinimum: floats(rows),
        };
        input.salient[seed % count] = 1;
        const salientCount = input.salient.reduce((sum, bit) => sum + bit, 0);
        const planes = packPartialBinary(input);
        const values = decode({ kind: 'partial-binary', groupSize, salientCount }, [rows, columns], planes);
        const expected = Float32Array.from(values, (_, i) => {
          const row = Math.floor(i / columns);
          const group = row * groups + Math.floor((i % columns) / groupSize);
          const salient =
            round(input.salientMinimum[row]!) + round(input.salientScale[row]!) * input.salientCodes[i]!;
          const binary = round(input.mu[group]!) + round(input.alpha[group]!) * (2 * input.sign[i]! - 1);
          return input.salient[i] ? salient : binary;
        });
        expect(values).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses lengths and values that do not fit, and planes that contradict each other', () => {
    expect(codeOf(() => packPartialBinary({ ...small, mu: new Float32Array(1) }))).toBe('PACK_LENGTH');
    expect(codeOf(() => packPartialBinary({ ...small, salientScale: new Float32Array(1) }))).toBe(
      'PACK_LENGTH',
    );
    const salientMinimum = Float32Array.of(Number.NaN, 0);
    expect(codeOf(() => packPartialBinary({ ...small, salientMinimum }))).toBe('VALUE_NOT_FINITE');
    expect(codeOf(() => packPartialBinary({ ...small, salient: new Uint8Array(6).fill(2) }))).toBe(
      'CODE_RANGE',
    );
    for (const [role, at] of [
      ['salient-offsets', 4],
      ['salient-offsets', 8],
      ['salient-mask', 4],
      ['salient-mask', 0],
    ] as const) {
      const planes = packPartialBinary(small);
      planes[role]![at]! ^= 2;
      expect(codeOf(() => decode(encoding, [2, 3], planes))).toBe('SALIENT_OFFSETS');
    }
    expect(codeOf(() => decode({ ...encoding, salientCount: 2 }, [2, 3], packPartialBinary(small)))).toBe(
      'SALIENT_OFFSETS',
    );
  });
});

describe('relations of planes', () => {
  const relationOf = async (
    encoding: Encoding,
    shape: number[],
    planes: Planes,
    inputRotation?: InputRotation,
  ) => {
    const problem = await checkPlaneRelations(
      { encoding, shape, inputRotation },
      async (role, offset, length) => planes[role]!.slice(offset, offset + length),
    );
    return problem && `${problem.code} ${problem.message}`;
  };

  it('are right over planes of many pieces, and a wrong bit in any is found', async () => {
    // Rows longer than a piece, and many rows a piece.
    for (const [rows, columns] of [
      [2, 8_500_000],
      [30_000, 300],
    ] as const) {
      const stride = 4 * Math.ceil(columns / 32);
      const columnsOf = [0, columns >> 1, columns - 1];
      const outliers = {
        kind: 'w11-outlier',
        groupSize: 256,
        offsets: false,
        outlierColumns: columnsOf.length,
      } as const;
      const planes: Planes = {
        sign: new Uint8Array(rows * stride),
        bitmap: new Uint8Array(rows * stride),
        'outlier-index': new Uint8Array(Uint32Array.from(columnsOf).buffer),
      };
      planes.sign!.fill(0xff);
      for (let row = 0; row < rows; row++) {
        for (const column of columnsOf) planes.sign![row * stride + (column >> 3)]! &= ~(1 << (column & 7));
      }
      expect(await relationOf(outliers, [rows, columns], planes)).toBeNull();
      planes.sign![(rows - 1) * stride + ((columns - 1) >> 3)]! |= 1 << ((columns - 1) & 7);
      expect(await relationOf(outliers, [rows, columns], planes)).toMatch(
        new RegExp(`OUTLIER_BITS row ${rows - 1} `),
      );
      // Beside a rotation these are bits of other columns; the order of columns is checked all the same.
      expect(await relationOf(outliers, [rows, columns], planes, 'hadamard')).toBeNull();
      planes['outlier-index']!.fill(0);
      expect(await relationOf(outliers, [rows, columns], planes, 'hadamard')).toMatch(/^OUTLIER_INDEX/);

      const salientCount = rows * 2;
      const binary = { kind: 'partial-binary', groupSize: 256, salientCount } as const;
      const salient: Planes = {
        sign: new Uint8Array(rows * stride),
        'salient-mask': new Uint8Array(rows * stride),
        'salient-offsets': new Uint8Array(Uint32Array.from({ length: rows + 1 }, (_, i) => 2 * i).buffer),
      };
      for (let row = 0; row < rows; row++) {
        salient['salient-mask']![row * stride] = 1;
        salient['salient-mask']![row * stride + ((columns - 1) >> 3)]! |= 1 << ((columns - 1) & 7);
      }
      expect(await relationOf(binary, [rows, columns], salient)).toBeNull();
      expect(await relationOf({ ...binary, salientCount: 1 }, [rows, columns], salient)).toMatch(
        /^SALIENT_OFFSETS/,
      );
      salient.sign![(rows - 1) * stride] = 1;
      expect(await relationOf(binary, [rows, columns], salient)).toMatch(
        new RegExp(`SALIENT_BITS row ${rows - 1} `),
      );
    }
  });

  it('are checked by the writer', async () => {
    const spec = makeSpec();
    const weights = makeWeights(spec, 1);
    const name = 'model.layers.1.mlp.gate_proj.weight';
    weights.get(name)!.sign!.fill(0xff, 0, 4);
    const writer = await createContainerWriter(spec, createMemorySink());
    const write = async () => {
      for (const tensor of writer.order) await writer.writeTensor(tensor, weights.get(tensor)!);
    };
    await expect(write()).rejects.toMatchObject({ code: 'OUTLIER_BITS' });
  });

  it('without outliers there is nothing to check', async () => {
    const planes = packW11({
      rows: 1,
      columns: 1,
      groupSize: 32,
      sign: Uint8Array.of(1),
      bitmap: Uint8Array.of(1),
      alpha: Float32Array.of(1, 1),
      mu: null,
    });
    expect(await relationOf({ kind: 'w11', groupSize: 32, offsets: false }, [1, 1], planes)).toBeNull();
  });
});
