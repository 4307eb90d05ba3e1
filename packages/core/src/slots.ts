// Names of the slots that built plans use. Callers need `tokens`, `residual`, `logits`, the inputs of linear weights and the
// slots of statistics; the others are exported so that a step of a model can be read out for debugging.
import { LLAMA } from '@duobit/format';

/** Names of the slots of plans. */
export const SLOTS = {
  /** Token ids, input of 'model' and 'embedding'. */
  tokens: 'tokens',
  /** The residual stream: output of 'embedding', input and output of a block, input of 'head'. */
  residual: 'residual',
  /** Normed residual: what q, k and v read, and the head. */
  normed: 'normed',
  /** Normed residual: what gate and up read. */
  mlpNormed: 'mlpNormed',
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

/** Of each linear weight of a block: how its input is called in the names of statistics, and the slot that holds it. */
const INPUTS: Readonly<Record<string, readonly [name: string, slot: string]>> = {
  'self_attn.q_proj': ['self_attn.input', SLOTS.normed],
  'self_attn.k_proj': ['self_attn.input', SLOTS.normed],
  'self_attn.v_proj': ['self_attn.input', SLOTS.normed],
  'self_attn.o_proj': ['self_attn.output', SLOTS.attended],
  'mlp.gate_proj': ['mlp.input', SLOTS.mlpNormed],
  'mlp.up_proj': ['mlp.input', SLOTS.mlpNormed],
  'mlp.down_proj': ['mlp.output', SLOTS.activated],
};

const BLOCK_WEIGHT = /^(model\.layers\.\d+)\.(.+)\.weight$/;

/**
 * The 'f32' slot [rows, K] that holds the unquantized, unrotated input of a linear weight of a block, or of the head. After a run of a
 * plan of one block it can be read for every weight; in a plan of several blocks the last one has overwritten the rest.
 * @throws RangeError for any other weight
 */
export function inputSlot(weight: string): string {
  if (isHead(weight)) return SLOTS.normed;
  const input = INPUTS[BLOCK_WEIGHT.exec(weight)?.[2] ?? ''];
  if (!input) throw new RangeError(`"${weight}" is no linear weight of a block`);
  return input[1];
}

/** The 'f32' slot with the rotated values of another, for weights that are stored for a rotated input. */
export function rotatedSlot(slot: string): string {
  return `${slot}.rotated`;
}

/**
 * The 'stat' slot [K, K] with the Gram matrix of a linear weight's input: sum over all rows run so far of x[i] x[j].
 * Weights that read the same input share a slot: q, k, v of a block; gate and up.
 * `model.layers.3.self_attn.q_proj.weight` gives `stat:model.layers.3.self_attn.input`, the head `stat:head`.
 */
export function statisticsSlot(weight: string): string {
  return `stat:${inputName(weight)}`;
}

/** The 'stat' slot [K, K] with the sum of x[i] y[j], y being what the caller wrote to `teacherSlot(weight)` for each run. */
export function crossSlot(weight: string): string {
  return `cross:${inputName(weight)}`;
}

/** The 'f32' slot [rows, K] that takes another model's values of a linear weight's input, before each run. */
export function teacherSlot(weight: string): string {
  return `teacher:${inputName(weight)}`;
}

function isHead(weight: string): boolean {
  return weight === LLAMA.head || weight === LLAMA.embedding;
}

function inputName(weight: string): string {
  if (isHead(weight)) return 'head';
  const match = BLOCK_WEIGHT.exec(weight);
  const input = match && INPUTS[match[2]!];
  return input ? `${match[1]}.${input[0]}` : weight;
}
