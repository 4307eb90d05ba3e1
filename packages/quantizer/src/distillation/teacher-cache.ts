// What stage 4 keeps of the teacher's predictions instead of running it in every step: of each row its k most likely tokens, and all
// others together as one outcome.
import type { Engine, Tensor1D, Tensor2D } from '@duobit/tfjs';
import type { Batch } from './batches.ts';

/** So that no logarithm is of zero. Less than a float's last bit beside 1. */
const TINY = 1e-9;

interface Kept {
  /** Flat places in [rows, vocabulary], int32 [rows * k, 1]. */
  readonly places: Tensor2D;
  /** Their probabilities [rows * k]. */
  readonly probabilities: Tensor1D;
  /** Of all other tokens together [rows, 1]. */
  readonly rest: Tensor2D;
}

export class TeacherCache {
  readonly #engine: Engine;
  readonly #count: number;
  readonly #kept = new Map<Batch, Kept>();

  /** @param count tokens kept of each row; at most the vocabulary */
  constructor(engine: Engine, count: number) {
    this.#engine = engine;
    this.#count = count;
  }

  /** @param logits of the teacher [rows, vocabulary] */
  add(batch: Batch, logits: Tensor2D): void {
    const { tf } = this.#engine;
    const [rows, vocabulary] = logits.shape;
    const kept = tf.tidy(() => {
      const { values, indices } = tf.topk(tf.softmax(logits), Math.min(this.#count, vocabulary));
      const starts = tf.mul(tf.range(0, rows, 1, 'int32'), tf.scalar(vocabulary, 'int32'));
      const places = tf.add(tf.expandDims(starts, 1), indices);
      return {
        places: tf.reshape(places, [-1, 1]) as Tensor2D,
        probabilities: tf.reshape(values, [-1]) as Tensor1D,
        rest: tf.maximum(tf.sub(1, tf.sum(values, 1, true)), TINY) as Tensor2D,
      };
    });
    for (const tensor of Object.values(kept)) tf.keep(tensor);
    this.#kept.set(batch, kept);
  }

  /**
   * Logits of a distribution t that is the teacher's on the tokens kept, and on the others the student's q, scaled to the mass the
   * teacher has there. So KL(t || q) is the divergence of the k + 1 outcomes; and with t held fixed the derivative by the student's
   * logits, q - t, is that divergence's own.
   * @param logits of the student [rows, vocabulary]
   */
  target(batch: Batch, logits: Tensor2D): Tensor2D {
    const { tf } = this.#engine;
    const { places, probabilities, rest } = this.#kept.get(batch)!;
    return tf.tidy(() => {
      const [rows, vocabulary] = logits.shape;
      const scattered = tf.scatterND(places, tf.maximum(probabilities, TINY), [rows * vocabulary]);
      const teacher = tf.reshape(scattered, [rows, vocabulary]);
      const isKept = tf.greater(teacher, 0);
      const own = tf.logSoftmax(logits);
      const left = tf.sum(tf.where(isKept, tf.zerosLike(own), tf.exp(own)), 1, true);
      const shift = tf.sub(tf.log(rest), tf.log(tf.maximum(left, TINY)));
      return tf.where(isKept, tf.log(tf.maximum(teacher, TINY)), tf.add(own, shift)) as Tensor2D;
    });
  }

  dispose(): void {
    for (const kept of this.#kept.values()) this.#engine.tf.dispose({ ...kept });
    this.#kept.clear();
  }
}
