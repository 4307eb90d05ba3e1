// One step of decoding: tokens are run, and as much is read of the logits as choosing the next token takes.
import { MOST_TOP, type TopLogits } from './backend.ts';
import { adjustLogits, isNeutral, type LogitAdjustments } from './logit-adjustments.ts';
import { createRandom } from './random.ts';
import { countNeeded, resolveSampler, type SamplerOptions, sampleToken, sampleTop } from './sampler.ts';

/** Runs tokens from a position on and gives what is read of the last one's logits, or null when aborted on the way. */
type Step<T> = (tokens: readonly number[], position: number) => Promise<T | null>;

/** What steps need of a model. */
export interface StepReader {
  /** All logits. */
  readonly step: Step<Float32Array>;
  /** Where the backend finds the most likely token itself: that. */
  readonly stepBest: Step<number> | null;
  /** Where it finds the most likely ones: so many of them. */
  readonly stepTop: ((count: number) => Step<TopLogits>) | null;
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
  const { step, stepBest, stepTop, vocabularySize } = reader;
  const random = createRandom(resolveSampler(options).seed);
  const needsAll = options.keepsLogits || !isNeutral(options);
  return async (tokens, position, { seen, counts }, allowed) => {
    const needed = needsAll || allowed ? null : countNeeded(options, seen.size);
    const count = needed ?? vocabularySize;
    if (count === 1 && needed !== null && stepBest) {
      const token = await stepBest(tokens, position);
      return token === null ? null : { choose: () => token, logits: null };
    }
    if (count < vocabularySize && count <= MOST_TOP && stepTop) {
      const top = await stepTop(count)(tokens, position);
      return top && { choose: () => sampleTop(top, seen, options, random), logits: null };
    }
    const logits = await step(tokens, position);
    if (logits === null) return null;
    return {
      choose: () => sampleToken(adjustLogits(logits, options, counts, allowed), seen, options, random),
      logits: options.keepsLogits ? logits : null,
    };
  };
}
