// One small Llama as a Hugging Face folder and as a GGUF file, with the same weights, for tests of both readers.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { listTensors } from '@duobit/core';
import type { Architecture } from '@duobit/format';
import type { GgufField, GgufTensorSpec } from './gguf-writer.ts';
import { type SafetensorsTensor, writeSafetensors } from './safetensors-writer.ts';

export const ARCHITECTURE: Architecture = {
  family: 'llama',
  vocabularySize: 6,
  hiddenSize: 32,
  intermediateSize: 64,
  blockCount: 2,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 8,
  contextLength: 128,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: false,
};

export const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 6,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000.0,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: [2, 3],
};

export const METADATA: readonly (readonly [string, GgufField])[] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['llama.embedding_length', { type: 'u32', value: 32 }],
  ['llama.feed_forward_length', { type: 'u32', value: 64 }],
  ['llama.block_count', { type: 'u32', value: 2 }],
  ['llama.attention.head_count', { type: 'u32', value: 4 }],
  ['llama.attention.head_count_kv', { type: 'u32', value: 2 }],
  ['llama.context_length', { type: 'u64', value: 128n }],
  ['llama.attention.layer_norm_rms_epsilon', { type: 'f64', value: 1e-5 }],
];

/** Distinct values that f16 and bf16 hold exactly: small whole numbers over 64, different for each tensor. */
export function makeValues(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => (((i * 37 + seed * 101) % 255) - 127) / 64);
}

export interface SmallTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array<ArrayBuffer>;
}

export function makeTensors(architecture: Architecture = ARCHITECTURE): SmallTensor[] {
  return listTensors(architecture).map(({ name, shape }, seed) => ({
    name,
    shape,
    values: makeValues(
      shape.reduce((product, size) => product * size, 1),
      seed,
    ),
  }));
}

export function toSafetensors({ name, shape, values }: SmallTensor): SafetensorsTensor {
  return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer) };
}

export interface FolderOptions {
  readonly config?: object;
  readonly tensors?: readonly SafetensorsTensor[];
  /** Further files: name to text. */
  readonly files?: Readonly<Record<string, string>>;
}

export async function writeFolder(folder: string, options: FolderOptions = {}): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(options.config ?? CONFIG));
  const tensors = options.tensors ?? makeTensors().map(toSafetensors);
  await writeFile(path.join(folder, 'model.safetensors'), writeSafetensors(tensors));
  for (const [name, text] of Object.entries(options.files ?? {}))
    await writeFile(path.join(folder, name), text);
  return folder;
}

const GGUF_PARTS: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
  'input_layernorm.weight': 'attn_norm.weight',
  'self_attn.q_proj.weight': 'attn_q.weight',
  'self_attn.k_proj.weight': 'attn_k.weight',
  'self_attn.v_proj.weight': 'attn_v.weight',
  'self_attn.o_proj.weight': 'attn_output.weight',
  'post_attention_layernorm.weight': 'ffn_norm.weight',
  'mlp.gate_proj.weight': 'ffn_gate.weight',
  'mlp.up_proj.weight': 'ffn_up.weight',
  'mlp.down_proj.weight': 'ffn_down.weight',
};

/**
 * What a converter to GGUF does to a query or key matrix: of the two halves of a head's rows, it puts row i of the
 * first and row i of the second beside each other.
 */
export function interleaveHeads(
  values: Float32Array,
  columns: number,
  headSize: number,
): Float32Array<ArrayBuffer> {
  const out: number[] = [];
  const rows = values.length / columns;
  for (let head = 0; head < rows; head += headSize) {
    for (let i = 0; i < headSize / 2; i++) {
      for (const row of [head + i, head + headSize / 2 + i]) {
        out.push(...values.subarray(row * columns, (row + 1) * columns));
      }
    }
  }
  return Float32Array.from(out);
}

/** A tensor as a converter writes it, in F32 or through `encode`. */
export function toGguf(
  { name, shape, values }: SmallTensor,
  encode?: { readonly type: number; readonly encode: (values: Float32Array) => Uint8Array },
): GgufTensorSpec {
  const [, block, part] = /^model\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
  const rotated = /[qk]_proj/.test(name) ? interleaveHeads(values, shape[1]!, ARCHITECTURE.headSize) : values;
  return {
    name: block === undefined ? GGUF_PARTS[name]! : `blk.${block}.${GGUF_PARTS[part!]}`,
    dimensions: [...shape].reverse(),
    type: encode?.type ?? 0,
    data: encode?.encode(rotated) ?? new Uint8Array(rotated.buffer, rotated.byteOffset, rotated.byteLength),
  };
}
