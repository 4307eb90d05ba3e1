// Names of the slots that built plans use. Callers need `tokens`, `residual`, `logits` and the statistics slots; the
// others are exported so that a step of a model can be read out for debugging.
import { LLAMA } from '@duobit/format';

export const SLOTS = {
  /** Token ids, input of 'model' and 'embedding'. */
  tokens: 'tokens',
  /** The residual stream: output of 'embedding', input and output of a block, input of 'head'. */
  residual: 'residual',
  normed: 'normed',
  query: 'query',
  key: 'key',
  value: 'value',
  attended: 'attended',
  gate: 'gate',
  up: 'up',
  activated: 'activated',
  /** What attention or the MLP adds to the residual stream. */
  branch: 'branch',
  /** Output of 'head' and 'model'. */
  logits: 'logits',
} as const;

const INPUTS: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'self_attn.input',
  'self_attn.k_proj': 'self_attn.input',
  'self_attn.v_proj': 'self_attn.input',
  'self_attn.o_proj': 'self_attn.output',
  'mlp.gate_proj': 'mlp.input',
  'mlp.up_proj': 'mlp.input',
  'mlp.down_proj': 'mlp.output',
};

/**
 * The 'stat' slot holding, for each input column k of a linear weight, the sum over all rows run so far of x[k]^2.
 * Weights that read the same input share a slot: q, k, v of a block; gate and up.
 * `model.layers.3.self_attn.q_proj.weight` gives `stat:model.layers.3.self_attn.input`, the head `stat:head`.
 */
export function statisticsSlot(weight: string): string {
  if (weight === LLAMA.head || weight === LLAMA.embedding) return 'stat:head';
  const match = /^(model\.layers\.\d+)\.(.+)\.weight$/.exec(weight);
  const input = match && INPUTS[match[2]!];
  return `stat:${input ? `${match[1]}.${input}` : weight}`;
}
