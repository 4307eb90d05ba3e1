// One step of decoding: tokens are run, and as much is read of the logits as choosing the next token takes.
import { MOST_TOP, type TopLogits } from './backend.ts';
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

/** Draws the next token; called once. */
export type Choice = () => number;

/**
 * @returns a step; `history` holds the tokens before the next one, for the repetition penalty
 * @throws DuobitError `SAMPLER_OPTION`
 */
export function createTokenStep(
  reader: StepReader,
  options: SamplerOptions,
): (tokens: readonly number[], position: number, history: ReadonlySet<number>) => Promise<Choice | null> {
  const { step, stepBest, stepTop, vocabularySize } = reader;
  const random = createRandom(resolveSampler(options).seed);
  return async (tokens, position, history) => {
    const count = countNeeded(options, history.size) ?? vocabularySize;
    if (count === 1 && stepBest) {
      const token = await stepBest(tokens, position);
      return token === null ? null : () => token;
    }
    if (count < vocabularySize && count <= MOST_TOP && stepTop) {
      const top = await stepTop(count)(tokens, position);
      return top && (() => sampleTop(top, history, options, random));
    }
    const logits = await step(tokens, position);
    return logits && (() => sampleToken(logits, history, options, random));
  };
}
