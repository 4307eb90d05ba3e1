// Perplexity the way the GPTQ line of papers measures it: the whole text tokenized at once, cut into consecutive
// windows that do not overlap, each scored on its own from an empty cache.
import type { Model } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { pause } from '../abort.ts';
import { negativeLogLikelihood } from './log-likelihood.ts';
import { badOption, checkLikelihood, checkLimit } from './options.ts';

/** Options of `evaluatePerplexity`. */
export interface PerplexityOptions {
  /** Tokens in a window, at least 2. Default 512, or what the model was prepared for when that is less. */
  readonly context?: number;
  /** Windows measured, from the beginning of the text; all of them by default. */
  readonly limit?: number | undefined;
  /** Told after each part of a window. */
  readonly onProgress?: ((progress: PerplexityProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How far a measurement is. */
export interface PerplexityProgress {
  /** Predicted tokens so far, and in total. */
  readonly done: number;
  readonly total: number;
  /** Over the tokens predicted so far. */
  readonly perplexity: number;
}

/** What was measured. */
export interface PerplexityReport {
  /** exp(nll) */
  readonly perplexity: number;
  /** Mean negative log-likelihood of a predicted token, in nats. */
  readonly nll: number;
  /** Predicted tokens: windows * (context - 1). A window's first token is given, not predicted. */
  readonly tokens: number;
  readonly windows: number;
  readonly context: number;
  readonly seconds: number;
}

/** Rows of logits held at a time: a vocabulary of 128 k makes 64 rows 32 MB. More at once are no faster. */
const ROWS = 64;

/**
 * Perplexity of a text under a model. No special tokens are added; tokens after the last whole window are left out.
 * Log-likelihoods are taken in double precision from the model's f32 logits; every predicted token weighs the same.
 * Frantar et al. 2023 (GPTQ, arXiv 2210.17323) and those after it use windows of 2048.
 * @throws DuobitError `TEXT_TOO_SHORT`, `EVALUATION_OPTION`, `EVALUATION_NOT_FINITE`, `ABORTED`
 */
export async function evaluatePerplexity(
  model: Model,
  text: string,
  options: PerplexityOptions = {},
): Promise<PerplexityReport> {
  checkOptions(model, options);
  return evaluateTokens(model, model.tokenizer.encode(text, { bos: false }), options);
}

/** The same for a text that is tokenized already; windows start at the first token. */
export async function evaluateTokens(
  model: Model,
  tokens: readonly number[],
  options: PerplexityOptions = {},
): Promise<PerplexityReport> {
  const { context, limit } = checkOptions(model, options);
  const started = performance.now();
  const windows = Math.min(Math.floor(tokens.length / context), limit);
  if (windows === 0) {
    throw new DuobitError(
      'TEXT_TOO_SHORT',
      `the text has ${tokens.length} tokens, one window needs ${context}`,
      { source: model.name, where: 'text', remedy: 'Give a longer text or a shorter context' },
    );
  }

  const total = windows * (context - 1);
  let sum = 0;
  let done = 0;
  for (let window = 0; window < windows; window++) {
    const ids = tokens.slice(window * context, (window + 1) * context);
    // The last token has no successor to predict, so it is never run.
    for (let position = 0; position < context - 1; position += ROWS) {
      await pause(options.signal);
      const rows = Math.min(ROWS, context - 1 - position);
      const logits = await model.forward(ids.slice(position, position + rows), { position, logits: 'all' });
      const width = logits.length / rows;
      for (let row = 0; row < rows; row++) {
        const target = ids[position + row + 1]!;
        sum += negativeLogLikelihood(logits.subarray(row * width, (row + 1) * width), target);
      }
      done += rows;
      checkLikelihood(sum, model, `window ${window}, within positions ${position} to ${position + rows - 1}`);
      options.onProgress?.({ done, total, perplexity: Math.exp(sum / done) });
    }
  }
  const nll = sum / total;
  const seconds = (performance.now() - started) / 1000;
  return { perplexity: Math.exp(nll), nll, tokens: total, windows, context, seconds };
}

function checkOptions(model: Model, options: PerplexityOptions): { context: number; limit: number } {
  const context = options.context ?? Math.min(512, model.contextLength);
  if (!Number.isInteger(context) || context < 2 || context > model.contextLength) {
    throw badOption(
      'context',
      `is ${context}`,
      `Use 2 to ${model.contextLength}, the context the model was prepared for`,
    );
  }
  return { context, limit: checkLimit(options.limit) };
}
