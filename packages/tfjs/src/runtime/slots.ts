// The slots of a prepared plan as tensors that outlive a run. TensorFlow.js frees nothing by itself: what a slot held before is
// disposed of when it gets something new.
import type { ExecutionPlan } from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import type { CodedRows } from './activations.ts';

type Tf = typeof TensorFlow;

export class Slots {
  readonly #tf: Tf;
  readonly #plan: ExecutionPlan;
  readonly #floats = new Map<string, Tensor2D>();
  readonly #coded = new Map<string, CodedRows>();

  constructor(tf: Tf, plan: ExecutionPlan) {
    this.#tf = tf;
    this.#plan = plan;
  }

  /** The first rows of an f32 slot [rows, width]; 0 where none were ever written. The slot keeps its tensor. */
  rows(slot: string, rows: number): Tensor2D {
    const tf = this.#tf;
    const { width } = this.#plan.slots[slot]!;
    const held = this.#floats.get(slot);
    if (!held) return tf.zeros([rows, width]);
    const there = held.shape[0];
    if (there === rows) return held;
    if (there > rows) return tf.slice(held, [0, 0], [rows, width]);
    return tf.concat([held, tf.zeros([rows - there, width])], 0);
  }

  coded(slot: string): CodedRows | undefined {
    return this.#coded.get(slot);
  }

  /** What `compute` gives becomes the slot's; whatever else it makes is freed. */
  set(slot: string, compute: () => Tensor2D): void {
    const made = this.#tf.tidy(() => {
      const value = compute();
      // A tensor that another slot or the caller holds must not be freed by both.
      return this.#isHeld(value) ? this.#tf.clone(value) : value;
    });
    this.#floats.get(slot)?.dispose();
    this.#floats.set(slot, made);
  }

  setCoded(slot: string, compute: () => CodedRows): void {
    const made = this.#tf.tidy(() => ({ ...compute() }));
    this.#tf.dispose({ ...this.#coded.get(slot) });
    this.#coded.set(slot, made);
  }

  /** Puts values over the first rows of an f32 slot; rows behind them stay. */
  write(slot: string, values: Float32Array): void {
    const tf = this.#tf;
    const { width } = this.#plan.slots[slot]!;
    const rows = values.length / width;
    const there = this.#floats.get(slot)?.shape[0] ?? 0;
    this.set(slot, () => {
      // The caller may change its array: backends in this process would keep it.
      const written = tf.tensor2d(values.slice(), [rows, width]);
      if (there <= rows) return written;
      return tf.concat([written, tf.slice(this.#floats.get(slot)!, [rows, 0], [there - rows, width])], 0);
    });
  }

  dispose(): void {
    this.#tf.dispose([...this.#floats.values()]);
    for (const coded of this.#coded.values()) this.#tf.dispose({ ...coded });
    this.#floats.clear();
    this.#coded.clear();
  }

  #isHeld(value: Tensor2D): boolean {
    for (const held of this.#floats.values()) if (held === value) return true;
    return false;
  }
}
