// A report as `quantize` gives it, of a model of any number of blocks, with numbers like those of real runs.
import { createRandom } from '@duobit/core';
import type { TrainingRecord } from '../distillation/retry.ts';
import type { QuantizeReport, TensorReport } from '../report.ts';
import type { StageReport } from '../stages/stage-report.ts';

const SHAPES = {
  'self_attn.q_proj': [576, 576],
  'self_attn.k_proj': [192, 576],
  'self_attn.v_proj': [192, 576],
  'self_attn.o_proj': [576, 576],
  'mlp.gate_proj': [1536, 576],
  'mlp.up_proj': [1536, 576],
  'mlp.down_proj': [576, 1536],
} as const;

const WIDE = { name: 'SmolLM-like', blocks: 12, stages: [1, 2, 3, 4] };

/** Of a model with the linear layers of SmolLM2-135M; block 3 diverges once in stage 2, block 5 always, block 7 gets no better. */
export function makeQuantizeReport(given: Partial<typeof WIDE> = {}): QuantizeReport {
  const { name, blocks, stages } = { ...WIDE, ...given };
  const random = createRandom(7);
  const tensors: TensorReport[] = [
    dense('model.embed_tokens.weight', 'embedding', 'int8', [49_152, 576], 8.25),
  ];
  for (let block = 0; block < blocks; block++)
    for (const [layer, shape] of Object.entries(SHAPES))
      tensors.push(linear(`model.layers.${block}.${layer}.weight`, shape, random));
  tensors.push(dense('model.norm.weight', 'norm', 'f32', [576], 32));
  const parameters = tensors.reduce((sum, { weights }) => sum + weights, 0);
  const linearTensors = tensors.filter(({ kind }) => kind === 'linear');
  const linearWeights = linearTensors.reduce((sum, { weights }) => sum + weights, 0);
  const linearBytes = linearTensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const fileBytes = tensors.reduce((sum, { bytes }) => sum + bytes, 0) + 1_500_000;
  return {
    outPath: 'out.duo',
    sourceName: name,
    fileBytes,
    headerSha256: 'ab'.repeat(32),
    hasTokenizer: true,
    parameters,
    linearWeights,
    linearBytes,
    bitsPerWeightLinear: (8 * linearBytes) / linearWeights,
    bitsPerWeightFile: (8 * fileBytes) / parameters,
    relativeErrorLinear: 0.06,
    calibrationTokens: 65_536,
    seconds: 4210,
    tensors,
    stages: stages.map((stage) => stageReport(stage, blocks, linearTensors, random)),
    evaluationTokens: 4096,
    recipe: {
      format: 'duobit-recipe',
      version: 1,
      producer: 'duobit 0.1.0',
      model: { name, sha256: 'cd'.repeat(32) },
      embedding: 'q8',
      groupSize: 128,
      offsets: true,
      rotation: 'inputs',
      metadata: {},
      calibration: {
        context: 512,
        maxWindows: 128,
        seed: null,
        tokensSha256: 'ef'.repeat(32),
        file: { path: 'text.txt', field: null, sha256: '12'.repeat(32) },
        fit: {
          importance: 'inverse',
          fit: 'exact',
          pairing: 'nested',
          propagate: true,
          turns: 4,
          damping: 0.01,
          correction: 1,
          correctionDamping: 0.05,
          clips: 'search',
          activations: 'f16',
          outliers: 0,
        },
        backend: { name: 'native', instructionSet: 'avx2' },
      },
      distillation: null,
    },
  };
}

function dense(
  name: string,
  kind: TensorReport['kind'],
  encoding: TensorReport['encoding'],
  shape: readonly number[],
  bits: number,
): TensorReport {
  const weights = shape.reduce((product, size) => product * size, 1);
  const bytes = (weights * bits) / 8;
  return {
    name,
    shape,
    kind,
    encoding,
    bytes,
    weights,
    bitsPerWeight: bits,
    relativeError: 0,
    relativeErrorUniform: 0,
    planes: { dense: bytes },
    levels: null,
  };
}

function linear(name: string, shape: readonly [number, number], random: () => number): TensorReport {
  const weights = shape[0] * shape[1];
  const bit = weights / 8;
  const scale = (weights / 128) * 4;
  const outer = weights * (0.14 + 0.06 * random());
  return {
    ...dense(name, 'linear', 'w11', shape, 2.5),
    relativeError: 0.02 + 0.12 * random() ** 2,
    relativeErrorUniform: 0.1 + 0.03 * random(),
    planes: { sign: bit, bitmap: bit, alpha: scale, mu: scale },
    levels: {
      counts: [outer, weights / 2 - outer, weights / 2 - outer, outer].map(Math.round),
      means: [-1.7 + 0.1 * random(), -0.45, 0.45, 1.7 - 0.1 * random()],
    },
  };
}

const PERPLEXITIES: Readonly<Record<number, { a16: number; a4: number }>> = {
  1: { a16: 31.2, a4: 40.9 },
  2: { a16: 24.4, a4: 33.5 },
  3: { a16: 24.6, a4: 30.1 },
  4: { a16: 18.3, a4: 20.9 },
};

function stageReport(
  stage: number,
  blocks: number,
  layers: readonly TensorReport[],
  random: () => number,
): StageReport {
  const counts: Readonly<Record<number, number>> = { 1: 0, 4: 1 };
  return {
    stage,
    trainings: Array.from({ length: counts[stage] ?? blocks }, (_, block) => training(stage, block, random)),
    weightErrors: new Map(
      layers.map(({ name, relativeErrorUniform }) => [name, relativeErrorUniform * (1 + 0.1 * stage)]),
    ),
    perplexity: { original: 15.4, ...PERPLEXITIES[stage]! },
  };
}

function training(stage: number, block: number, random: () => number): TrainingRecord {
  const start = (0.06 + 0.02 * block) * (stage === 4 ? 6 : 1);
  const run = (steps: number, grows: boolean): number[] =>
    Array.from(
      { length: steps },
      (_, i) => start * (grows ? 1.2 ** i : 0.6 + 0.4 * Math.exp((-5 * i) / steps)) * (0.85 + 0.3 * random()),
    );
  const common = { heldOutBefore: start, restarts: [], divergences: [] };
  if (stage === 2 && block === 3)
    return {
      ...common,
      losses: [...run(40, true), Number.NaN, ...run(480, false)],
      restarts: [41],
      divergences: ['the loss is NaN at step 41'],
      heldOutAfter: 0.72 * start,
      kept: true,
    };
  if (stage === 2 && block === 5)
    return {
      ...common,
      losses: [16, 16, 16, 16].flatMap((steps) => run(steps, true)),
      restarts: [16, 32, 48],
      divergences: Array(4).fill('the loss rose from 0.160 to 0.660'),
      heldOutAfter: null,
      kept: false,
    };
  if (stage === 2 && block === 7)
    return { ...common, losses: run(480, false), heldOutAfter: 1.03 * start, kept: false };
  return {
    ...common,
    losses: run(480, false),
    heldOutAfter: (0.65 + 0.15 * random()) * start,
    kept: true,
  };
}
