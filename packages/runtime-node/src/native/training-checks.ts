// What the training kernels demand of their arguments, so that no call reads or writes past an array's end.
import { DuobitError } from '@duobit/format';

/** Counts reach C++ as 32-bit integers. */
const MOST = 2 ** 31 - 1;

function invalid(operation: string, message: string): DuobitError {
  return new DuobitError('TRAINING_INVALID', `${operation}: ${message}`, {
    where: operation,
    remedy: 'Give arrays whose lengths follow from the sizes',
  });
}

/** The checks of one call of an operation. */
export class CallChecks {
  readonly #operation: string;

  constructor(operation: string) {
    this.#operation = operation;
  }

  fail(message: string): never {
    throw invalid(this.#operation, message);
  }

  /** Whole numbers from 1 on. */
  counts(values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values))
      if (!Number.isSafeInteger(value) || value < 1 || value > MOST)
        this.fail(`${name} is ${value}; it must be a whole number from 1 on`);
  }

  numbers(values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values))
      if (typeof value !== 'number' || !Number.isFinite(value)) this.fail(`${name} is ${value}`);
  }

  /** Arrays of f32 of the same length. */
  lengths(length: number, arrays: Readonly<Record<string, Float32Array>>): void {
    for (const [name, array] of Object.entries(arrays)) {
      if (!(array instanceof Float32Array)) this.fail(`${name} is not a Float32Array`);
      if (array.length !== length) this.fail(`${name} has ${array.length} values; it needs ${length}`);
    }
  }

  /** How many rows of a width an array has: at least one. */
  rowsOf(
    name: string,
    array: Float32Array | Int32Array,
    width: number,
    type: typeof Float32Array | typeof Int32Array = Float32Array,
  ): number {
    if (!(array instanceof type)) this.fail(`${name} is not a ${type.name}`);
    this.counts({ width });
    const rows = array.length / width;
    if (!Number.isInteger(rows) || rows < 1 || rows > MOST)
      this.fail(`${name} has ${array.length} values, which are no rows of ${width}`);
    return rows;
  }

  /** What is written must not be read as well. */
  apart(outputs: readonly Float32Array[], inputs: readonly (Float32Array | Int32Array)[]): void {
    outputs.forEach((out, i) => {
      const others = [...inputs, ...outputs.slice(i + 1)];
      if (others.some((other) => overlap(out, other)))
        this.fail('an output shares memory with another array');
    });
  }
}

function overlap(a: Float32Array, b: Float32Array | Int32Array): boolean {
  return (
    a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength
  );
}
