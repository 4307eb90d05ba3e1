// Which tensors a Llama-family model has, by their Hugging Face names, and the order in which a forward pass
// first uses them: the order of a container's data.
import type { Architecture } from './manifest.ts';

/** Tensors outside the blocks. A tied head is the embedding and has no tensor of its own. */
export const LLAMA = {
  embedding: 'model.embed_tokens.weight',
  finalNorm: 'model.norm.weight',
  head: 'lm_head.weight',
} as const;

/** A module of one block: what plans call it, its name, its rows, and its columns unless it is a norm. */
const BLOCK_MODULES = [
  ['inputNorm', 'input_layernorm', 'hidden', null],
  ['q', 'self_attn.q_proj', 'query', 'hidden'],
  ['k', 'self_attn.k_proj', 'key', 'hidden'],
  ['v', 'self_attn.v_proj', 'key', 'hidden'],
  ['o', 'self_attn.o_proj', 'hidden', 'query'],
  ['postNorm', 'post_attention_layernorm', 'hidden', null],
  ['gate', 'mlp.gate_proj', 'intermediate', 'hidden'],
  ['up', 'mlp.up_proj', 'intermediate', 'hidden'],
  ['down', 'mlp.down_proj', 'hidden', 'intermediate'],
] as const;

const BLOCK = /^model\.layers\.(0|[1-9]\d{0,8})\.(.+)\.[^.]+$/;

/** Names of the weights of one block. */
export type BlockWeights = { readonly [K in (typeof BLOCK_MODULES)[number][0]]: string };

/** A tensor that a model cannot do without. */
export interface ModelTensor {
  readonly name: string;
  /** Linear, embedding and head: [N out, K in]; norm: [width]. */
  readonly shape: readonly number[];
  readonly kind: 'embedding' | 'norm' | 'linear' | 'head';
  /** Index of the block it belongs to, null outside the blocks. */
  readonly block: number | null;
}

/** Names of a block's linear weights and norms. */
export function blockWeights(block: number): BlockWeights {
  const names = BLOCK_MODULES.map(([key, module]) => [key, `model.layers.${block}.${module}.weight`]);
  return Object.fromEntries(names) as BlockWeights;
}

/** The tensors of one block, in order of first use. */
export function listBlockTensors(architecture: Architecture, block: number): ModelTensor[] {
  const { hiddenSize, intermediateSize, headCount, kvHeadCount, headSize } = architecture;
  const sizes = {
    hidden: hiddenSize,
    intermediate: intermediateSize,
    query: headCount * headSize,
    key: kvHeadCount * headSize,
  };
  return BLOCK_MODULES.map(([, module, rows, columns]) => ({
    name: `model.layers.${block}.${module}.weight`,
    shape: columns === null ? [sizes[rows]] : [sizes[rows], sizes[columns]],
    kind: columns === null ? 'norm' : 'linear',
    block,
  }));
}

/** As `listModelTensors`, made one by one: a header may claim very many blocks. */
export function* generateModelTensors(architecture: Architecture): Generator<ModelTensor> {
  const { vocabularySize, hiddenSize, blockCount, tiedHead } = architecture;
  const table = [vocabularySize, hiddenSize];
  yield { name: LLAMA.embedding, shape: table, kind: 'embedding', block: null };
  for (let block = 0; block < blockCount; block++) yield* listBlockTensors(architecture, block);
  yield { name: LLAMA.finalNorm, shape: [hiddenSize], kind: 'norm', block: null };
  if (!tiedHead) yield { name: LLAMA.head, shape: table, kind: 'head', block: null };
}

/** Every tensor that a model of this architecture needs, each once, in order of first use. */
export function listModelTensors(architecture: Architecture): ModelTensor[] {
  return [...generateModelTensors(architecture)];
}

/** Name of the segment that holds a tensor: 'embedding', 'block.N', 'head', or 'other' for unknown names. */
export function segmentOfTensor(name: string): string {
  if (name.startsWith('model.embed_tokens.')) return 'embedding';
  const block = BLOCK.exec(name);
  if (block) return `block.${block[1]}`;
  return name.startsWith('model.norm.') || name.startsWith('lm_head.') ? 'head' : 'other';
}

/** [stage, block, module]: smaller is used earlier. */
function firstUse(name: string): [number, number, number] {
  const block = BLOCK.exec(name);
  if (block) {
    const module = BLOCK_MODULES.findIndex(([, known]) => known === block[2]);
    return [1, Number(block[1]), module === -1 ? BLOCK_MODULES.length : module];
  }
  if (name.startsWith('model.embed_tokens.')) return [0, 0, 0];
  if (name.startsWith('model.norm.')) return [2, 0, 0];
  return name.startsWith('lm_head.') ? [2, 0, 1] : [3, 0, 0];
}

/** Sorts tensor names by first use; within one module a weight comes before its bias, other names sort as text. */
export function compareTensorNames(a: string, b: string): number {
  const [x, y] = [firstUse(a), firstUse(b)];
  for (let i = 0; i < x.length; i++) {
    const difference = x[i]! - y[i]!;
    if (difference !== 0) return difference;
  }
  const bias = Number(a.endsWith('.bias')) - Number(b.endsWith('.bias'));
  return bias || (a < b ? -1 : a > b ? 1 : 0);
}
