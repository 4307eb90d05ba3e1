// Numbers as the page writes them, and scales from values to places on a chart.

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

export function bytes(value: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  let size = value;
  while (size >= 1024 && unit < 3) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? count(size) : significant(size)} ${units[unit]}`;
}

/** Three significant digits, without an exponent where that is short. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1);
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}

/** With a minus that is as wide as a plus. */
export function fixed(value: number, digits: number): string {
  return value.toFixed(digits).replace('-', '\u2212');
}

export function percent(part: number, digits = 1): string {
  return `${(100 * part).toFixed(digits)} %`;
}

/** '-25 %', '+3 %' */
export function change(before: number, after: number): string {
  const part = after / before - 1;
  if (!Number.isFinite(part)) return '';
  const digits = Math.abs(part) < 0.1 ? 1 : 0;
  return `${part > 0 ? '+' : part < 0 ? '\u2212' : '\u00b1'}${Math.abs(100 * part).toFixed(digits)} %`;
}

/** Places from 0 to 1. */
export interface Scale {
  (value: number): number;
  readonly least: number;
  readonly most: number;
}

/** Logarithmic where values are above 0 and reach over more than `ratio`; some room at both ends. */
export function makeScale(values: readonly number[], ratio = 6): Scale {
  const finite = values.filter(Number.isFinite);
  const low = finite.length > 0 ? Math.min(...finite) : 0;
  const high = finite.length > 0 ? Math.max(...finite) : 1;
  const logarithmic = low > 0 && high / low > ratio;
  const map = logarithmic ? Math.log : (value: number) => value;
  const room = 0.04 * (map(high) - map(low)) || 0.5;
  const start = map(low) - room;
  const span = map(high) + room - start;
  const place = (value: number): number => Math.min(1, Math.max(0, (map(value) - start) / span));
  return Object.assign(place, { least: low, most: high });
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
