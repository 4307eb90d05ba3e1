// Residual streams of the calibration windows: what goes into the first block, and how a block's program runs over them.
import { type Backend, buildPlan, LLAMA, SLOTS } from '@duobit/core';
import type { ModelSource, TensorData } from '@duobit/format';
import { pause } from '../abort.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

export interface Stream {
  /** The residual stream of each window, [tokens, hiddenSize] f32. */
  readonly windows: Float32Array[];
  readonly hiddenSize: number;
  /** Most rows in one run of a block: bounds the backend's activation memory. */
  readonly maxRows: number;
}

const MAX_ROWS = 256;

/** The residual streams before the first block. @throws DuobitError `ABORTED`, and those of backend and checkpoint */
export async function embedWindows(
  checkpoint: Checkpoint,
  backend: Backend,
  windows: readonly Int32Array[],
  signal?: AbortSignal,
): Promise<Stream> {
  const distinct = [...new Set(windows.flatMap((window) => [...window]))].sort((a, b) => a - b);
  const source = await selectEmbeddingRows(checkpoint, distinct);
  const plan = buildPlan(source, { section: 'embedding' });
  const program = await backend.prepare(plan, (name) => source.readTensor(name), {
    capacity: windows[0]!.length,
    maxRows: windows[0]!.length,
  });
  const positions = new Map(distinct.map((token, index) => [token, index]));
  try {
    const streams: Float32Array[] = [];
    for (const window of windows) {
      await pause(signal);
      await program.write(
        SLOTS.tokens,
        window.map((token) => positions.get(token)!),
      );
      await program.run({ rows: window.length, position: 0, logits: 'none' });
      streams.push(await program.read(SLOTS.residual));
    }
    return { windows: streams, hiddenSize: checkpoint.architecture.hiddenSize, maxRows: MAX_ROWS };
  } finally {
    await program.dispose();
  }
}

/** Goes through a window's rows in runs of at most MAX_ROWS, in order of position. */
export async function runRows(
  window: Float32Array,
  hiddenSize: number,
  run: (part: Float32Array, rows: number, position: number) => Promise<void>,
): Promise<void> {
  const tokens = window.length / hiddenSize;
  for (let position = 0; position < tokens; position += MAX_ROWS) {
    const rows = Math.min(MAX_ROWS, tokens - position);
    await run(window.subarray(position * hiddenSize, (position + rows) * hiddenSize), rows, position);
  }
}

/** A tensor as f32 whose values were looked at, so that a NaN is reported by its own place and not by its effects. */
export async function readChecked(checkpoint: Checkpoint, name: string): Promise<TensorData> {
  const values = await checkpoint.readF32(name);
  return {
    info: { ...checkpoint.tensorInfo(name), encoding: { kind: 'f32' } },
    planes: { dense: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
  };
}

/** The same model with a vocabulary of only these tokens: the embedding can be the largest tensor by far. */
async function selectEmbeddingRows(
  checkpoint: Checkpoint,
  tokens: readonly number[],
): Promise<
  Pick<ModelSource, 'name' | 'architecture' | 'tensorNames' | 'tensorInfo'> & {
    readTensor(name: string): Promise<TensorData>;
  }
> {
  const { hiddenSize } = checkpoint.architecture;
  const rows = new Float32Array(tokens.length * hiddenSize);
  for (const [index, token] of tokens.entries()) {
    rows.set(await checkpoint.readRows(LLAMA.embedding, token, token + 1), index * hiddenSize);
  }
  const info = {
    name: LLAMA.embedding,
    shape: [tokens.length, hiddenSize],
    encoding: { kind: 'f32' },
    activation: null,
  } as const;
  return {
    name: checkpoint.name,
    architecture: { ...checkpoint.architecture, vocabularySize: tokens.length },
    tensorNames: checkpoint.tensorNames,
    tensorInfo: (name) => (name === LLAMA.embedding ? info : checkpoint.tensorInfo(name)),
    readTensor: async (name) =>
      name === LLAMA.embedding
        ? { info, planes: { dense: new Uint8Array(rows.buffer) } }
        : checkpoint.readTensor(name),
  };
}
