// What docs/format.md shows: its worked examples are decoded, and rules that no file of the corpus can show are tried.
import { readFileSync } from 'node:fs';
import {
  type ActivationQuantizer,
  activationLadder,
  contentDigest,
  createMemorySource,
  DuobitError,
  decodeActivations,
  decodeLayerWeights,
  decodeTensor,
  f16ToF32,
  openContainer,
  type PlaneRole,
  quantizeActivations,
  rotateInput,
  undoInputRotation,
  validateContainer,
} from '@duobit/format';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldsToEncoding } from '../src/encodings.ts';
import { EncodingId } from '../src/generated/duobit/encoding-id.ts';
import { forgeData } from './forge.ts';
import { writeSample } from './sample.ts';

const PAGE = readFileSync(new URL('../../../docs/format.md', import.meta.url), 'utf8');

/** One fenced block: "encoding w11, shape 1 33, group_size 32", planes in hexadecimal, "values row,column=value …". */
function parseExample(block: string) {
  const fields = new Map<string, number[]>();
  const [first = '', ...lines] = block.trim().split('\n');
  const [, name = ''] = /^encoding (\w+)/.exec(first) ?? [];
  for (const part of first.split(', ').slice(1)) {
    const [key = '', ...numbers] = part.split(' ');
    fields.set(key, numbers.map(Number));
  }
  const planes: Partial<Record<PlaneRole, Uint8Array<ArrayBuffer>>> = {};
  const values: { row: number; column: number; value: number }[] = [];
  for (const line of lines) {
    const [key = '', ...parts] = line.split(/\s+/);
    if (key === 'values') {
      for (const part of parts) {
        const [, row, column, value] = /^(\d+),(\d+)=(.+)$/.exec(part)!;
        values.push({ row: Number(row), column: Number(column), value: Number(value) });
      }
    } else {
      planes[key.replaceAll('_', '-') as PlaneRole] = Uint8Array.from(parts, (byte) =>
        Number.parseInt(byte, 16),
      );
    }
  }
  const encoding = fieldsToEncoding({
    id: EncodingId[name as keyof typeof EncodingId],
    groupSize: fields.get('group_size')?.[0] ?? 0,
    flags: fields.get('flags')?.[0] ?? 0,
    outlierColumns: fields.get('outlier_columns')?.[0] ?? 0,
    salientCount: fields.get('salient_count')?.[0] ?? 0,
  })!;
  return { title: first, name, shape: fields.get('shape')!, encoding, planes, values };
}

const examples = [...PAGE.matchAll(/^```example\n([\s\S]*?)^```$/gm)].map(([, block]) =>
  parseExample(block!),
);

describe('worked examples of encodings', () => {
  it('are there for every encoding', () => {
    const names = new Set(examples.map(({ name }) => name));
    const known = Object.keys(EncodingId).filter((key) => Number.isNaN(Number(key)) && key !== 'unspecified');
    expect([...names].sort()).toEqual(known.sort());
  });

  it.each(examples)('$title', ({ shape, encoding, planes, values }) => {
    const decoded = decodeTensor({ info: { name: 'example', shape, encoding, activation: null }, planes });
    const columns = shape[1]!;
    expect(values.length).toBeGreaterThan(3);
    for (const { row, column, value } of values)
      expect([row, column, decoded[row * columns + column]]).toEqual([row, column, value]);
  });
});

const quantizer = (change: Partial<ActivationQuantizer> = {}): ActivationQuantizer => ({
  bits: 4,
  clipLow: 1,
  clipHigh: 1,
  knee: null,
  planeScales: null,
  ...change,
});

describe('activation quantizers [ACT-7]', () => {
  it('the example with a knee [ACT-8]', () => {
    const knee = quantizer({ knee: { code: 4, slopeRatio: 3 } });
    expect(activationLadder(knee)).toEqual([0, 1, 2, 3, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37]);
    const row = quantizeActivations(Float32Array.of(0, 0.5, 4, 5.5, 37), knee);
    expect(row).toEqual({ codes: Uint8Array.of(0, 0, 4, 4, 15), low: 0, step: 1 });
    expect(decodeActivations(row, knee)).toEqual(Float32Array.of(0, 0, 4, 4, 37));
  });

  it('without refinements a code is the quotient, rounded half to even and limited', () => {
    const floats = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
    fc.assert(
      fc.property(
        fc.array(floats, { minLength: 1, maxLength: 40 }),
        fc.constantFrom(0.5, 0.9, 1),
        (values, clip) => {
          const x = Float32Array.from(values);
          const { codes, low, step } = quantizeActivations(x, quantizer({ clipLow: clip, clipHigh: clip }));
          for (const [k, value] of x.entries()) {
            if (step === 0) expect(codes[k]).toBe(0);
            else {
              const t = Math.fround(Math.fround(value - low) / step);
              const floor = Math.floor(t);
              const even = t - floor === 0.5 ? floor + (Math.abs(floor) % 2) : Math.round(t);
              expect(codes[k]).toBe(Math.min(15, Math.max(0, even)));
            }
          }
        },
      ),
    );
  });

  it('with scales a code is one of the nearest, the even one of two', () => {
    const equal = quantizer({ planeScales: [1, 1, 2, 4] });
    expect(activationLadder(equal).slice(0, 6)).toEqual([0, 1, 1, 2, 2, 3]);
    const { codes } = quantizeActivations(Float32Array.of(0, 1, 2, 3, 0.5, 8), equal);
    expect([...codes]).toEqual([0, 2, 4, 6, 0, 15]);
  });

  it('a constant row has code 0 and keeps its value; a broken row decodes to NaN', () => {
    const plain = quantizer();
    const constant = quantizeActivations(Float32Array.of(2.5, 2.5), plain);
    expect(decodeActivations(constant, plain)).toEqual(Float32Array.of(2.5, 2.5));
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const broken = quantizeActivations(Float32Array.of(1, value), plain);
      expect([...decodeActivations(broken, plain)]).toEqual([Number.NaN, Number.NaN]);
    }
  });
});

describe('input rotations [ROT-4]', () => {
  it('the example [ROT-5]', () => {
    const row = Float32Array.of(1, 2, 3, 4, 5, 6);
    rotateInput(row);
    expect(row).toEqual(Float32Array.of(1, 3, 2.5, 4.5, 3.5, -6.5));
    undoInputRotation(row);
    expect(row).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
  });

  it('a layer computes with its own weights, whatever is stored [ROT-6]', async () => {
    const url = new URL('../../../fixtures/good/rotated.duo', import.meta.url);
    const container = await openContainer(createMemorySource(new Uint8Array(readFileSync(url))));
    const name = 'model.layers.0.mlp.down_proj.weight';
    const tensor = await container.readTensor(name);
    const [rows, columns] = tensor.info.shape as [number, number];
    const x = Float64Array.from({ length: columns }, (_, k) => Math.sin(3 * k + 1));
    const rotated = x.slice();
    rotateInput(rotated);
    const multiply = (values: Float32Array, input: Float64Array) =>
      Array.from({ length: rows }, (_, n) =>
        input.reduce((sum, value, k) => sum + value * values[n * columns + k]!, 0),
      );
    const stored = multiply(decodeTensor(tensor), rotated);
    const own = multiply(decodeLayerWeights(tensor), x);
    for (const [n, value] of own.entries()) expect(value).toBeCloseTo(stored[n]!, 5);
    expect(Math.abs(multiply(decodeTensor(tensor), x)[0]! - stored[0]!)).toBeGreaterThan(0.01);
  });
});

it('beside a rotation outlier columns are those of the input, and every bit of the planes counts [OUTL-3]', async () => {
  const url = new URL('../../../fixtures/good/rotated-outliers.duo', import.meta.url);
  const container = await openContainer(createMemorySource(new Uint8Array(readFileSync(url))));
  for (const name of ['self_attn.q_proj', 'self_attn.k_proj', 'mlp.down_proj']) {
    const tensor = await container.readTensor(`model.layers.0.${name}.weight`);
    const { encoding, shape, inputRotation } = tensor.info;
    if (encoding.kind !== 'w11-outlier') throw new Error(`${name} has no outlier columns`);
    expect(inputRotation).toBe('hadamard');
    const [rows, columns] = shape as [number, number];
    const { 'outlier-index': index, 'outlier-codes': codes, 'outlier-scale': scale, ...bits } = tensor.planes;
    const taken = new Uint32Array(index!.buffer, index!.byteOffset, encoding.outlierColumns);
    expect(await container.readPlane(tensor.info.name, 'outlier-index')).toEqual(index);

    // The values are those of the bit planes, as if there were no outlier columns.
    const { groupSize, offsets } = encoding;
    const planes = {
      info: { ...tensor.info, encoding: { kind: 'w11', groupSize, offsets } as const },
      planes: bits,
    };
    expect(decodeTensor(tensor)).toEqual(decodeTensor(planes));

    const own = decodeLayerWeights(tensor);
    const part = decodeLayerWeights(planes);
    const scales = new DataView(scale!.buffer, scale!.byteOffset);
    const stride = 4 * Math.ceil(taken.length / 4);
    for (let n = 0; n < rows; n++)
      for (let k = 0; k < columns; k++) {
        const c = taken.indexOf(k);
        const code = ((codes![n * stride + c]! + 128) & 255) - 128;
        const expected = c < 0 ? part[n * columns + k] : f16ToF32(scales.getUint16(2 * n, true)) * code;
        expect(own[n * columns + k]).toBe(expected);
      }
  }
});

describe('rules that no file shows', () => {
  it('one problem with values a plane, however many there are [VAL-6]', async () => {
    const { bytes } = await writeSample();
    const forged = await forgeData(bytes, (data, { tensors, segments }) => {
      const { planes } = tensors.find(({ name }) => name === 'lm_head.weight')!;
      const scale = planes.find(({ role }) => role === 'scale')!;
      const start = segments[scale.segment]!.offset + scale.offset;
      data.fill(0xff, start, start + scale.length);
    });
    const { problems } = await validateContainer(createMemorySource(forged));
    expect(problems.map(({ code }) => code)).toEqual(['VALUE_NOT_FINITE']);
  });

  it('a source that fails is not a file that is wrong [VAL-7]', async () => {
    const { bytes } = await writeSample();
    const good = createMemorySource(bytes);
    const source = {
      ...good,
      read: async (offset: number, length: number) => {
        if (offset + length > 128) throw new DuobitError('SOURCE_IO', 'the disk is on fire');
        return good.read(offset, length);
      },
    };
    await expect(openContainer(source)).rejects.toMatchObject({ code: 'SOURCE_IO' });
    const { problems } = await validateContainer(source);
    expect(problems.map(({ code }) => code)).toEqual(['SOURCE_IO']);
  });

  it('the content digest counts what is unknown, too [DIG-8]', async () => {
    const url = new URL('../../../fixtures/future/unknown-encoding.duo', import.meta.url);
    const bytes = new Uint8Array(readFileSync(url));
    const digestOf = async (file: Uint8Array) =>
      (await contentDigest(await openContainer(createMemorySource(file)))).sha256;
    const changed = (find: (role: string) => boolean) =>
      forgeData(bytes, (data, { assets, tensors, segments }) => {
        const places = [...assets, ...tensors.flatMap(({ planes }) => planes)];
        const place = places.find(({ role }) => find(role))!;
        data[segments[place.segment]!.offset + place.offset]! ^= 1;
      });
    const digest = await digestOf(bytes);
    expect(await digestOf(await changed((role) => role === 'unknown-555'))).not.toBe(digest);
    expect(await digestOf(await changed((role) => role === 'unknown-77'))).not.toBe(digest);
  });
});
