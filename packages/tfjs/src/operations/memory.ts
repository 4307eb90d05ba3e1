// Large arrays that a training step fills over and over: kept from one step to the next, since making them anew costs the system
// more than filling them.

/** Arrays below this many values are not worth keeping. */
const LARGE = 1 << 14;

export class StepMemory {
  readonly #free = new Map<number, Float32Array<ArrayBuffer>[]>();
  readonly #lent: Float32Array<ArrayBuffer>[] = [];
  #depth = 0;

  /** An array whose values are whatever they were. */
  take(length: number): Float32Array<ArrayBuffer> {
    if (this.#depth === 0 || length < LARGE) return new Float32Array(length);
    const array = this.#free.get(length)?.pop() ?? new Float32Array(length);
    this.#lent.push(array);
    return array;
  }

  /** Runs a step; what it took is free again when it is over, so no tensor of that size may outlive it. */
  step<T>(run: () => T): T {
    this.#depth++;
    try {
      return run();
    } finally {
      this.#depth--;
      if (this.#depth === 0) {
        for (const array of this.#lent) {
          const same = this.#free.get(array.length);
          if (same) same.push(array);
          else this.#free.set(array.length, [array]);
        }
        this.#lent.length = 0;
      }
    }
  }

  /** Gives all of it back to the system. */
  clear(): void {
    this.#free.clear();
  }
}
