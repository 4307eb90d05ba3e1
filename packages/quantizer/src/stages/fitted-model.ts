// A model quantized in memory by any method, to be evaluated: linear layers as the f32 values that their stored form stands
// for. What baselines need, which have no runtime of their own; W(1+1) gives the same numbers here as from its container but
// for rounding.
import { type Backend, createTokenizer } from '@duobit/core';
import type { ModelSource, TensorData } from '@duobit/format';
import { embedWindows } from '../calibration/streams.ts';
import { type CalibrationOptions, cutWindows, hashWindows } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { Workspace } from '../linalg/index.ts';
import { quantizeBlocks, type Stage1Options, type Stage1Run } from './stage1.ts';

/** A model whose linear layers are quantized, before it is written. */
export interface FittedModel {
  /** The checkpoint with quantized linear layers, each with its input's quantizer. Closing the checkpoint is the caller's. */
  readonly source: ModelSource;
  readonly linearWeights: number;
  /** Bytes of the stored form of all linear layers. */
  readonly linearBytes: number;
  /** Mean over linear layers of |(W - W^) X|^2 / |W X|^2, weighted by their number of weights. */
  readonly relativeError: number;
  readonly calibrationTokens: number;
  readonly calibrationSha256: string;
  readonly seconds: number;
}

/**
 * Memory: all linear layers in f32, and what `quantizeBlocks` needs.
 * @throws DuobitError those of `quantizeBlocks` and `cutWindows`
 */
export async function fitModel(
  checkpoint: Checkpoint,
  backend: Backend,
  calibration: CalibrationOptions,
  options: Stage1Options,
  run: Omit<Stage1Run, 'store'> = {},
): Promise<FittedModel> {
  const started = performance.now();
  const windows = cutWindows(checkpoint, await createTokenizer(checkpoint), calibration);
  const space = await Workspace.create();
  const stream = await embedWindows(checkpoint, backend, windows, run.signal);
  const layers = new Map<
    string,
    Pick<TensorData['info'], 'activation' | 'encoding'> & Pick<TensorData, 'planes'>
  >();
  let linearWeights = 0;
  let linearBytes = 0;
  let errors = 0;
  for await (const block of quantizeBlocks(checkpoint, backend, space, stream, options, run))
    for (const [name, { result, error, activation }] of block.layers) {
      // Outlier columns have no dense form: what a layer computes with them is no product of one matrix under A4.
      const { buffer, byteOffset, byteLength } = result.approximation;
      const dense = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
      const stored = result.outliers
        ? result.packed!
        : { encoding: { kind: 'f32' } as const, planes: { dense } };
      layers.set(name, { ...stored, activation });
      linearWeights += result.approximation.length;
      linearBytes += result.bytes;
      errors += error * result.approximation.length;
    }
  const tensorInfo = (name: string): TensorData['info'] => {
    const layer = layers.get(name);
    const info = checkpoint.tensorInfo(name);
    return layer ? { ...info, encoding: layer.encoding, activation: layer.activation } : info;
  };
  return {
    source: {
      name: checkpoint.name,
      architecture: checkpoint.architecture,
      specialTokens: checkpoint.specialTokens,
      tensorNames: checkpoint.tensorNames,
      tensorInfo,
      async readTensor(name) {
        const layer = layers.get(name);
        return layer ? { info: tensorInfo(name), planes: layer.planes } : checkpoint.readTensor(name);
      },
      readAsset: (role) => checkpoint.readAsset(role),
      close: async () => {},
    },
    linearWeights,
    linearBytes,
    relativeError: errors / linearWeights,
    calibrationTokens: windows.length * windows[0]!.length,
    calibrationSha256: await hashWindows(windows),
    seconds: (performance.now() - started) / 1000,
  };
}
