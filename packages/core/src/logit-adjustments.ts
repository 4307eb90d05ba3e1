// What is done to the model's logits before the sampler sees them: bias, penalties for what was written, and the mask of a grammar.
import { DuobitError } from '@duobit/format';
import { isObject, showValue } from './option-checks.ts';

/** As in OpenAI's API: a token that was generated c times loses frequencyPenalty * c + presencePenalty (c > 0). */
export interface LogitAdjustments {
  /** Default 0; from -1e30 to 1e30, as all of these. */
  readonly presencePenalty?: number | undefined;
  /** Default 0. */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of tokens, by their ids; an object, and no Map. */
  readonly logitBias?: Readonly<Record<number, number>> | undefined;
}

/** Logits stay finite in f32, below 3.4e38, also where a penalty counts for each of ten million tokens. */
const MOST_CHANGE = 1e30;

/**
 * @param vocabularySize of the model, where it is known
 * @throws DuobitError `SAMPLER_OPTION` naming the option and its value
 */
export function checkAdjustments(options: LogitAdjustments, vocabularySize = Number.POSITIVE_INFINITY): void {
  const { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
  const check = (name: string, value: unknown): void => {
    if (typeof value !== 'number' || !(Math.abs(value) <= MOST_CHANGE))
      throw invalid(
        name,
        `${name} is ${showValue(value)}; it must be a number from -${MOST_CHANGE} to ${MOST_CHANGE}`,
        `Choose ${name} in its range`,
      );
  };
  check('presencePenalty', presencePenalty);
  check('frequencyPenalty', frequencyPenalty);
  // The entries of a Map are not among its properties: it would do nothing.
  if (!isObject(logitBias) || logitBias instanceof Map)
    throw invalid(
      'logitBias',
      `logitBias is ${logitBias instanceof Map ? 'a Map' : showValue(logitBias)}`,
      'Give an object of numbers by token ids',
    );
  for (const [token, bias] of Object.entries(logitBias)) {
    if (!/^\d+$/.test(token) || Number(token) >= vocabularySize)
      throw invalid(
        'logitBias',
        `logitBias has ${showValue(token)}, which is no token of the vocabulary of ${vocabularySize}`,
        "Give ids of the model's own tokens",
      );
    check(`logitBias of token ${token}`, bias);
  }
}

function invalid(where: string, message: string, remedy: string): DuobitError {
  return new DuobitError('SAMPLER_OPTION', message, { where, remedy });
}

/** Whether logits stay as they are but for a mask. */
export function isNeutral(options: LogitAdjustments): boolean {
  const { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
  return presencePenalty === 0 && frequencyPenalty === 0 && Object.keys(logitBias).length === 0;
}

/**
 * @param logits one value a token; not changed
 * @param counts how often each token was generated; the prompt does not count
 * @param allowed bits of the tokens that may come, see `TokenConstraint`; null: all. Others get -Infinity.
 */
export function adjustLogits(
  logits: Float32Array,
  options: LogitAdjustments,
  counts: ReadonlyMap<number, number>,
  allowed: Int32Array | null,
): Float32Array {
  if (allowed === null && isNeutral(options)) return logits;
  const { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
  const adjusted = Float32Array.from(logits);
  const add = (token: number, value: number): void => {
    if (token < adjusted.length) adjusted[token]! += value;
  };
  for (const [token, bias] of Object.entries(logitBias)) add(Number(token), bias);
  for (const [token, count] of counts) add(token, -(frequencyPenalty * count + presencePenalty));
  if (allowed)
    for (let token = 0; token < adjusted.length; token++)
      if (!isAllowed(allowed, token)) adjusted[token] = Number.NEGATIVE_INFINITY;
  return adjusted;
}

/** @param allowed as in `TokenConstraint` */
export function isAllowed(allowed: Int32Array, token: number): boolean {
  return ((allowed[token >> 5]! >> (token & 31)) & 1) === 1;
}
