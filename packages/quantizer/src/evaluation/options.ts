// What the evaluations check alike: their limit, and that the model gives numbers at all.
import type { Model } from '@duobit/core';
import { DuobitError } from '@duobit/format';

/** @returns the limit, infinite when there is none. @throws DuobitError `EVALUATION_OPTION` */
export function checkLimit(limit: number | undefined): number {
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw badOption('limit', `is ${limit}`, 'Use a whole number above 0');
  }
  return limit;
}

export function badOption(name: string, fact: string, remedy: string): DuobitError {
  return new DuobitError('EVALUATION_OPTION', `option ${name} ${fact}`, { where: name, remedy });
}

/** @throws DuobitError `EVALUATION_NOT_FINITE` */
export function checkLikelihood(value: number, model: Pick<Model, 'name'>, place: string): void {
  if (Number.isFinite(value)) return;
  throw new DuobitError('EVALUATION_NOT_FINITE', `the log-likelihood became ${value} in ${place}`, {
    source: model.name,
    remedy: 'The model computes NaN or infinity; validate it, or quantize it again',
  });
}
