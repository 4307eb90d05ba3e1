// Rules that hold for every architecture, whichever file it was read from, and the match between the tensors that an
// architecture needs and those that a checkpoint has.
import { LLAMA, listTensors } from '@duobit/core';
import { type Architecture, DuobitError } from '@duobit/format';
import type { Fields, Range } from './fields.ts';

/** Limits far above any real model; they bound what a wrong number can cost. */
export const LIMITS = {
  vocabulary: { min: 1, max: 2 ** 24 },
  width: { min: 1, max: 2 ** 20 },
  blocks: { min: 1, max: 4096 },
  heads: { min: 1, max: 2 ** 16 },
  context: { min: 1, max: 2 ** 31 - 1 },
} as const satisfies Record<string, Range>;

export const SUPPORTED_ARCHITECTURES = 'LlamaForCausalLM (Llama, SmolLM2 and kin) and MistralForCausalLM';

export function unsupportedArchitecture(found: string, source: string, where: string): DuobitError {
  return new DuobitError('CHECKPOINT_ARCHITECTURE_UNSUPPORTED', `${found} is not supported`, {
    source,
    where,
    remedy: `Use a checkpoint of one of the supported architectures: ${SUPPORTED_ARCHITECTURES}`,
  });
}

/** @throws DuobitError `CHECKPOINT_CONFIG_INVALID` when heads do not divide or cannot be rotated. */
export function checkHeads(architecture: Architecture, fields: Fields, where: string): void {
  const { headCount, kvHeadCount, headSize } = architecture;
  if (headCount % kvHeadCount !== 0) {
    throw fields.invalid(
      where,
      `must give query heads (${headCount}) as a multiple of key heads (${kvHeadCount})`,
    );
  }
  if (headSize % 2 !== 0) throw fields.invalid(where, `must give heads of an even size, not ${headSize}`);
}

export interface FoundTensor {
  /** Its name in the file, for messages. */
  readonly fileName: string;
  readonly source: string;
  readonly shape: readonly number[];
}

/** Tensors that some exporters add and that the model does not need. */
const IGNORED = [/^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/, /^model\.rotary_emb\.inv_freq$/];

/**
 * Pairs every tensor of the architecture with what the checkpoint has, in order of first use.
 * @throws DuobitError `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`, `CHECKPOINT_TENSOR_UNEXPECTED`
 * (ignoring a bias, say, would give a different model)
 */
export function matchTensors<T extends FoundTensor>(
  architecture: Architecture,
  found: ReadonlyMap<string, T>,
  source: string,
): [name: string, tensor: T][] {
  const specs = listTensors(architecture);
  const find = (name: string): T | undefined =>
    // A tied matrix is stored once, and some exporters keep it under the head's name.
    found.get(name) ??
    (architecture.tiedHead && name === LLAMA.embedding ? found.get(LLAMA.head) : undefined);
  const missing = specs.filter(({ name }) => find(name) === undefined);
  if (missing[0] !== undefined) {
    const rest =
      missing.length > 1 ? ` and ${missing.length - 1} more of ${specs.length} tensors are` : ' is';
    throw new DuobitError('CHECKPOINT_TENSOR_MISSING', `${missing[0].name}${rest} missing`, {
      source,
      where: missing[0].name,
      remedy: 'Download every file of the checkpoint, and check that config and weights belong together',
    });
  }
  const needed = new Set(specs.map(({ name }) => name));
  for (const [name, tensor] of found) {
    const unused = architecture.tiedHead && name === LLAMA.head;
    if (needed.has(name) || unused || IGNORED.some((pattern) => pattern.test(name))) continue;
    throw new DuobitError(
      'CHECKPOINT_TENSOR_UNEXPECTED',
      `the checkpoint has a tensor ${JSON.stringify(tensor.fileName)} that the model would not use`,
      {
        source: tensor.source,
        where: tensor.fileName,
        remedy: 'Use a checkpoint without biases, adapters or other additions, merged into plain weights',
      },
    );
  }
  return specs.map(({ name, shape }) => {
    const tensor = find(name)!;
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new DuobitError(
        'CHECKPOINT_TENSOR_SHAPE',
        `${tensor.fileName} has shape [${tensor.shape.join(', ')}], the configuration needs [${shape.join(', ')}]`,
        {
          source: tensor.source,
          where: tensor.fileName,
          remedy: 'Check that configuration and weights belong together',
        },
      );
    }
    return [name, tensor];
  });
}
