// Log-likelihoods of continuations, tokenized as lm-evaluation-harness does (lm_eval/api/model.py, `_encode_pair`). Choices
// that begin alike share the KV cache of what they have in common.
import type { Model, Tokenizer } from '@duobit/core';
import { DuobitError, type SpecialTokens } from '@duobit/format';
import { negativeLogLikelihood } from './log-likelihood.ts';
import type { Choice } from './tasks.ts';

/** How likely a model finds a continuation. */
export interface Score {
  /** Sum over the tokens of the continuation, in nats. */
  readonly logLikelihood: number;
  /** Tokens of the continuation. */
  readonly tokens: number;
  /** Whether the context lost its beginning, because the whole is longer than the model was prepared for. */
  readonly truncated: boolean;
}

/** Scores one choice after the other. Nothing else may run the model in between: the scorer relies on its cache. */
export type Scorer = (choice: Choice) => Promise<Score>;

export type ScoredModel = Pick<Model, 'name' | 'contextLength' | 'specialTokens' | 'tokenizer' | 'forward'>;

/** Scores with a model, whose cache keeps the context that choices share. */
export function createScorer(model: ScoredModel): Scorer {
  let cached: readonly number[] = [];
  return async (choice) => {
    const { tokens, given } = encodeChoice(model.tokenizer, model.specialTokens, choice);
    const count = tokens.length - given;
    if (count > model.contextLength)
      throw new DuobitError(
        'EVALUATION_DATA',
        `a choice has ${count} tokens; at most ${model.contextLength} can be scored`,
        {
          source: model.name,
          where: choice.continuation.trim().slice(0, 40),
          remedy: 'Correct the choice, or load the model with a larger context',
        },
      );
    // The last token has no successor to predict.
    const inputs = tokens.slice(0, -1).slice(-model.contextLength);
    const first = inputs.length - count;
    // The row that predicts the first token is run again: its logits were not kept.
    const shared = Math.min(countShared(cached, inputs), first);
    cached = [];
    if (shared < first)
      await model.forward(inputs.slice(shared, first), { position: shared, logits: 'none' });
    const logits = await model.forward(inputs.slice(first), { position: first, logits: 'all' });
    cached = inputs;
    const width = logits.length / count;
    let logLikelihood = 0;
    for (let row = 0; row < count; row++)
      logLikelihood -= negativeLogLikelihood(
        logits.subarray(row * width, (row + 1) * width),
        tokens[given + row]!,
      );
    return { logLikelihood, tokens: count, truncated: inputs.length < tokens.length - 1 };
  };
}

/**
 * Spaces at the end of the context move to the continuation; the two are tokenized as one text, and split where the
 * context alone would end, but before the last token: tokens may join across the border. No BOS, except (or else EOS) in
 * place of an empty context.
 */
function encodeChoice(
  tokenizer: Tokenizer,
  special: SpecialTokens,
  { context, continuation }: Choice,
): { tokens: number[]; given: number } {
  const given = tokenizer.encode(context.trimEnd(), { bos: false }).length;
  const tokens = tokenizer.encode(context + continuation, { bos: false });
  if (given > 0) return { tokens, given: Math.min(given, tokens.length - 1) };
  const start = special.bos ?? special.eos[0];
  if (start !== undefined) tokens.unshift(start);
  return { tokens, given: 1 };
}

function countShared(a: readonly number[], b: readonly number[]): number {
  let count = 0;
  while (count < a.length && count < b.length && a[count] === b[count]) count += 1;
  return count;
}
