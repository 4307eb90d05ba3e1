// Zero-shot multiple choice: the model's answer is the choice it finds likeliest, by the sum of log-likelihoods and by that
// sum over the choice's length, as lm-evaluation-harness has it (lm_eval/api/task.py, `process_results`).
import type { Model } from '@duobit/core';
import { pause } from '../abort.ts';
import { checkLikelihood, checkLimit } from './options.ts';
import { createScorer } from './scorer.ts';
import type { Question } from './tasks.ts';

/** Options of `evaluateZeroShot`. */
export interface ZeroShotOptions {
  /** Questions asked, from the beginning of the task; all of them by default. */
  readonly limit?: number | undefined;
  /** Told after each question. */
  readonly onProgress?: ((progress: ZeroShotProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How far a task is. */
export interface ZeroShotProgress {
  /** Questions so far, and in total. */
  readonly done: number;
  readonly total: number;
  /** Of the questions so far. */
  readonly accuracy: number;
}

/** A share of right answers, 0 to 1. */
export interface Accuracy {
  readonly value: number;
  /** sqrt(p (1 - p) / (n - 1)); null for a single question. */
  readonly standardError: number | null;
}

/** What a task gave. */
export interface ZeroShotReport {
  readonly questions: number;
  /** By the sum of log-likelihoods: `acc` of lm-evaluation-harness. */
  readonly accuracy: Accuracy;
  /** By that sum over the characters of the choice: `acc_norm`. null where all choices have the same continuation. */
  readonly accuracyNormalized: Accuracy | null;
  /** Questions of which a context was cut at its beginning to fit the model's. */
  readonly truncated: number;
  readonly seconds: number;
}

/**
 * Asks the questions in order. The first of equal choices counts as the answer.
 * @throws DuobitError `EVALUATION_OPTION`, `EVALUATION_DATA`, `EVALUATION_NOT_FINITE`, `ABORTED`
 */
export async function evaluateZeroShot(
  model: Model,
  questions: readonly Question[],
  options: ZeroShotOptions = {},
): Promise<ZeroShotReport> {
  const total = Math.min(questions.length, checkLimit(options.limit));
  const started = performance.now();
  const score = createScorer(model);
  let right = 0;
  let rightNormalized = 0;
  let isNormalized = false;
  let truncated = 0;
  for (const [index, { choices, gold, lengths }] of questions.slice(0, total).entries()) {
    const sums: number[] = [];
    let isCut = false;
    for (const choice of choices) {
      await pause(options.signal);
      const { logLikelihood, truncated } = await score(choice);
      checkLikelihood(logLikelihood, model, `question ${index + 1}, choice ${sums.length + 1}`);
      sums.push(logLikelihood);
      isCut ||= truncated;
    }
    if (isCut) truncated += 1;
    if (findLargest(sums) === gold) right += 1;
    if (lengths !== null) {
      isNormalized = true;
      if (findLargest(sums.map((sum, i) => sum / lengths[i]!)) === gold) rightNormalized += 1;
    }
    options.onProgress?.({ done: index + 1, total, accuracy: right / (index + 1) });
  }
  return {
    questions: total,
    accuracy: shareOf(right, total),
    accuracyNormalized: isNormalized ? shareOf(rightNormalized, total) : null,
    truncated,
    seconds: (performance.now() - started) / 1000,
  };
}

function findLargest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

function shareOf(right: number, total: number): Accuracy {
  const value = right / total;
  return { value, standardError: total > 1 ? Math.sqrt((value * (1 - value)) / (total - 1)) : null };
}
