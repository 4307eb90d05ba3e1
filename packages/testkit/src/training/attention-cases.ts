// Cases of training's attention. Bounds follow docs/numerics.md "attention"; those of the gradient follow the formulas of FlashAttention
// (Dao et al. 2022, appendix B.2) from the weights on.
import type { HeadLayout, TrainingRows } from '@duobit/core';
import { createRandom } from '../random-values.ts';
import * as tolerance from '../tolerance.ts';
import { blank, dot, draw, type TrainingCase } from './cases.ts';
import * as reference from './reference.ts';

const { gamma, UNIT, EXP_ERROR, UNDERFLOW } = tolerance;

/** Products of what are small errors already. */
const SECOND_ORDER = 1 + 2 ** -10;

export interface AttentionSizes {
  readonly heads: HeadLayout;
  readonly rows: TrainingRows;
  readonly span: number | null;
  /** Of queries and keys. */
  readonly scale?: number;
}

export function attentionCase({ heads, rows, span, scale = 1 }: AttentionSizes): TrainingCase {
  const { headCount, kvHeadCount, headSize } = heads;
  const count = rows.windows * rows.tokens;
  const random = createRandom(count + headSize + headCount);
  const query = draw(random, count * headCount * headSize, scale);
  const [key, value] = [scale, 1].map((size) => draw(random, count * kvHeadCount * headSize, size)) as [
    Float32Array,
    Float32Array,
  ];
  const dOut = draw(random, query.length);
  const inputs = { query, key, value };
  const forward = reference.attention(inputs, heads, rows, span);
  const bounds = { out: forward.out.map(() => 0), logSums: forward.logSums.map(() => 0) };
  // The gradient is given the exact results, rounded once.
  const given = { out: Float32Array.from(forward.out), logSums: Float32Array.from(forward.logSums) };
  const gradient = attentionGradient(inputs, given, dOut, { heads, rows, span });
  for (const seen of reference.listSeen(heads, rows, span)) {
    const scores = reference.scoresOf(inputs, heads, seen);
    const range = Math.max(...scores) - Math.min(...scores);
    const error = scoreErrorOf(inputs, heads, seen);
    const total = forward.logSums[seen.row * headCount + seen.head]!;
    const n = scores.length;
    // Of each weight the score and what is subtracted from it, the exponential, the sum; then the rounding of the result.
    bounds.logSums[seen.row * headCount + seen.head] =
      (error + UNIT * range + EXP_ERROR + gamma(n + 8)) * SECOND_ORDER + UNIT * Math.abs(total);
    for (let d = 0; d < headSize; d++) {
      let [spread, largest] = [0, 0];
      scores.forEach((score, i) => {
        const v = Math.abs(value[((seen.begin + i) * kvHeadCount + seen.kvHead) * headSize + d]!);
        spread += Math.exp(score - total) * v;
        largest = Math.max(largest, v);
      });
      bounds.out[(seen.row * headCount + seen.head) * headSize + d] = tolerance.attentionBound(
        n,
        error,
        range,
        spread,
        largest,
      );
    }
  }
  const slope = (name: keyof typeof inputs) => ({
    name,
    at: Float64Array.from(inputs[name]),
    f: (at: Float64Array) => dot(reference.attention({ ...inputs, [name]: at }, heads, rows, span).out, dOut),
    slopes: gradient.exact[name],
  });
  return {
    name:
      `attention ${rows.windows} x ${rows.tokens}, ${headCount} heads of ${headSize} on ${kvHeadCount}` +
      `${span === null ? '' : `, span ${span}`}`,
    run: (kernels) => {
      const [out, logSums] = [blank(query.length), blank(count * headCount)];
      kernels.attention(query, key, value, heads, rows, span, out, logSums);
      const gradients = { query: blank(query.length), key: blank(key.length), value: blank(value.length) };
      kernels.attentionGradient(inputs, given, dOut, heads, rows, span, gradients);
      return { out, logSums, ...gradients };
    },
    expected: {
      out: { values: forward.out, bounds: bounds.out },
      logSums: { values: forward.logSums, bounds: bounds.logSums },
      query: { values: gradient.exact.query, bounds: gradient.bounds.query },
      key: { values: gradient.exact.key, bounds: gradient.bounds.key },
      value: { values: gradient.exact.value, bounds: gradient.bounds.value },
    },
    slopes: [slope('query'), slope('key'), slope('value')],
  };
}

/** Largest error of a score of one query. */
function scoreErrorOf(
  { query, key }: reference.AttentionInputs,
  heads: HeadLayout,
  seen: reference.Seen,
): number {
  const { headCount, kvHeadCount, headSize } = heads;
  let most = 0;
  for (let p = seen.begin; p <= seen.row; p++)
    most = Math.max(
      most,
      reference.dotHeads(
        [query, seen.row, seen.head, headCount],
        [key, p, seen.kvHead, kvHeadCount],
        headSize,
        true,
      ),
    );
  return (tolerance.scoreErrorFactor(headSize) * most) / Math.sqrt(headSize);
}

function attentionGradient(
  inputs: reference.AttentionInputs,
  given: { readonly out: Float32Array; readonly logSums: Float32Array },
  dOut: Float32Array,
  { heads, rows, span }: AttentionSizes,
) {
  const { query, key, value } = inputs;
  const { headCount, kvHeadCount, headSize } = heads;
  const zeros = () => ({
    query: new Float64Array(query.length),
    key: new Float64Array(key.length),
    value: new Float64Array(value.length),
  });
  const [exact, bounds] = [zeros(), zeros()];
  const exactOut = reference.attention(inputs, heads, rows, span).out;
  const root = 1 / Math.sqrt(headSize);
  // At most so many products make one gradient of a key or value.
  const terms = (rows.tokens * headCount) / kvHeadCount;
  for (const seen of reference.listSeen(heads, rows, span)) {
    const scores = reference.scoresOf(inputs, heads, seen);
    const scoreError = scoreErrorOf(inputs, heads, seen);
    const exactSum = reference.logSum(scores);
    const at = (seen.row * headCount + seen.head) * headSize;
    let [mean, meanError] = [0, 0];
    for (let d = 0; d < headSize; d++) {
      mean += dOut[at + d]! * exactOut[at + d]!;
      // The result is given rounded; products and sums round on.
      meanError += gamma(headSize + 6) * Math.abs(dOut[at + d]! * given.out[at + d]!);
    }
    scores.forEach((score, i) => {
      const share = Math.exp(score - exactSum);
      const difference = UNIT * (Math.abs(exactSum) + Math.abs(score - exactSum));
      const rho = Math.exp(scoreError + difference) * (1 + EXP_ERROR) - 1;
      const row = seen.begin + i;
      const from = (row * kvHeadCount + seen.kvHead) * headSize;
      let [product, absolute] = [0, 0];
      for (let d = 0; d < headSize; d++) {
        product += dOut[at + d]! * value[from + d]!;
        absolute += Math.abs(dOut[at + d]! * value[from + d]!);
      }
      const slope = root * share * (product - mean);
      const slopeError =
        root *
          share *
          (rho * Math.abs(product - mean) +
            (gamma(headSize + 2) * absolute + meanError) +
            gamma(6) * (Math.abs(product) + Math.abs(mean))) *
          SECOND_ORDER +
        2 ** -100 * (absolute + Math.abs(mean));
      for (let d = 0; d < headSize; d++) {
        const [q, k, g] = [query[at + d]!, key[from + d]!, dOut[at + d]!];
        exact.query[at + d]! += slope * k;
        exact.key[from + d]! += slope * q;
        exact.value[from + d]! += share * g;
        bounds.query[at + d]! +=
          (slopeError + gamma(scores.length + 4) * Math.abs(slope)) * Math.abs(k) * SECOND_ORDER + UNDERFLOW;
        bounds.key[from + d]! +=
          (slopeError + gamma(terms + 4) * Math.abs(slope)) * Math.abs(q) * SECOND_ORDER + UNDERFLOW;
        bounds.value[from + d]! +=
          (rho + gamma(terms + 4)) * share * Math.abs(g) * SECOND_ORDER + 2 ** -100 * Math.abs(g);
      }
    });
  }
  return { exact, bounds };
}
