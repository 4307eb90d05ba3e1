// What a token costs on a GPU, counted at the device while a model generates.
/// <reference types="@webgpu/types" />
import { type Backend, createModel, type GenerateOptions, listPlanWeights } from '@duobit/core';
import { encodedPlaneLengths, type ModelSource } from '@duobit/format';
import { type DeviceCounts, watchDevice } from './device-watch.ts';

/** Of one token. */
export interface TokenCosts extends Omit<DeviceCounts, 'bytesRead'> {
  /** Of all weights that the token's dispatches had bound, each counted once; of an embedding that is not the head, too, all of it. */
  readonly weightBytes: number;
}

export interface ModelCosts {
  /** In the order of the options. */
  readonly tokens: readonly TokenCosts[];
  /** Bytes of the plan's weights in their file; and rows of W(1+1) weights, of each of which the device keeps a sum in f32. */
  readonly packedBytes: number;
  readonly w11Rows: number;
}

/** Tokens that are counted, after those that warm up: with the second of greedy decoding the run for the third is begun too. */
const [TOKENS, WARM_UP] = [4, 2];

/**
 * Generates some tokens with each of the options.
 * @param device the backend's, of which nothing has been asked yet
 * @throws Error when tokens of the same options do not all cost the same
 */
export async function measureTokenCosts(
  backend: Backend,
  device: GPUDevice,
  source: ModelSource,
  options: readonly GenerateOptions[],
): Promise<ModelCosts> {
  const watch = watchDevice(device);
  const model = await createModel(source, backend, { contextLength: 64, maxRows: 4, tokenizer: false });
  const names = new Set(listPlanWeights(model.plan));
  try {
    const tokens: TokenCosts[] = [];
    for (const chosen of options) {
      const costs: TokenCosts[] = [];
      watch.reset();
      const limits = { maxTokens: TOKENS + WARM_UP, ignoreEos: true };
      for await (const event of model.generate({ tokens: [1] }, { ...chosen, ...limits })) {
        if (event.kind !== 'token') continue;
        const { bytesRead, ...counts } = watch.counts();
        // A weight's buffers are called by its name, and what they hold of it.
        const own = [...bytesRead].filter(([label]) => names.has(label.split(',')[0]!));
        costs.push({ ...counts, weightBytes: own.reduce((sum, [, bytes]) => sum + bytes, 0) });
        watch.reset();
      }
      const [cost, ...others] = costs.slice(WARM_UP);
      for (const other of others)
        if (JSON.stringify(other) !== JSON.stringify(cost))
          throw new Error(`tokens do not cost the same: ${JSON.stringify(costs)}`);
      tokens.push(cost!);
    }
    return { tokens, ...packedSize(source, names) };
  } finally {
    await model.dispose();
  }
}

function packedSize(
  source: ModelSource,
  names: ReadonlySet<string>,
): { packedBytes: number; w11Rows: number } {
  let packedBytes = 0;
  let w11Rows = 0;
  for (const name of names) {
    const { encoding, shape } = source.tensorInfo(name);
    for (const length of Object.values(encodedPlaneLengths(encoding, shape))) packedBytes += length;
    if (encoding.kind === 'w11') w11Rows += shape[0]!;
  }
  return { packedBytes, w11Rows };
}
