// Which tensors a Llama-family model has, by their Hugging Face names, and the order in which a forward pass
// first uses them: the order of a container's data.
import type { Architecture } from './manifest.ts';

/** A module of one block: its rows and columns, or its width. */
const BLOCK_MODULES = [
  ['input_layernorm', 'hidden', null],
  ['self_attn.q_proj', 'query', 'hidden'],
  ['self_attn.k_proj', 'key', 'hidden'],
  ['self_attn.v_proj', 'key', 'hidden'],
  ['self_attn.o_proj', 'hidden', 'query'],
  ['post_attention_layernorm', 'hidden', null],
  ['mlp.gate_proj', 'intermediate', 'hidden'],
  ['mlp.up_proj', 'intermediate', 'hidden'],
  ['mlp.down_proj', 'hidden', 'intermediate'],
] as const;

const BLOCK = /^model\.layers\.(0|[1-9]\d{0,8})\.(.+)\.[^.]+$/;

/** Tensors that the model cannot do without, in order of first use. */
export function* expectedTensors(architecture: Architecture): Generator<{ name: string; shape: number[] }> {
  const sizes = {
    hidden: architecture.hiddenSize,
    intermediate: architecture.intermediateSize,
    query: architecture.headCount * architecture.headSize,
    key: architecture.kvHeadCount * architecture.headSize,
  };
  const table = [architecture.vocabularySize, architecture.hiddenSize];
  yield { name: 'model.embed_tokens.weight', shape: table };
  for (let block = 0; block < architecture.blockCount; block++) {
    for (const [module, rows, columns] of BLOCK_MODULES) {
      const shape = columns === null ? [sizes[rows]] : [sizes[rows], sizes[columns]];
      yield { name: `model.layers.${block}.${module}.weight`, shape };
    }
  }
  yield { name: 'model.norm.weight', shape: [architecture.hiddenSize] };
  if (!architecture.tiedHead) yield { name: 'lm_head.weight', shape: table };
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
    const module = BLOCK_MODULES.findIndex(([known]) => known === block[2]);
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
