// Typed access to hyperparameters, from config.json or GGUF metadata, with one clear error for whatever is wrong.
import { DuobitError } from '@duobit/format';

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Named values from one file. `null` counts as absent, as it does in config.json. */
export class Fields {
  readonly source: string;
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(values: ReadonlyMap<string, unknown>, source: string) {
    this.#values = values;
    this.source = source;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get(name: string): unknown {
    return this.#values.get(name) ?? undefined;
  }

  /** A whole number within `range`; absent: `fallback`, or an error without one. */
  integer(name: string, range: Range, fallback?: number): number {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < range.min || value > range.max) {
      throw this.invalid(name, `must be a whole number from ${range.min} to ${range.max}`);
    }
    return value;
  }

  /** A finite number above zero; absent: `fallback`, or an error without one. */
  positive(name: string, fallback?: number): number {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
      throw this.invalid(name, 'must be a number above 0');
    }
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.get(name) ?? fallback;
    if (typeof value !== 'boolean') throw this.invalid(name, 'must be true or false');
    return value;
  }

  /** A string, or undefined when absent. */
  string(name: string): string | undefined {
    const value = this.get(name);
    if (value !== undefined && typeof value !== 'string') throw this.invalid(name, 'must be a string');
    return value;
  }

  invalid(name: string, demand: string): DuobitError {
    const value = this.get(name);
    const found = value === undefined ? 'it is missing' : `it is ${describeValue(value)}`;
    return new DuobitError('CHECKPOINT_CONFIG_INVALID', `${name} ${demand}; ${found}`, {
      source: this.source,
      where: name,
      remedy: 'Correct the field, or get the checkpoint again',
    });
  }

  /** For models that are well-formed but need something that is not implemented. */
  unsupported(name: string, message: string, remedy: string): DuobitError {
    return new DuobitError('CHECKPOINT_FEATURE_UNSUPPORTED', message, {
      source: this.source,
      where: name,
      remedy,
    });
  }
}

function describeValue(value: unknown): string {
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? typeof value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
