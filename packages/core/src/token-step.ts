// One step of decoding: tokens are run, and as much is read of the logits as choosing the next token takes.
import { adjustLogits, isNeutral, type LogitAdjustments } from './logit-adjustments.ts';
import { choosePartialSampler, type DistantLogits } from './partial-sampler.ts';
import { createRandom } from './random.ts';
import { resolveSampler, type SamplerOptions, sampleToken } from './sampler.ts';

/** Runs tokens from a position on and gives what is read of the last one's logits, or null when aborted on the way. */
type Step<T> = (tokens: readonly number[], position: number) => Promise<T | null>;

/** What steps need of a model. */
export interface StepReader {
  /** All logits. */
  readonly step: Step<Float32Array>;
  /** Where they lie far away: what is found there. */
  readonly search: (<T>(find: (logits: DistantLogits) => Promise<T>) => Step<T>) | null;
  /** Whether `DistantLogits.sums` can be asked for. */
  readonly hasSums: boolean;
  readonly vocabularySize: number;
}

export interface StepOptions extends SamplerOptions, LogitAdjustments {
  /** Whether the model's logits are wanted with each choice. */
  readonly keepsLogits: boolean;
}

/** The tokens before the next one. */
export interface History {
  /** All, the prompt's included, for the repetition penalty. */
  readonly seen: ReadonlySet<number>;
  /** How often each was generated, for the other penalties. */
  readonly counts: ReadonlyMap<number, number>;
}

export interface Choice {
  /** Draws the next token; called once. */
  readonly choose: () => number;
  /** The model's, where they are kept. */
  readonly logits: Float32Array | null;
}

/**
 * @returns a step; `allowed` has the tokens that may come, see `TokenConstraint`, null for all
 * @throws DuobitError `SAMPLER_OPTION`
 */
export function createTokenStep(
  reader: StepReader,
  options: StepOptions,
): (
  tokens: readonly number[],
  position: number,
  history: History,
  allowed: Int32Array | null,
) => Promise<Choice | null> {
  const { step, search } = reader;
  const random = createRandom(resolveSampler(options).seed);
  const needsAll = options.keepsLogits || !isNeutral(options);
  return async (tokens, position, { seen, counts }, allowed) => {
    const about = { history: seen, allowed, random };
    const sampler = search && !needsAll ? choosePartialSampler(options, about, reader) : null;
    if (search && sampler) {
      const choose = await search(sampler)(tokens, position);
      return choose && { choose, logits: null };
    }
    const logits = await step(tokens, position);
    if (logits === null) return null;
    return {
      choose: () => sampleToken(adjustLogits(logits, options, counts, allowed), seen, options, random),
      logits: options.keepsLogits ? logits : null,
    };
  };
}
