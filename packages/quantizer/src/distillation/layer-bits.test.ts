// Relaxed bits: what they give is what they harden to, and their gradients are those of their definition.
import { createRandom } from '@duobit/core';
import { type Engine, openEngine, type Scalar, type Tensor2D, type Variable } from '@duobit/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { LayerResult } from '../methods/layer-method.ts';
import { packLevels, readLevels, storeLevels } from '../methods/w11-levels.ts';
import { type LayerShape, RelaxedBits } from './layer-bits.ts';
import { LayerParameters } from './layer-parameters.ts';

const RATES = { latent: 1, levels: 1, clips: 0, knee: 0 };

let engine: Engine;
beforeAll(async () => {
  engine = await openEngine({ device: 'cpu' });
});

/** The last group of a row is a short one. */
function makeLayer(offsets: boolean) {
  const shape: LayerShape = { name: 'w', rows: 3, columns: 21, groupSize: 8, offsets };
  const { rows, columns, groupSize } = shape;
  const random = createRandom(3);
  const groups = Math.ceil(columns / groupSize);
  const fitted = Float32Array.from({ length: rows * groups * 4 }, (_, i) => {
    const outer = [-2, -0.7, 0.7, 2][i % 4]!;
    return offsets ? outer + 0.4 * (random() - 0.5) : outer;
  });
  const weights = Float32Array.from({ length: rows * columns }, () => 5 * (random() - 0.5));
  const stored = storeLevels(fitted, { offsets, pairing: 'nested' }, { name: 'w', groups, groupSize });
  const indices = new Uint8Array(weights.length).map(() => Math.floor(4 * random()));
  const { planes, approximation } = packLevels(stored, indices, shape);
  const encoding = { kind: 'w11', groupSize, offsets } as const;
  const result: LayerResult = { approximation, bytes: 0, packed: { encoding, planes } };
  return { shape, weights, result };
}

/** Levels, latent weights and bitmap of a layer. */
const variablesOf = (layer: LayerParameters) =>
  layer.rates(RATES).map(([variable]) => variable) as [Variable, Variable, Variable];

const valuesOf = (tensor: { dataSync(): ArrayLike<number> }): number[] => Array.from(tensor.dataSync());

describe.each([true, false])('a relaxed layer (offsets %s)', (offsets) => {
  const open = () => {
    const made = makeLayer(offsets);
    const options = { bits: 'relaxed', latentStart: 0.1 } as const;
    const layer = new LayerParameters(engine, made.shape, made.result, made.weights, options);
    return { ...made, layer, variables: variablesOf(layer) };
  };

  it('begins near its codes, and gives what it hardens to, wherever it goes', async () => {
    const before = engine.tf.memory().numTensors;
    const { layer, variables, result, shape } = open();
    const [levels, latent, bitmap] = variables;
    const { codes } = readLevels(result.packed!, [shape.rows, shape.columns]);
    valuesOf(bitmap).forEach((value, i) => {
      expect(Math.abs(value - (codes[i] === 0 || codes[i] === 3 ? 1 : 0))).toBeLessThan(0.1001);
    });
    const random = createRandom(9);
    const draw = (variable: Variable, values: (i: number) => number): void =>
      engine.tf.tidy(() =>
        variable.assign(
          engine.tf.tensor(
            Array.from({ length: variable.size }, (_, i) => values(i)),
            variable.shape,
          ),
        ),
      );
    const compare = async (): Promise<void> => {
      const now = engine.tf.tidy(() => valuesOf(layer.weights()));
      expect(Array.from((await layer.harden()).approximation)).toEqual(now);
    };
    await compare();
    draw(latent, () => random() - 0.5);
    draw(bitmap, () => 2 * random() - 0.5);
    await compare();
    // Levels that have crossed; halves of eighths are f16.
    draw(levels, () => Math.round(16 * (random() - 0.5)) / 4);
    await compare();
    layer.dispose();
    expect(engine.tf.memory().numTensors).toBe(before);
  });

  it('passes gradients straight through its thresholds, and exactly to levels', () => {
    const { layer, variables, shape } = open();
    const { tf } = engine;
    const random = createRandom(4);
    const [levels, latent, bitmap] = variables;
    const towards = Float32Array.from({ length: latent.size }, () => random() - 0.5);
    const { grads } = tf.variableGrads(
      () => tf.sum(tf.mul(layer.weights(), tf.tensor2d(towards, [shape.rows, shape.columns]))) as Scalar,
      variables,
    );
    const [byLevels, byLatent, byBitmap] = variables.map((variable) => valuesOf(grads[variable.name]!));
    const [four, latents, bits] = [levels, latent, bitmap].map(valuesOf) as [number[], number[], number[]];
    const expected = { levels: four.map(() => 0), bitmap: latents.map(() => 0) };
    const groups = Math.ceil(shape.columns / shape.groupSize);
    for (let i = 0; i < latents.length; i++) {
      const group =
        Math.floor(i / shape.columns) * groups + Math.floor((i % shape.columns) / shape.groupSize);
      const above = latents[i]! > 0;
      const isOuter = bits[i]! > 0.5;
      // Where each level lies among the parameters, and its sign there: symmetric layers hold the inner and the outer distance.
      const place = (outer: boolean): [number, 1 | -1] =>
        offsets
          ? [group * 4 + (above ? (outer ? 3 : 2) : outer ? 0 : 1), 1]
          : [group * 2 + (outer ? 1 : 0), above ? 1 : -1];
      const levelAt = ([at, sign]: [number, 1 | -1]): number => sign * four[at]!;
      const [at, sign] = place(isOuter);
      expected.levels[at]! += sign * towards[i]!;
      expected.bitmap[i] = towards[i]! * (levelAt(place(true)) - levelAt(place(false)));
    }
    expect(byLatent).toEqual(Array.from(towards));
    // A product of two f32, of which one is a rounded difference; sums of at most 8 terms below 1/2.
    byBitmap!.forEach((value, i) => {
      expect(Math.abs(value - expected.bitmap[i]!)).toBeLessThan(8 * 2 ** -24);
    });
    byLevels!.forEach((value, i) => {
      expect(Math.abs(value - expected.levels[i]!)).toBeLessThan(8 * 8 * 2 ** -24);
    });
    tf.dispose(grads);
    layer.dispose();
  });
});

it('polarisation slopes as central differences say, and not at 0, 1/2 and 1', () => {
  const { tf } = engine;
  const { shape, weights, result } = makeLayer(true);
  const { levels, codes } = readLevels(result.packed!, [shape.rows, shape.columns]);
  const { approximation } = result;
  const bits = new RelaxedBits(engine, shape, { codes, levels, unit: 1, approximation, weights, part: 1 });
  const [, { variable }] = bits.moved as [unknown, { variable: Variable }];
  const values = Float64Array.from(
    { length: variable.size },
    (_, i) => [0, 1, 0.5, 0.2, 0.9, -0.1, 1.3][i % 7]!,
  );
  tf.tidy(() => variable.assign(tf.tensor2d(Float32Array.from(values), [shape.rows, shape.columns])));
  const four = tf.tensor2d(levels, [shape.rows, levels.length / shape.rows]);
  // Nothing comes of the value, so that the penalty is all that there is.
  const { value, grads } = tf.variableGrads(() => tf.sum(tf.mul(bits.weights(four, 3), 0)), [variable]);
  const measure = (at: ArrayLike<number>): number => {
    const parts = Array.from(at, (value) => 3 * (1 - Math.abs(2 * value - 1) ** 2) ** 2);
    return parts.reduce((sum, part) => sum + part, 0) / parts.length;
  };
  const step = 1e-4;
  valuesOf(grads[variable.name] as Tensor2D).forEach((slope, i) => {
    const at = (moved: number) => measure(values.map((value, k) => (k === i ? value + moved : value)));
    const central = (at(step) - at(-step)) / (2 * step);
    // The formula's error is step^2 / 6 times a third derivative of at most 3,000 / N; f32 adds a few units of values below 30 / N.
    expect(Math.abs(slope - central)).toBeLessThan((step ** 2 * 3000 + 30 * 8 * 2 ** -24) / values.length);
    if (i % 7 < 3) expect(Math.abs(slope)).toBeLessThan(1e-9);
  });
  tf.dispose([value, grads, four]);
  bits.dispose();
});
