// The gradient of a whole block against central differences in double precision, in everything that training moves and in the stream
// that comes in. What rounding does is held fast, as its definition says: the derivative of what is left is the gradient straight
// through.
import { createRandom, type TrainingRows } from '@duobit/core';
import { type Architecture, blockWeights, rotateInput } from '@duobit/format';
import { trainingReference as reference, tolerance } from '@duobit/testkit';
import { openEngine, type Scalar, type Tensor2D, type Variable } from '@duobit/tfjs';
import { expect, it } from 'vitest';
import { prepareCheckpoint } from '../checkpoint/prepared-checkpoint.ts';
import { packLevels, storeLevels } from '../methods/w11-levels.ts';
import type { QuantizedLayer } from '../stages/block-store.ts';
import { makeMemoryCheckpoint, SMALL_ARCHITECTURE } from '../testing/memory-checkpoint.ts';
import { BlockModel } from './block-model.ts';
import { BlockParameters } from './block-parameters.ts';
import { channelObjective } from './objective.ts';

const ARCHITECTURE: Architecture = {
  ...SMALL_ARCHITECTURE,
  hiddenSize: 16,
  intermediateSize: 20,
  headCount: 2,
  kvHeadCount: 1,
};
const GROUP = 8;
const ROWS: TrainingRows = { windows: 2, tokens: 4 };
const HEADS = { headCount: 2, kvHeadCount: 1, headSize: 8 };
/** Inputs of the linear layers, in order of use. */
const INPUTS = ['qkv', 'o', 'gate and up', 'down'] as const;
/** Values closer than this to where rounding changes could be rounded otherwise by another precision. */
const SAFE = 1e-4;

type Values = ReadonlyMap<string, Float64Array>;

/** What rounding did in the first run, in units of the range, or the end that a value lies beyond. */
type Moves = (number | 'low' | 'high')[];

/** y = x + moved * (hi - lo), or an end; least and most of each row count as constants. */
class Rounding {
  readonly #inputs = new Map<string, { moves: Moves; least: number[]; most: number[] }>();
  /** How near any value was to where it would have been rounded otherwise. */
  nearest = Number.POSITIVE_INFINITY;

  apply(input: string, x: Float64Array, width: number, clips: Float64Array): Float64Array {
    let held = this.#inputs.get(input);
    if (!held) this.#inputs.set(input, (held = this.#measure(x, width, clips)));
    const { moves, least, most } = held;
    return x.map((value, i) => {
      const row = Math.floor(i / width);
      const [lo, hi] = [clips[0]! * least[row]!, clips[1]! * most[row]!];
      const move = moves[i]!;
      return move === 'low' ? lo : move === 'high' ? hi : value + move * (hi - lo);
    });
  }

  #measure(x: Float64Array, width: number, clips: Float64Array) {
    const moves: Moves = [];
    const [least, most]: [number[], number[]] = [[], []];
    for (let at = 0; at < x.length; at += width) {
      const row = x.subarray(at, at + width);
      least.push(Math.min(...row));
      most.push(Math.max(...row));
      const [lo, hi] = [clips[0]! * least.at(-1)!, clips[1]! * most.at(-1)!];
      for (const value of row) {
        const place = (15 * (value - lo)) / (hi - lo);
        const inside = place >= 0 && place <= 15;
        const rest = Math.round(place) - place;
        moves.push(inside ? rest / 15 : place < 0 ? 'low' : 'high');
        const edges = [Math.abs(place), Math.abs(place - 15), inside ? 0.5 - Math.abs(rest) : 1];
        this.nearest = Math.min(this.nearest, ...edges);
      }
    }
    return { moves, least, most };
  }
}

/** Latent weight plus what taking its level did to it, which moves as the level moves. */
function levelsOf(
  latent: Float64Array,
  levels: Float64Array,
  columns: number,
  places: Int32Array,
): Float64Array {
  const groups = Math.ceil(columns / GROUP);
  return latent.map((_, i) => {
    const group = Math.floor(i / columns) * groups + Math.floor((i % columns) / GROUP);
    return levels[group * 4 + places[i]!]!;
  });
}

function product(x: Float64Array, weight: Float64Array, columns: number): Float64Array {
  const [rows, outputs] = [x.length / columns, weight.length / columns];
  const out = new Float64Array(rows * outputs);
  for (let row = 0; row < rows; row++)
    for (let n = 0; n < outputs; n++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[row * columns + k]! * weight[n * columns + k]!;
      out[row * outputs + n] = sum;
    }
  return out;
}

/** The rotation of a width as a matrix [out, in]. */
function rotationOf(width: number): Float64Array {
  const matrix = new Float64Array(width * width);
  for (let i = 0; i < width; i++) {
    const unit = new Float32Array(width);
    unit[i] = 1;
    rotateInput(unit);
    for (let n = 0; n < width; n++) matrix[n * width + i] = unit[n]!;
  }
  return matrix;
}

it("a block's gradients are those of its definition, in latent weights, levels, clips and the stream", async () => {
  const engine = await openEngine({ device: 'cpu' });
  const { tf } = engine;
  const random = createRandom(12);
  const { hiddenSize, intermediateSize, normEpsilon, ropeTheta } = ARCHITECTURE;
  const memory = makeMemoryCheckpoint(ARCHITECTURE);
  // Large enough for attention that prefers some positions, and gates that open and close.
  for (const [name, values] of memory.tensors)
    if (name.includes('_proj')) for (let i = 0; i < values.length; i++) values[i]! *= 6;
  const { checkpoint } = await prepareCheckpoint(memory, 'inputs');
  const model = await BlockModel.open(engine, checkpoint, 0);
  const names = blockWeights(0);
  const before = new Map<string, QuantizedLayer>();
  const originals = new Map<string, Float32Array>();
  for (const name of model.linear) {
    const [rows, columns] = model.shapeOf(name);
    const weights = await checkpoint.readF32(name);
    originals.set(name, weights);
    const groups = Math.ceil(columns / GROUP);
    const fitted = Float32Array.from(
      { length: rows * groups * 4 },
      (_, i) => [-0.5, -0.15, 0.15, 0.5][i % 4]! + 0.1 * (random() - 0.5),
    );
    const place = { name, groups, groupSize: GROUP };
    const stored = storeLevels(fitted, { offsets: true, pairing: 'nested' }, place);
    const indices = Uint8Array.from(weights, (weight, i) => {
      const group = Math.floor(i / columns) * groups + Math.floor((i % columns) / GROUP);
      return reference.nearestLevel(weight, stored.levels.subarray(group * 4, group * 4 + 4));
    });
    const { planes, approximation } = packLevels(stored, indices, { rows, columns, groupSize: GROUP });
    const encoding = { kind: 'w11', groupSize: GROUP, offsets: true } as const;
    before.set(name, {
      result: { approximation, bytes: 0, packed: { encoding, planes } },
      activation: { bits: 4, clipLow: 0.9, clipHigh: 0.8, knee: null, planeScales: null },
      error: 0,
    });
  }
  const options = { activations: 'a4', knee: null, bits: 'nearest', latentStart: 0.5 } as const;
  const parameters = new BlockParameters(engine, model, before, originals, options);

  // The variables in the order that they were made, by name.
  const moved = [...parameters.rates({ latent: 1, levels: 1, clips: 1, knee: 0 }, 1).keys()];
  const labels = [
    ...model.linear.flatMap((name) => [`levels of ${name}`, `latent of ${name}`]),
    ...INPUTS.map((input) => `clips of ${input}`),
  ];
  expect(moved).toHaveLength(labels.length);
  const draw = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);
  const count = ROWS.windows * ROWS.tokens;
  const stream = tf.tidy(() => tf.variable(tf.tensor2d(draw(count * hiddenSize), [count, hiddenSize])));
  const variables = new Map<string, Variable>([
    ['stream', stream],
    ...labels.map((label, i): [string, Variable] => [label, moved[i]!]),
  ]);
  const target = draw(count * hiddenSize);
  const weights = Float32Array.from({ length: hiddenSize }, () => 0.5 + random());
  const norms = {
    input: await checkpoint.readF32(names.inputNorm),
    post: await checkpoint.readF32(names.postNorm),
  };

  const objective = channelObjective(engine, tf.tensor1d(weights));
  const targets = { values: tf.tensor2d(target, [count, hiddenSize]), windows: ROWS.windows };
  const { value, grads } = tf.variableGrads(() => {
    const input = { values: stream as unknown as Tensor2D, windows: ROWS.windows };
    return objective.loss(model.forward(input, parameters.open()), targets) as Scalar;
  }, [...variables.values()]);

  const rounding = new Rounding();
  const start: Values = new Map(
    [...variables].map(([label, tensor]) => [label, Float64Array.from(tensor.dataSync())]),
  );
  const places = new Map(
    model.linear.map((name) => {
      const [latent, levels] = [start.get(`latent of ${name}`)!, start.get(`levels of ${name}`)!];
      const columns = model.shapeOf(name)[1];
      const groups = Math.ceil(columns / GROUP);
      const chosen = Int32Array.from(latent, (weight, i) => {
        const group = Math.floor(i / columns) * groups + Math.floor((i % columns) / GROUP);
        return reference.nearestLevel(weight, levels.subarray(group * 4, group * 4 + 4));
      });
      return [name, { columns, chosen, first: latent }] as const;
    }),
  );
  const rotations = new Map([hiddenSize, intermediateSize].map((width) => [width, rotationOf(width)]));
  const frequencies = Float64Array.from({ length: 4 }, (_, i) => ropeTheta ** (-i / 4));

  const lossOf = (at: Values): number => {
    const matrix = (name: string): Float64Array => {
      const { columns, chosen, first } = places.get(name)!;
      const latent = at.get(`latent of ${name}`)!;
      const levels = levelsOf(latent, at.get(`levels of ${name}`)!, columns, chosen);
      return levels.map((level, i) => level + latent[i]! - first[i]!);
    };
    const quantized = (input: (typeof INPUTS)[number], x: Float64Array, width: number): Float64Array =>
      rounding.apply(input, product(x, rotations.get(width)!, width), width, at.get(`clips of ${input}`)!);
    const linear = (x: Float64Array, name: string) => product(x, matrix(name), places.get(name)!.columns);
    const add = (a: Float64Array, b: Float64Array) => a.map((value, i) => value + b[i]!);
    const turn = (x: Float64Array, heads: number) => reference.rope(x, heads, frequencies, ROWS, false);
    const residual = at.get('stream')!;
    const first = quantized('qkv', reference.rmsNorm(residual, norms.input, normEpsilon), hiddenSize);
    const seen = {
      query: turn(linear(first, names.q), HEADS.headCount),
      key: turn(linear(first, names.k), HEADS.kvHeadCount),
      value: linear(first, names.v),
    };
    const { out: mixed } = reference.attention(seen, HEADS, ROWS, null);
    const middle = add(residual, linear(quantized('o', mixed, hiddenSize), names.o));
    const second = quantized('gate and up', reference.rmsNorm(middle, norms.post, normEpsilon), hiddenSize);
    const opened = reference.siluMul(linear(second, names.gate), linear(second, names.up));
    const end = add(middle, linear(quantized('down', opened, intermediateSize), names.down));
    const errors = end.map((y, i) => weights[i % hiddenSize]! * (y - target[i]!) ** 2);
    return errors.reduce((sum, error) => sum + error, 0) / errors.length;
  };

  const loss = lossOf(start);
  // Both precisions round the same way: no value lies where they could differ.
  expect(rounding.nearest).toBeGreaterThan(SAFE);
  expect(Math.abs(value.dataSync()[0]! / loss - 1)).toBeLessThan(1e-5);
  for (const [label, variable] of variables) {
    const found = grads[variable.name]!.dataSync();
    const expected = reference.slopes(start.get(label)!, (values) =>
      lossOf(new Map(start).set(label, values)),
    );
    const most = Math.max(...expected.map(Math.abs));
    expect(most).toBeGreaterThan(0);
    // Some thirty operations follow each other on the way there and back, of which each sums at most 20 products: errors of
    // gamma(30 * 20) of the largest value. Differences of fourth order are better by far.
    const allowed = tolerance.gamma(30 * 20) * most;
    expected.forEach((slope, i) => {
      expect(Math.abs(found[i]! - slope), `${label}, ${i}`).toBeLessThan(allowed);
    });
  }
  tf.dispose([value, grads, stream, targets.values]);
  objective.dispose();
  parameters.dispose();
  model.dispose();
});
