// From a checkpoint to a container: calibrate if asked, then encode and write one tensor after the other.
import { createWasmBackend, listTensors, type TensorSpec } from '@duobit/core';
import {
  type AssetRole,
  type AssetSpec,
  type ContainerWriter,
  createContainerWriter,
  DuobitError,
  type Encoding,
  type Provenance,
  planLayout,
} from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import { abortedError } from './abort.ts';
import { badOption } from './bad-option.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import { openCheckpoint } from './checkpoint/open.ts';
import { prepareCheckpoint } from './checkpoint/prepared-checkpoint.ts';
import { isReadFrom } from './checkpoint/read-from.ts';
import { createDenseMethod } from './methods/dense-method.ts';
import { createIntegerMethod } from './methods/integer-method.ts';
import type { TensorMethod } from './methods/tensor-method.ts';
import { createW11Method } from './methods/w11-method.ts';
import { type QuantizeOptions, type ResolvedOptions, resolveOptions } from './options.ts';
import { makeRecipe } from './recipe.ts';
import { makeReport, type QuantizeReport, reportTensor, type TensorReport } from './report.ts';
import { type CalibratedLayers, calibrateLayers } from './stages/calibrated-layers.ts';
import { PLAIN_QUANTIZER } from './stages/clip-search.ts';
import { chooseOutliers } from './stages/outliers.ts';
import { encodeTensor } from './tensor-encoding.ts';

const ASSETS: readonly { readonly role: AssetRole; readonly mediaType: string }[] = [
  { role: 'tokenizer', mediaType: 'application/json' },
  { role: 'tokenizer-config', mediaType: 'application/json' },
  { role: 'chat-template', mediaType: 'text/x-jinja' },
  { role: 'generation-config', mediaType: 'application/json' },
  { role: 'license', mediaType: 'text/plain' },
];

/**
 * Quantizes a checkpoint and writes it as one container. Linear layers become W(1+1) with a 4-bit quantizer for
 * their inputs (clips 1), embedding and head integers or f16, norms stay f32.
 *
 * One tensor is in memory at a time, in slices of rows while it is read. The container appears under `outPath` only
 * when it is complete; until then, and on any failure, what was there before stays. The same checkpoint and
 * options give the same bytes.
 *
 * @param checkpoint An opened checkpoint, which stays open, or a path for `openCheckpoint`.
 * @throws DuobitError `QUANTIZE_OPTION` (also for an output that is a file of the checkpoint), `QUANTIZE_NOT_FINITE`, `QUANTIZE_OUT_OF_RANGE`, `QUANTIZE_VERIFY`,
 * `TEXT_TOO_SHORT`, `CALIBRATION_NOT_FINITE`, `RECIPE_MISMATCH`, `ABORTED`, with a queue those of `runQueuedStage`, and those of checkpoint, writer and sink.
 */
export async function quantize(
  checkpoint: Checkpoint | string,
  outPath: string,
  options: QuantizeOptions = {},
): Promise<QuantizeReport> {
  const resolved = resolveOptions(options);
  const queue = options.distillation?.queue;
  // Before hours of stage 1.
  if (queue) await (await import('./queue/connection.ts')).checkQueue(queue.url);
  if (typeof checkpoint !== 'string') return quantizeCheckpoint(checkpoint, outPath, options, resolved);
  const opened = await openCheckpoint(checkpoint);
  try {
    return await quantizeCheckpoint(opened, outPath, options, resolved);
  } finally {
    await opened.close();
  }
}

async function quantizeCheckpoint(
  given: Checkpoint,
  outPath: string,
  options: QuantizeOptions,
  resolved: ResolvedOptions,
): Promise<QuantizeReport> {
  const started = performance.now();
  if (await isReadFrom(given.path, outPath)) {
    throw badOption('outPath', `names a file of the checkpoint, ${outPath}`, 'Write to another file');
  }
  // Opened before the long work, so that an unwritable folder is known at once.
  const sink = await (options.openSink ?? createFileSink)(outPath);
  let writer: ContainerWriter | undefined;
  try {
    const assets = await readAssets(given);
    const hasTokenizer = assets.some(({ role }) => role === 'tokenizer');
    if (!hasTokenizer) {
      const remedy = given.kind === 'gguf' ? '' : '; with tokenizer.json in its folder they take it';
      options.onNotice?.(
        `the checkpoint has no tokenizer: commands that need text will refuse the container${remedy}`,
      );
    }
    checkWritable(given, assets, options, resolved);
    await checkExpected(given, options);
    const { checkpoint, calibrated } = await prepare(given, outPath, options, resolved);
    const specs = listTensors(checkpoint.architecture);
    const methods = new Map(specs.map((spec) => [spec.name, chooseMethod(spec, resolved)]));
    const encodingOf = (name: string): Encoding =>
      calibrated?.encodingOf(name) ?? methods.get(name)!.encoding;
    const provenance = await describeProvenance(checkpoint, options, resolved, calibrated);
    writer = await createContainerWriter(
      {
        architecture: checkpoint.architecture,
        specialTokens: checkpoint.specialTokens,
        assets,
        tensors: specs.map(({ name, shape, kind }) => ({
          name,
          shape,
          encoding: encodingOf(name),
          activation: kind === 'linear' ? (calibrated?.activationOf(name) ?? PLAIN_QUANTIZER) : null,
          inputRotation: checkpoint.tensorInfo(name).inputRotation,
        })),
        provenance,
        metadata: options.metadata ?? {},
      },
      sink,
    );
    const tensors = await writeTensors(checkpoint, writer, specs, methods, calibrated, options);
    options.onProgress?.({ phase: 'write', tensor: outPath, done: 0, total: 1 });
    const { fileLength, headerSha256 } = await writer.finish();
    options.onProgress?.({ phase: 'write', tensor: outPath, done: 1, total: 1 });
    await calibrated?.forget();
    return makeReport(tensors, {
      outPath,
      sourceName: checkpoint.name,
      fileBytes: fileLength,
      headerSha256,
      hasTokenizer,
      calibrationTokens: calibrated?.tokens ?? 0,
      seconds: (performance.now() - started) / 1000,
      stages: calibrated?.stages ?? [],
      evaluationTokens: calibrated?.evaluationTokens ?? 0,
      recipe: makeRecipe(checkpoint, provenance.sourceSha256!, options, resolved, calibrated),
    });
  } catch (error) {
    await (writer ?? sink).abort();
    const { signal } = options;
    throw signal?.aborted && !(error instanceof DuobitError) ? abortedError(signal) : error;
  }
}

/**
 * Whether a container can hold what the checkpoint says of itself, tokenizer included: better known now than after
 * hours of calibration. @throws DuobitError any code of the writer
 */
function checkWritable(
  { architecture, specialTokens, name }: Checkpoint,
  assets: readonly AssetSpec[],
  options: QuantizeOptions,
  resolved: ResolvedOptions,
): void {
  const provenance = { producer: resolved.producer, sourceName: name, sourceSha256: '0'.repeat(64) };
  try {
    planLayout({
      architecture,
      specialTokens,
      assets,
      tensors: listTensors(architecture).map((spec) => ({
        name: spec.name,
        shape: spec.shape,
        encoding: chooseMethod(spec, resolved).encoding,
        activation: null,
      })),
      provenance: { ...provenance, recipe: '', calibrationSha256: null },
      metadata: options.metadata ?? {},
    });
  } catch (cause) {
    if (!(cause instanceof DuobitError)) throw cause;
    const { code, message, where } = cause;
    const remedy = 'A container cannot hold this: correct the files of the checkpoint, or get it again';
    throw new DuobitError(code, message, { source: name, where, remedy, cause });
  }
}

/** @throws DuobitError `RECIPE_MISMATCH` */
async function checkExpected(checkpoint: Checkpoint, { expected, signal }: QuantizeOptions): Promise<void> {
  if (expected?.weightsSha256 === undefined) return;
  const sha256 = await checkpoint.weightsSha256(signal);
  if (sha256 === expected.weightsSha256) return;
  throw new DuobitError(
    'RECIPE_MISMATCH',
    `the weights have the SHA-256 ${sha256}, the recipe's had ${expected.weightsSha256}`,
    { source: checkpoint.name, remedy: 'Give the checkpoint that the recipe was made with' },
  );
}

/** The checkpoint as it will be quantized, and its linear layers if they are to be calibrated. */
async function prepare(
  given: Checkpoint,
  outPath: string,
  options: QuantizeOptions,
  resolved: ResolvedOptions,
): Promise<{ readonly checkpoint: Checkpoint; readonly calibrated: CalibratedLayers | null }> {
  const { calibration, signal } = options;
  if (!calibration) {
    const { checkpoint } = await prepareCheckpoint(given, resolved.rotation);
    return { checkpoint, calibrated: null };
  }
  const own = options.backend ? null : await createWasmBackend();
  const backend = options.backend ?? own!;
  try {
    const { outliers } = resolved.fit;
    const prepared = await prepareCheckpoint(
      given,
      resolved.rotation,
      outliers > 0
        ? (checkpoint) => chooseOutliers(checkpoint, backend, calibration, outliers, signal)
        : undefined,
    );
    const calibrated = await calibrateLayers(prepared, backend, outPath, options, resolved);
    return { checkpoint: prepared.checkpoint, calibrated };
  } finally {
    await own?.dispose();
  }
}

async function writeTensors(
  checkpoint: Checkpoint,
  writer: ContainerWriter,
  specs: readonly TensorSpec[],
  methods: ReadonlyMap<string, TensorMethod>,
  calibrated: CalibratedLayers | null,
  options: QuantizeOptions,
): Promise<TensorReport[]> {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const total = specs.reduce((sum, spec) => sum + countWeights(spec.shape), 0);
  let done = 0;
  const reports: TensorReport[] = [];
  for (const name of writer.order) {
    const spec = byName.get(name)!;
    const method = methods.get(name)!;
    const advance = (weights: number): void => {
      done += weights;
      options.onProgress?.({ phase: 'quantize', tensor: name, done, total });
    };
    options.onProgress?.({ phase: 'quantize', tensor: name, done, total });
    const encoded =
      calibrated && spec.kind === 'linear'
        ? await calibrated.take(name)
        : await encodeTensor(checkpoint, spec, method, advance, options.signal);
    if (calibrated && spec.kind === 'linear') advance(countWeights(spec.shape));
    await writer.writeTensor(name, encoded.planes);
    reports.push(reportTensor(spec, calibrated?.encodingOf(name) ?? method.encoding, encoded));
  }
  return reports;
}

function chooseMethod(spec: TensorSpec, options: ResolvedOptions): TensorMethod {
  switch (spec.kind) {
    case 'linear':
      return createW11Method(options);
    case 'norm':
      return createDenseMethod('f32');
    default:
      if (options.embedding === 'f16') return createDenseMethod('f16');
      return options.embedding === 'q8'
        ? createIntegerMethod({ kind: 'int8', groupSize: 64 })
        : createIntegerMethod({ kind: 'int4', groupSize: 32 });
  }
}

async function readAssets(checkpoint: Checkpoint): Promise<AssetSpec[]> {
  const assets: AssetSpec[] = [];
  for (const { role, mediaType } of ASSETS) {
    const bytes = await checkpoint.readAsset(role);
    if (bytes !== null && bytes.length > 0) assets.push({ role, mediaType, bytes });
  }
  return assets;
}

async function describeProvenance(
  checkpoint: Checkpoint,
  options: QuantizeOptions,
  resolved: ResolvedOptions,
  calibrated: CalibratedLayers | null,
): Promise<Provenance> {
  options.onProgress?.({ phase: 'hash', tensor: checkpoint.name, done: 0, total: 1 });
  const sourceSha256 = await checkpoint.weightsSha256(options.signal);
  options.onProgress?.({ phase: 'hash', tensor: checkpoint.name, done: 1, total: 1 });
  return {
    producer: resolved.producer,
    sourceName: checkpoint.name,
    sourceSha256,
    recipe: describeRecipe(resolved, calibrated),
    calibrationSha256: calibrated?.tokensSha256 ?? null,
  };
}

/** Canonical JSON: what determines the bytes besides the checkpoint and the calibration tokens, keys sorted. */
function describeRecipe(
  { embedding, groupSize, offsets, rotation }: ResolvedOptions,
  calibrated: CalibratedLayers | null,
): string {
  return JSON.stringify({
    calibration: calibrated?.recipe ?? null,
    embedding,
    groupSize,
    offsets,
    rotation,
    stages: 1,
  });
}

function countWeights(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
