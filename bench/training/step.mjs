// A training step of one block as stages 2 and 3 do it, on random values of a given shape.
import { buildPlan, SLOTS } from '@duobit/core';
import { blockWeights } from '@duobit/format';
import { Adam, interpret } from '@duobit/tfjs';

const GROUP = 128;

const shape = (hiddenSize, intermediateSize, headCount, kvHeadCount) => ({
  family: 'llama',
  vocabularySize: 2048,
  hiddenSize,
  intermediateSize,
  blockCount: 1,
  headCount,
  kvHeadCount,
  headSize: hiddenSize / headCount,
  contextLength: 512,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: true,
});

export const BLOCKS = [
  { id: 'TinyStories-656K', architecture: shape(128, 384, 8, 4), windows: 2, tokens: 512 },
  { id: 'SmolLM2-135M', architecture: shape(576, 1536, 9, 3), windows: 1, tokens: 256 },
];

/**
 * @param bits what chooses levels: 'relaxed', signs and a bitmap; 'nearest', latent weights; 'fixed', codes
 * @returns {step, tokens, flops} of a step, and {dispose}
 */
export function createStep(engine, { architecture, windows, tokens }, activations, bits) {
  const { tf, operations } = engine;
  const { hiddenSize: width } = architecture;
  const shapes = shapesOf(architecture);
  const plan = buildPlan(describeSource(architecture, shapes), {
    section: { block: 0 },
    ...(activations === 'a4' ? { quantizers: () => PLAIN } : { activations: 'f16' }),
  });
  const rows = windows * tokens;
  const values = tf.randomNormal([rows, width], 0, 1, 'float32', 1);
  const target = tf.randomNormal([rows, width], 0, 1, 'float32', 2);
  const channels = tf.ones([width]);
  const variables = new Map();
  const layers = new Map();
  const norms = new Map();
  const clips = new Map();
  const variable = (tensor, rate) => {
    const made = tf.variable(tensor);
    tensor.dispose();
    variables.set(made, rate);
    return made;
  };
  let weights = 0;
  for (const [name, [n, k]] of shapes) {
    if (k === undefined) {
      norms.set(name, tf.ones([n]));
      continue;
    }
    weights += n * k;
    const groups = Math.ceil(k / GROUP);
    const levels = tf.tile(tf.tensor2d([[-0.06, -0.02, 0.02, 0.06]]), [n, groups]);
    layers.set(name, {
      latent: bits === 'fixed' ? null : variable(tf.randomNormal([n, k], 0, 0.04, 'float32', 3), 1e-4),
      bitmap: bits === 'relaxed' ? variable(tf.randomUniform([n, k], 0, 1, 'float32', 4), 1e-3) : null,
      codes: bits === 'fixed' ? tf.randomUniformInt([n, k], 0, 4, 5) : null,
      levels: variable(levels, 1e-4),
    });
  }
  const clipsOf = (slot) => {
    if (!clips.has(slot)) clips.set(slot, variable(tf.tensor1d([0.9, 0.9]), 1e-3));
    return clips.get(slot);
  };
  if (activations === 'a4')
    for (const operation of plan.operations)
      if (operation.op === 'quantizeActivations') clipsOf(operation.input);
  const adam = new Adam(engine, { clipNorm: 1 });
  const step = async () => {
    const loss = engine.step(() => {
      const { value, grads } = tf.variableGrads(() => {
        const matrices = new Map(
          [...layers].map(([name, { latent, bitmap, codes, levels }]) => [
            name,
            bitmap
              ? operations.relaxedLevels(latent, bitmap, levels, GROUP, 1 / layers.size)
              : codes
                ? operations.chosenLevels(codes, levels, GROUP)
                : operations.nearestLevels(latent, levels, GROUP),
          ]),
        );
        const slots = new Map([[SLOTS.residual, values]]);
        interpret(
          operations,
          plan,
          slots,
          { windows, tokens },
          {
            weight: (name) => norms.get(name) ?? matrices.get(name),
            quantizer: ({ input }) => ({ clips: clipsOf(input), knee: null }),
          },
        );
        return operations.weightedError(slots.get(SLOTS.residual), target, channels);
      }, [...variables.keys()]);
      adam.apply(grads, variables);
      tf.dispose(grads);
      return value;
    });
    const [found] = await loss.data();
    loss.dispose();
    await engine.sync();
    if (!Number.isFinite(found)) throw new Error(`the loss is ${found}`);
  };
  return {
    step,
    tokens: rows,
    // Forward and twice as much back: 2 a weight of the linear layers, and of attention the half that is seen of 2 products.
    flops: 6 * rows * (weights + architecture.headCount * architecture.headSize * tokens),
    dispose() {
      adam.dispose();
      tf.dispose([values, target, channels, ...variables.keys(), ...norms.values()]);
    },
  };
}

const PLAIN = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

function shapesOf({ hiddenSize, intermediateSize, headCount, kvHeadCount, headSize }) {
  const { inputNorm, postNorm, q, k, v, o, gate, up, down } = blockWeights(0);
  const [all, shared] = [headCount * headSize, kvHeadCount * headSize];
  return new Map([
    [inputNorm, [hiddenSize]],
    [postNorm, [hiddenSize]],
    [q, [all, hiddenSize]],
    [k, [shared, hiddenSize]],
    [v, [shared, hiddenSize]],
    [o, [hiddenSize, all]],
    [gate, [intermediateSize, hiddenSize]],
    [up, [intermediateSize, hiddenSize]],
    [down, [hiddenSize, intermediateSize]],
  ]);
}

function describeSource(architecture, shapes) {
  return {
    name: 'bench',
    architecture,
    tensorNames: [...shapes.keys()],
    tensorInfo: (name) => ({
      name,
      shape: shapes.get(name),
      encoding: { kind: 'f32' },
      activation: null,
      ...(shapes.get(name).length === 2 ? { inputRotation: 'hadamard' } : {}),
    }),
  };
}
