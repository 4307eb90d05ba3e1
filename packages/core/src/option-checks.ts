// Checks that options of loading and of generating share. Types hold only TypeScript to them: what JavaScript gives is looked at.
import { DuobitError } from '@duobit/format';

export function optionInvalid(where: string, message: string, remedy: string): DuobitError {
  return new DuobitError('MODEL_OPTION', message, { where, remedy });
}

/** A value that a caller gave, for a message. */
export function showValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  return String(value);
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/**
 * Null is none, as for fetch. An `AbortSignal` of another realm is no instance of ours, so what is used of it is looked at.
 * @throws DuobitError `MODEL_OPTION`
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || signal === null) return;
  const { aborted, addEventListener, removeEventListener } = Object(signal);
  if (
    typeof aborted !== 'boolean' ||
    typeof addEventListener !== 'function' ||
    typeof removeEventListener !== 'function'
  )
    throw optionInvalid(
      'signal',
      `signal is ${showValue(signal)} and no AbortSignal`,
      'Give the signal of an AbortController',
    );
}
