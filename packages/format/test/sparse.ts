// Containers of many gibibytes that take no room: their data is zeros but for the last tensor, and the file system
// stores zeros as holes.
import { open } from 'node:fs/promises';
import { type ContainerSpec, LIMITS, sha256, type TensorSpec } from '@duobit/format';
import { encodeHeader } from '../src/header-encode.ts';
import { planLayout } from '../src/layout.ts';
import { rehashHeader } from './forge.ts';
import { listTensors, makeSpec } from './sample.ts';

const WIDTH = 1024;

export interface SparseModel {
  readonly fileLength: number;
  /** Values of `model.norm.weight`, the last tensor of the file. */
  readonly lastValues: Float32Array;
}

function specify(gibibytes: number, blockCount: number, intermediateSize: number): ContainerSpec {
  const vocabularySize = Math.ceil((gibibytes * 2 ** 30) / (4 * WIDTH));
  const tensors: TensorSpec[] = [];
  const quantizer = listTensors().find(({ activation }) => activation !== null)!.activation;
  const add = (name: string, shape: number[], encoding: TensorSpec['encoding']): void => {
    tensors.push({ name, shape, encoding, activation: encoding.kind === 'w11' ? quantizer : null });
  };
  const w11 = { kind: 'w11', groupSize: 128, offsets: true } as const;
  const f32 = { kind: 'f32' } as const;
  add('model.embed_tokens.weight', [vocabularySize, WIDTH], f32);
  for (let block = 0; block < blockCount; block++) {
    const prefix = `model.layers.${block}`;
    add(`${prefix}.input_layernorm.weight`, [WIDTH], f32);
    for (const module of ['q_proj', 'k_proj', 'v_proj'])
      add(`${prefix}.self_attn.${module}.weight`, [64, WIDTH], w11);
    add(`${prefix}.self_attn.o_proj.weight`, [WIDTH, 64], w11);
    add(`${prefix}.post_attention_layernorm.weight`, [WIDTH], f32);
    add(`${prefix}.mlp.gate_proj.weight`, [intermediateSize, WIDTH], w11);
    add(`${prefix}.mlp.up_proj.weight`, [intermediateSize, WIDTH], w11);
    add(`${prefix}.mlp.down_proj.weight`, [WIDTH, intermediateSize], w11);
  }
  add('model.norm.weight', [WIDTH], f32);
  return {
    ...makeSpec(),
    assets: [],
    specialTokens: { bos: null, eos: [], pad: null, addBos: false },
    architecture: {
      ...makeSpec().architecture,
      vocabularySize,
      hiddenSize: WIDTH,
      intermediateSize,
      blockCount,
      headCount: 2,
      kvHeadCount: 2,
      headSize: 32,
      tiedHead: true,
    },
    tensors,
  };
}

/** Writes a model whose embedding takes `gibibytes`, and whose blocks grow with `intermediateSize`. */
export async function writeSparseModel(
  path: string,
  options: { readonly gibibytes: number; readonly blockCount?: number; readonly intermediateSize?: number },
): Promise<SparseModel> {
  const layout = planLayout(
    specify(options.gibibytes, options.blockCount ?? 1, options.intermediateSize ?? 64),
  );
  const zeroChunk = await sha256(new Uint8Array(LIMITS.chunkBytes));
  for (const { length, chunkHashes } of layout.content.segments) {
    const whole = Math.floor(length / LIMITS.chunkBytes);
    for (let chunk = 0; chunk < whole; chunk++) chunkHashes.set(zeroChunk, 32 * chunk);
    const rest = length - whole * LIMITS.chunkBytes;
    if (rest > 0) chunkHashes.set(await sha256(new Uint8Array(rest)), 32 * whole);
  }
  const lastValues = Float32Array.from({ length: WIDTH }, (_, i) => i - 0.25);
  const last = layout.content.segments.at(-1)!;
  const bytes = new Uint8Array(lastValues.buffer);
  last.chunkHashes.set(await sha256(bytes));
  const file = await open(path, 'w');
  try {
    await file.write(await rehashHeader(encodeHeader(layout.content, layout.segmentBase, layout.fileLength)));
    await file.write(bytes, 0, bytes.length, layout.segmentBase + last.offset);
  } finally {
    await file.close();
  }
  return { fileLength: layout.fileLength, lastValues };
}
