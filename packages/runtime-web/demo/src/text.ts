// Numbers and errors as people read them.
import { DuobitError } from '@duobit/format';

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const;

/** '524.8 kB': three digits or so, decimal units as the command line prints them. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${formatNumber(value, unit === 0 ? 0 : value < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** '656,000', '134.5 million', '8.03 billion'. */
export function formatCount(value: number): string {
  if (value >= 1e9) return `${formatNumber(value / 1e9, 2)} billion`;
  return value >= 1e6 ? `${formatNumber(value / 1e6, 1)} million` : formatNumber(value);
}

/** A level or scale with its sign, as wide for every value. */
export function formatLevel(value: number): string {
  return `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(4)}`;
}

/** Tokens a second; null where nothing was measured. */
export function formatRate(tokens: number, seconds: number): string | null {
  if (tokens === 0 || seconds === 0) return null;
  const rate = tokens / seconds;
  return formatNumber(rate, rate < 10 ? 1 : 0);
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly remedy: string | null;
}

/** What the page says of an error: facts, and what to do. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof DuobitError) {
    const { code, message, where, remedy } = error;
    return { code, message: where ? `${message} (${where})` : message, remedy: remedy ?? null };
  }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error), remedy: null };
}
