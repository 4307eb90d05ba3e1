// Stages 2 and 3 on the student's stream: block after block, shallow to deep, each fed with what the quantized blocks before it give and trained towards
// what the unquantized block gives on the unquantized stream (LBLLM: stage 2 weights, stage 3 activations).
//
// Stage 2 moves latent weights and levels, with unquantized inputs; stage 3 keeps the bits and moves levels, clips and the knee,
// with 4-bit inputs. A block that does not come out better on windows it was not trained on is trained once more with nearest bits where
// they were relaxed, and else stays as it was.
import type { Engine, Scalar, Tensor2D } from '@duobit/tfjs';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { BlockLayers, BlockStore } from '../stages/block-store.ts';
import { advance, type Batch, disposeBatches, planBatches, uploadBatches } from './batches.ts';
import { BlockModel } from './block-model.ts';
import { BlockParameters, BlockTensors } from './block-parameters.ts';
import { channelWeights } from './channel-weights.ts';
import { channelObjective, type Objective, predictionObjective } from './objective.ts';
import { type BlockStageOptions, withNearestBits } from './options.ts';
import { type Trainable, type TrainingRecord, trainWithRetries } from './retry.ts';
import { train } from './train.ts';

/** What training a block takes besides the block. */
export interface BlockTrainingRun {
  readonly engine: Engine;
  readonly checkpoint: Checkpoint;
  /** Residual streams before the first block, one a window [tokens, hiddenSize]. */
  readonly streams: readonly Float32Array[];
  /** `measureSensitivities`, once for all stages and only where a block is trained. */
  readonly sensitivities: () => Promise<readonly Float32Array[]>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: BlockStageProgress) => void) | undefined;
}

export interface BlockStageRun extends BlockTrainingRun {
  /**
   * Layers of a block as the stage before left them; called for each in turn.
   * @param previous what this stage made of the block before
   */
  readonly before: (block: number, previous: BlockLayers | undefined) => Promise<BlockLayers>;
  readonly store: BlockStore;
}

export interface BlockStageProgress {
  readonly block: number;
  readonly blocks: number;
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
}

/** A block that a stage is through with. */
export interface BlockOutcome {
  readonly block: number;
  readonly layers: BlockLayers;
  readonly training: TrainingRecord;
  /** Whether an earlier run, which was cut short, had finished it. */
  readonly resumed: boolean;
}

/** @throws DuobitError `ABORTED`, `ENGINE_FAILED`, and those of checkpoint and store */
export async function* runBlockStage(
  options: BlockStageOptions,
  run: BlockStageRun,
): AsyncGenerator<BlockOutcome> {
  const { engine, checkpoint, store, signal } = run;
  const { hiddenSize, blockCount } = checkpoint.architecture;
  const plan = planBatches(run.streams.length, options.batch, options.heldOut, options.seed);
  let student = uploadBatches(engine, plan, run.streams, hiddenSize);
  let teacher = uploadBatches(engine, plan, run.streams, hiddenSize);
  let previous: BlockLayers | undefined;
  try {
    for (let block = 0; block < blockCount; block++) {
      const model = await BlockModel.open(engine, checkpoint, block);
      try {
        const originals = await readOriginals(checkpoint, model);
        const targets = await advanceTeacher(engine, model, originals, teacher, signal);
        const before = await run.before(block, previous);
        const kept = await store.load(block, (name) => checkpoint.tensorInfo(name));
        let outcome: BlockOutcome;
        if (kept?.training) outcome = { block, layers: kept.layers, training: kept.training, resumed: true };
        else {
          const streams = { student, teacher, targets };
          outcome = await trainBlock(options, run, model, originals, plan.trained, streams, block, before);
          await store.save(block, outcome);
        }
        previous = outcome.layers;
        disposeBatches(engine, teacher);
        teacher = targets;
        const tensors = new BlockTensors(engine, model, outcome.layers, options.activations);
        student = await advance(model, tensors, student, signal, true);
        tensors.dispose();
        yield outcome;
      } finally {
        model.dispose();
      }
    }
  } finally {
    disposeBatches(engine, student, teacher);
  }
}

interface Streams {
  /** What the block is fed. */
  readonly student: readonly Batch[];
  readonly teacher: readonly Batch[];
  /** What the teacher's block gives. */
  readonly targets: readonly Batch[];
}

/** Trains one block, or leaves it as it was. */
export async function trainBlock(
  options: BlockStageOptions,
  run: BlockTrainingRun,
  model: BlockModel,
  originals: ReadonlyMap<string, Float32Array>,
  trained: number,
  { student, teacher, targets }: Streams,
  block: number,
  before: BlockLayers,
): Promise<BlockOutcome> {
  const { engine, checkpoint, signal, onProgress } = run;
  const objective = await chooseObjective(options, run, block, teacher, targets);
  const progress = { block, blocks: checkpoint.architecture.blockCount };
  const moved = options.rates.latent > 0 ? originals : null;
  try {
    const trainable = (options: BlockStageOptions): Trainable<BlockParameters, BlockLayers> => ({
      before,
      open: () => new BlockParameters(engine, model, before, moved, options),
      train(parameters, scale, lossBefore) {
        const { passes, clipNorm, polarisation } = options;
        const lossOf = (batch: number, progress: number): Scalar => {
          const values = parameters.open(polarisation * progress);
          return objective.loss(model.forward(student[batch]!, values), targets[batch]!);
        };
        return train(
          engine,
          parameters.rates(options.rates, scale),
          lossOf,
          { passes, clipNorm, batches: trained, seed: options.seed + block, lossBefore },
          {
            signal,
            onStep: (step, steps, loss) => onProgress?.({ ...progress, step, steps, loss }),
          },
        );
      },
      harden: (parameters) => parameters.harden(),
      evaluate: (layers) =>
        evaluateBlock(
          engine,
          model,
          layers,
          options.activations,
          student.slice(trained),
          targets.slice(trained),
          objective,
        ),
    });
    // Relaxed bits begin with some of them changed, which few steps may not make up for; nearest ones begin where stage 1 left them.
    const otherwise = moved && options.bits === 'relaxed' ? trainable(withNearestBits(options)) : null;
    const { state: layers, training } = await trainWithRetries(trainable(options), otherwise);
    return { block, layers, training, resumed: false };
  } finally {
    objective.dispose();
  }
}

/** By the sensitivities of channels, and of the last block by what is predicted. */
async function chooseObjective(
  { channels }: BlockStageOptions,
  { engine, checkpoint, sensitivities }: BlockTrainingRun,
  block: number,
  inputs: readonly Batch[],
  targets: readonly Batch[],
): Promise<Objective> {
  const sensitive = channels === 'sensitivity';
  if (sensitive && block + 1 === checkpoint.architecture.blockCount)
    return predictionObjective(engine, checkpoint);
  const sensitivity = sensitive ? (await sensitivities())[block]! : null;
  return channelObjective(engine, channelWeights(engine, inputs, targets, sensitivity));
}

async function evaluateBlock(
  engine: Engine,
  model: BlockModel,
  layers: BlockLayers,
  activations: 'a4' | 'f16',
  inputs: readonly Batch[],
  targets: readonly Batch[],
  objective: Objective,
): Promise<number> {
  const { tf } = engine;
  const tensors = new BlockTensors(engine, model, layers, activations);
  let sum = 0;
  let windows = 0;
  for (const [i, input] of inputs.entries()) {
    const loss = tf.tidy(() => objective.loss(model.forward(input, tensors), targets[i]!));
    sum += (await loss.data())[0]! * input.windows;
    windows += input.windows;
    loss.dispose();
  }
  tensors.dispose();
  await engine.sync();
  return sum / windows;
}

/** The unquantized matrices of a block by name. */
export async function readOriginals(
  checkpoint: Checkpoint,
  model: BlockModel,
): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  for (const name of model.linear) weights.set(name, await checkpoint.readF32(name));
  return weights;
}

/** What the unquantized block gives; its inputs stay. */
export async function advanceTeacher(
  engine: Engine,
  model: BlockModel,
  originals: ReadonlyMap<string, Float32Array>,
  streams: readonly Batch[],
  signal: AbortSignal | undefined,
): Promise<Batch[]> {
  const matrices = new Map(
    [...originals].map(([name, values]) => [name, engine.tf.tensor2d(values, model.shapeOf(name))]),
  );
  const weights = (name: string): Tensor2D => matrices.get(name)!;
  const out = await advance(model, { weights, quantizers: null }, streams, signal, false);
  engine.tf.dispose([...matrices.values()]);
  return out;
}
