// Which tensors a Llama-family model has: their Hugging Face names, shapes and roles. Plan, quantizer and tests share it.
import type { Architecture } from '@duobit/format';

/** Tensors outside the blocks. A tied head is the embedding and has no tensor of its own. */
export const LLAMA = {
  embedding: 'model.embed_tokens.weight',
  finalNorm: 'model.norm.weight',
  head: 'lm_head.weight',
} as const;

/** Names of the tensors of one block. */
export interface BlockWeights {
  readonly inputNorm: string;
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  readonly postNorm: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export function blockWeights(block: number): BlockWeights {
  const prefix = `model.layers.${block}`;
  return {
    inputNorm: `${prefix}.input_layernorm.weight`,
    q: `${prefix}.self_attn.q_proj.weight`,
    k: `${prefix}.self_attn.k_proj.weight`,
    v: `${prefix}.self_attn.v_proj.weight`,
    o: `${prefix}.self_attn.o_proj.weight`,
    postNorm: `${prefix}.post_attention_layernorm.weight`,
    gate: `${prefix}.mlp.gate_proj.weight`,
    up: `${prefix}.mlp.up_proj.weight`,
    down: `${prefix}.mlp.down_proj.weight`,
  };
}

export interface TensorSpec {
  readonly name: string;
  /** Linear, embedding and head: [N out, K in]; norm: [width]. */
  readonly shape: readonly number[];
  readonly kind: 'embedding' | 'norm' | 'linear' | 'head';
  /** Index of the block it belongs to, null outside the blocks. */
  readonly block: number | null;
}

/** The tensors of one block, in order of first use. */
export function listBlockTensors(architecture: Architecture, block: number): TensorSpec[] {
  const { hiddenSize, intermediateSize, headCount, kvHeadCount, headSize } = architecture;
  const names = blockWeights(block);
  const queryWidth = headCount * headSize;
  const keyWidth = kvHeadCount * headSize;
  const linear = (name: string, rows: number, columns: number): TensorSpec => ({
    name,
    shape: [rows, columns],
    kind: 'linear',
    block,
  });
  const norm = (name: string): TensorSpec => ({ name, shape: [hiddenSize], kind: 'norm', block });
  return [
    norm(names.inputNorm),
    linear(names.q, queryWidth, hiddenSize),
    linear(names.k, keyWidth, hiddenSize),
    linear(names.v, keyWidth, hiddenSize),
    linear(names.o, hiddenSize, queryWidth),
    norm(names.postNorm),
    linear(names.gate, intermediateSize, hiddenSize),
    linear(names.up, intermediateSize, hiddenSize),
    linear(names.down, hiddenSize, intermediateSize),
  ];
}

/** Every tensor a model of this architecture needs, each once, in order of first use. */
export function listTensors(architecture: Architecture): TensorSpec[] {
  const { vocabularySize, hiddenSize, blockCount, tiedHead } = architecture;
  const specs: TensorSpec[] = [
    { name: LLAMA.embedding, shape: [vocabularySize, hiddenSize], kind: 'embedding', block: null },
  ];
  for (let block = 0; block < blockCount; block++) specs.push(...listBlockTensors(architecture, block));
  specs.push({ name: LLAMA.finalNorm, shape: [hiddenSize], kind: 'norm', block: null });
  if (!tiedHead)
    specs.push({ name: LLAMA.head, shape: [vocabularySize, hiddenSize], kind: 'head', block: null });
  return specs;
}
