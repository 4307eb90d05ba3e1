// The divergence of the kept tokens and the rest, and its gradient, against their definition in double precision.
import { createRandom } from '@duobit/core';
import { openEngine, type Tensor2D } from '@duobit/tfjs';
import { expect, it } from 'vitest';
import type { Batch } from './batches.ts';
import { TeacherCache } from './teacher-cache.ts';

const ROWS = 3;
const VOCABULARY = 11;

function softmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Mean over rows of KL over the `count` tokens that the teacher finds most likely, and all others as one. */
function divergence(teacher: readonly number[][], student: readonly number[][], count: number): number {
  const rows = teacher.map((logits, row) => {
    const [p, q] = [softmax(logits), softmax(student[row]!)];
    const order = [...p.keys()].sort((a, b) => p[b]! - p[a]!);
    const outcomes = order.slice(0, count).map((i) => [p[i]!, q[i]!]);
    const rest = [p, q].map((values) => order.slice(count).reduce((sum, i) => sum + values[i]!, 0));
    if (count < VOCABULARY) outcomes.push(rest);
    return outcomes.reduce((sum, [a, b]) => sum + a! * Math.log(a! / b!), 0);
  });
  return rows.reduce((a, b) => a + b) / rows.length;
}

it.each([1, 4, VOCABULARY])('keeps %i tokens of each row', async (count) => {
  const engine = await openEngine({ device: 'cpu' });
  const { tf, operations } = engine;
  const random = createRandom(count);
  const draw = () =>
    Array.from({ length: ROWS }, () =>
      Array.from({ length: VOCABULARY }, () => Math.fround(4 * random() - 2)),
    );
  const [teacher, student] = [draw(), draw()];
  const batch: Batch = { values: tf.zeros([ROWS, 1]) as Tensor2D, windows: 1 };
  const cache = new TeacherCache(engine, count);
  const logits = tf.tensor2d(student);
  tf.tidy(() => cache.add(batch, tf.tensor2d(teacher)));
  const before = tf.memory().numTensors;
  const { value, grad } = tf.valueAndGrad((logits) =>
    tf.mean(operations.distillationLoss(cache.target(batch, logits as Tensor2D), logits as Tensor2D)),
  )(logits);
  // Logarithms of probabilities above 1e-3, sums of eleven: some ten roundings of 2^-24 of values below 8.
  const rounding = 10 * 8 * 2 ** -24;
  expect(Math.abs(value.dataSync()[0]! - divergence(teacher, student, count))).toBeLessThan(rounding);
  const found = grad.dataSync();
  const step = 1e-4;
  for (let row = 0; row < ROWS; row++)
    for (let i = 0; i < VOCABULARY; i++) {
      const moved = (by: number) =>
        student.map((line, r) => line.map((v, j) => (r === row && j === i ? v + by : v)));
      const slope =
        (divergence(teacher, moved(step), count) - divergence(teacher, moved(-step), count)) / (2 * step);
      // The third derivative of a logarithm of a sum of exponentials is below 1.
      expect(Math.abs(found[row * VOCABULARY + i]! - slope)).toBeLessThan(step ** 2 + rounding);
    }
  tf.dispose([value, grad]);
  expect(tf.memory().numTensors).toBe(before);
  cache.dispose();
  tf.dispose([logits, batch.values]);
});
