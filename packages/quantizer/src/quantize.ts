// From a checkpoint to a container: calibrate if asked, then encode and write one tensor after the other.
import { resolve } from 'node:path';
import { createWasmBackend, listTensors, type TensorSpec } from '@duobit/core';
import {
  type AssetRole,
  type ContainerWriter,
  createContainerWriter,
  DuobitError,
  type Provenance,
  sha256,
  toHex,
} from '@duobit/format';
import { createFileSink } from '@duobit/format/node';
import { abortedError } from './abort.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';
import { openCheckpoint } from './checkpoint/open.ts';
import { createDenseMethod } from './methods/dense-method.ts';
import { createIntegerMethod } from './methods/integer-method.ts';
import type { TensorMethod } from './methods/tensor-method.ts';
import { createW11Method } from './methods/w11-method.ts';
import { badOption, type QuantizeOptions, type ResolvedOptions, resolveOptions } from './options.ts';
import { makeReport, type QuantizeReport, reportTensor, type TensorReport } from './report.ts';
import { type Calibration, calibrate, importanceOf } from './stages/calibration.ts';
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
 * @throws DuobitError `QUANTIZE_OPTION`, `QUANTIZE_NOT_FINITE`, `QUANTIZE_OUT_OF_RANGE`, `QUANTIZE_VERIFY`,
 * `TEXT_TOO_SHORT`, `CALIBRATION_NOT_FINITE`, `ABORTED`, and those of checkpoint, writer and sink.
 */
export async function quantize(
  checkpoint: Checkpoint | string,
  outPath: string,
  options: QuantizeOptions = {},
): Promise<QuantizeReport> {
  const resolved = resolveOptions(options);
  if (typeof checkpoint !== 'string') return quantizeCheckpoint(checkpoint, outPath, options, resolved);
  const opened = await openCheckpoint(checkpoint);
  try {
    return await quantizeCheckpoint(opened, outPath, options, resolved);
  } finally {
    await opened.close();
  }
}

async function quantizeCheckpoint(
  checkpoint: Checkpoint,
  outPath: string,
  options: QuantizeOptions,
  resolved: ResolvedOptions,
): Promise<QuantizeReport> {
  const started = performance.now();
  if (resolve(outPath) === resolve(checkpoint.path)) {
    throw badOption('outPath', `names the checkpoint itself, ${outPath}`, 'Write to another file');
  }
  // Opened before the long work, so that an unwritable folder is known at once.
  const sink = await (options.openSink ?? createFileSink)(outPath);
  let writer: ContainerWriter | undefined;
  try {
    const calibration = await runCalibration(checkpoint, options);
    const specs = listTensors(checkpoint.architecture);
    const methods = new Map(specs.map((spec) => [spec.name, chooseMethod(spec, resolved)]));
    writer = await createContainerWriter(
      {
        architecture: checkpoint.architecture,
        specialTokens: checkpoint.specialTokens,
        assets: await readAssets(checkpoint),
        tensors: specs.map(({ name, shape, kind }) => ({
          name,
          shape,
          encoding: methods.get(name)!.encoding,
          activation:
            kind === 'linear' ? { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } : null,
        })),
        provenance: await describeProvenance(checkpoint, options, resolved),
        metadata: options.metadata ?? {},
      },
      sink,
    );
    const tensors = await writeTensors(checkpoint, writer, specs, methods, calibration, options);
    options.onProgress?.({ phase: 'write', tensor: outPath, done: 0, total: 1 });
    const { fileLength, headerSha256 } = await writer.finish();
    options.onProgress?.({ phase: 'write', tensor: outPath, done: 1, total: 1 });
    return makeReport(tensors, {
      outPath,
      sourceName: checkpoint.name,
      fileBytes: fileLength,
      headerSha256,
      calibrationTokens: calibration?.tokens ?? 0,
      seconds: (performance.now() - started) / 1000,
    });
  } catch (error) {
    await (writer ?? sink).abort();
    const { signal } = options;
    throw signal?.aborted && !(error instanceof DuobitError) ? abortedError(signal) : error;
  }
}

async function writeTensors(
  checkpoint: Checkpoint,
  writer: ContainerWriter,
  specs: readonly TensorSpec[],
  methods: ReadonlyMap<string, TensorMethod>,
  calibration: Calibration | null,
  options: QuantizeOptions,
): Promise<TensorReport[]> {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const total = specs.reduce((sum, spec) => sum + countWeights(spec.shape), 0);
  let done = 0;
  const reports: TensorReport[] = [];
  for (const name of writer.order) {
    const spec = byName.get(name)!;
    const method = methods.get(name)!;
    const squares = calibration?.squares.get(name);
    options.onProgress?.({ phase: 'quantize', tensor: name, done, total });
    const encoded = await encodeTensor(
      checkpoint,
      spec,
      method,
      squares ? importanceOf(squares) : null,
      (weights) => {
        done += weights;
        options.onProgress?.({ phase: 'quantize', tensor: name, done, total });
      },
      options.signal,
    );
    await writer.writeTensor(name, encoded.planes);
    reports.push(reportTensor(spec, method.encoding, encoded));
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

async function runCalibration(checkpoint: Checkpoint, options: QuantizeOptions): Promise<Calibration | null> {
  if (!options.calibration) return null;
  const { onProgress, signal } = options;
  // One thread: sums of squares must not depend on how work is divided.
  const backend = await createWasmBackend({ threads: 1 });
  try {
    return await calibrate(checkpoint, backend, options.calibration, {
      signal,
      onProgress: onProgress
        ? (tensor, done, total) => onProgress({ phase: 'calibrate', tensor, done, total })
        : undefined,
    });
  } finally {
    await backend.dispose();
  }
}

async function readAssets(checkpoint: Checkpoint) {
  const assets: { role: AssetRole; mediaType: string; bytes: Uint8Array }[] = [];
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
): Promise<Provenance> {
  options.onProgress?.({ phase: 'hash', tensor: checkpoint.name, done: 0, total: 1 });
  const sourceSha256 = await checkpoint.weightsSha256(options.signal);
  options.onProgress?.({ phase: 'hash', tensor: checkpoint.name, done: 1, total: 1 });
  const { calibration } = options;
  return {
    producer: resolved.producer,
    sourceName: checkpoint.name,
    sourceSha256,
    recipe: describeRecipe(checkpoint, options, resolved),
    calibrationSha256: calibration ? toHex(await sha256(new TextEncoder().encode(calibration.text))) : null,
  };
}

/** Canonical JSON: what determines the bytes besides the checkpoint and the calibration text, keys sorted. */
function describeRecipe(checkpoint: Checkpoint, options: QuantizeOptions, resolved: ResolvedOptions): string {
  const { calibration } = options;
  const { embedding, groupSize, offsets } = resolved;
  return JSON.stringify({
    calibration: calibration
      ? {
          context: calibration.context ?? Math.min(512, checkpoint.architecture.contextLength),
          maxWindows: calibration.maxWindows ?? 16,
        }
      : null,
    embedding,
    fit: 'exact',
    groupSize,
    importance: calibration ? 'diagonal' : 'uniform',
    offsets,
    stages: 1,
  });
}

function countWeights(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
