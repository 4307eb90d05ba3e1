// Stage 1 as the writer of a container uses it: all blocks are quantized first, since the header holds what was found for
// their inputs, and kept packed; then each layer is given when its turn comes.
import { type Backend, createTokenizer } from '@duobit/core';
import { type ActivationQuantizer, DuobitError, type Encoding } from '@duobit/format';
import { embedWindows } from '../calibration/streams.ts';
import { cutWindows, hashWindows } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { PreparedCheckpoint } from '../checkpoint/prepared-checkpoint.ts';
import { heldOutCount } from '../distillation/batches.ts';
import { distill } from '../distillation/distill.ts';
import { resolveStages, SHARED } from '../distillation/options.ts';
import type { TrainingRecord } from '../distillation/retry.ts';
import { Workspace } from '../linalg/index.ts';
import { createW11LayerMethod } from '../methods/w11-layer-method.ts';
import type { QuantizeOptions, ResolvedOptions } from '../options.ts';
import { type EncodedTensor, verifyError } from '../tensor-encoding.ts';
import {
  type BlockLayers,
  type BlockStore,
  createBlockStore,
  createMemoryStore,
  loadLayers,
  type QuantizedLayer,
} from './block-store.ts';
import { readResult } from './outliers.ts';
import { measureWeightErrors, StageEvaluation, type StageReport } from './stage-report.ts';
import { quantizeBlocks } from './stage1.ts';

export interface CalibratedLayers {
  readonly tokens: number;
  readonly tokensSha256: string;
  /** What ran it; may be disposed by now. */
  readonly backend: Backend;
  /** What the layers depend on besides checkpoint and tokens; plain JSON, keys sorted. */
  readonly recipe: object;
  /** The quantizer of a linear layer's input. */
  activationOf(name: string): ActivationQuantizer;
  /** Undefined for what is no linear layer. */
  encodingOf(name: string): Encoding | undefined;
  /** A linear layer, checked by decoding. Quickest in order of use. */
  take(name: string): Promise<EncodedTensor>;
  /** What each stage did, in order. */
  readonly stages: readonly StageReport[];
  /** Tokens of the windows that perplexity was measured on; 0 when it was not. */
  readonly evaluationTokens: number;
  /** Removes what was kept for a run that is cut short. */
  forget(): Promise<void>;
}

/** @throws DuobitError `TEXT_TOO_SHORT`, `QUANTIZE_OPTION`, `CALIBRATION_NOT_FINITE`, `ABORTED`, and those of the backend */
export async function calibrateLayers(
  { checkpoint, outliers }: PreparedCheckpoint,
  backend: Backend,
  outPath: string,
  options: QuantizeOptions,
  { fit, groupSize, offsets, rotation }: ResolvedOptions,
): Promise<CalibratedLayers> {
  const { onProgress, signal } = options;
  const tokenizer = await createTokenizer(checkpoint);
  const windows = cutWindows(checkpoint, tokenizer, options.calibration!);
  const tokensSha256 = await hashWindows(windows);
  const expected = options.expected?.tokensSha256;
  if (expected !== undefined && expected !== tokensSha256)
    throw new DuobitError(
      'RECIPE_MISMATCH',
      `the calibration text gives tokens with SHA-256 ${tokensSha256}, the recipe's gave ${expected}`,
      {
        source: checkpoint.name,
        where: 'calibration',
        remedy: 'Give the text that the recipe was made with',
      },
    );
  const recipe = sortKeys({
    ...fit,
    backend: [backend.name, backend.instructionSet].filter(Boolean).join(' '),
    context: windows[0]!.length,
    windows: windows.length,
  });
  const { distillation } = options;
  const stages = distillation && {
    ...resolveStages(distillation),
    engine: distillation.engine.name,
    tokens: distillation.tokens,
  };
  const identity = JSON.stringify({
    checkpoint: await checkpoint.weightsSha256(signal),
    groupSize,
    offsets,
    recipe,
    rotation,
    tokensSha256,
  });
  const folder = options.workFolder === undefined ? `${outPath}.work` : options.workFolder;
  const openStore = async (key: string): Promise<BlockStore> =>
    folder === null ? createMemoryStore() : createBlockStore(folder, key);
  // With the student's inputs, what a block is fitted to depends on what stage 2 made of those before.
  const together = stages?.weights?.inputs === 'student';
  const store = await openStore(together ? JSON.stringify({ identity, stages }) : identity);
  const space = await Workspace.create();
  const stream = await embedWindows(checkpoint, backend, windows, signal);
  const method = createW11LayerMethod({ ...fit, groupSize, offsets });
  const { correction, correctionDamping, clips, activations } = fit;
  const blocks = quantizeBlocks(
    checkpoint,
    backend,
    space,
    stream,
    { method, correction, correctionDamping, clips, activations, outliers },
    {
      signal,
      store,
      onProgress: (tensor, done, total) => {
        if (!together) onProgress?.({ phase: 'calibrate', tensor, done, total });
      },
    },
  );
  if (!together) for await (const _ of blocks);
  const stores = [store];
  const loadFitted = (block: number): Promise<BlockLayers> => loadLayers(store, checkpoint, block);
  const trained = distillation
    ? cutWindows(checkpoint, tokenizer, {
        ...options.calibration!,
        maxWindows: Math.ceil(distillation.tokens / windows[0]!.length),
      })
    : windows;
  const evaluation = openEvaluation(checkpoint, backend, trained, stages, options);
  const reports: StageReport[] = [];
  const endStage = async (
    stage: number,
    trainings: readonly TrainingRecord[],
    loadStage: (block: number) => Promise<BlockLayers>,
  ): Promise<void> => {
    if (evaluation) onProgress?.({ phase: 'evaluate', tensor: `stage ${stage}`, done: 0, total: 1 });
    const perplexity = evaluation ? await evaluation.measure(loadStage) : null;
    // Without further stages the report has the errors of the tensors themselves.
    const weightErrors = distillation ? await measureWeightErrors(checkpoint, loadStage) : new Map();
    if (evaluation) onProgress?.({ phase: 'evaluate', tensor: `stage ${stage}`, done: 1, total: 1 });
    const report = { stage, trainings, weightErrors, perplexity };
    reports.push(report);
    options.onStage?.(report);
  };
  if (!together) await endStage(1, [], loadFitted);
  let load = loadFitted;
  if (distillation) {
    const distilled = await distill(distillation, {
      checkpoint,
      backend,
      windows: trained,
      rotation,
      identity,
      load: loadFitted,
      fit: together ? blocks : null,
      openStore,
      signal,
      onProgress: (stage, { block, blocks, step, steps, loss }) =>
        onProgress?.({
          phase: 'distil',
          tensor: `stage ${stage}, block ${block}, loss ${loss.toPrecision(4)}`,
          done: block * steps + step,
          total: blocks * steps,
        }),
      onBlock: options.onBlock,
      async onStage(stage, trainings, loadStage) {
        // Run together, the two end together.
        if (stage === 2 && together) await endStage(1, [], loadFitted);
        await endStage(stage, trainings, loadStage);
      },
    }).finally(() => blocks.return());
    stores.push(...distilled.stores);
    load = distilled.load;
  }
  const places = new Map<string, number>();
  const quantizers = new Map<string, ActivationQuantizer>();
  const encodings = new Map<string, Encoding>();
  for (let block = 0; block < checkpoint.architecture.blockCount; block++)
    for (const [name, { activation, result }] of await load(block)) {
      places.set(name, block);
      quantizers.set(name, activation);
      encodings.set(name, result.packed!.encoding);
    }
  let layers: BlockLayers = new Map();
  return {
    tokens: windows.length * windows[0]!.length,
    tokensSha256,
    backend,
    stages: reports,
    evaluationTokens: evaluation?.tokens ?? 0,
    recipe: stages ? { ...recipe, distillation: stages } : recipe,
    activationOf: (name) => quantizers.get(name)!,
    encodingOf: (name) => encodings.get(name),
    async take(name) {
      if (!layers.has(name)) layers = await load(places.get(name)!);
      return encodeLayer(checkpoint, name, layers.get(name)!);
    },
    async forget() {
      for (const each of stores) await each.clear();
    },
  };
}

/** On windows that no stage trains on, as many of the first of them as are asked for. */
function openEvaluation(
  checkpoint: Checkpoint,
  backend: Backend,
  windows: readonly Int32Array[],
  stages: ReturnType<typeof resolveStages> | undefined,
  { evaluationWindows = 0, signal }: QuantizeOptions,
): StageEvaluation | null {
  if (evaluationWindows === 0 || windows[0]!.length < 2) return null;
  const parts = [stages?.weights, stages?.activations, stages?.endToEnd].flatMap(
    (stage) => stage?.heldOut ?? [],
  );
  const heldOut = Math.max(
    1,
    heldOutCount(windows.length, parts.length > 0 ? Math.min(...parts) : SHARED.heldOut),
  );
  const chosen = windows.slice(windows.length - heldOut).slice(0, evaluationWindows);
  return new StageEvaluation(checkpoint, backend, chosen, signal);
}

function sortKeys(record: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Decodes the packed layer with the format's own decoder and demands the method's values, bit for bit. */
async function encodeLayer(
  checkpoint: Checkpoint,
  name: string,
  { result, error }: QuantizedLayer,
): Promise<EncodedTensor> {
  const { encoding, planes } = result.packed!;
  const { shape } = checkpoint.tensorInfo(name);
  const read = readResult(name, shape, encoding, planes);
  const decoded = read.approximation;
  const weights = await checkpoint.readF32(name);
  const columns = shape.at(-1)!;
  let squaredError = 0;
  let squares = 0;
  for (let i = 0; i < decoded.length; i++) {
    if (decoded[i] !== result.approximation[i])
      throw verifyError(
        checkpoint.name,
        name,
        `row ${Math.floor(i / columns)}, column ${i % columns} decodes to ${decoded[i]}, not ${result.approximation[i]}`,
      );
    squaredError += (weights[i]! - decoded[i]!) ** 2;
    squares += weights[i]! ** 2;
  }
  return {
    planes,
    bytes: result.bytes,
    sums: { weightedError: error, weightedSquares: 1, error: squaredError, squares },
  };
}
