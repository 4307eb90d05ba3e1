// The device-free description of a forward pass: operations over named slots. Backends compile it once and
// replay it. A plan may be a whole model, a single block, or one operation (that is how conformance tests run).
import type { ActivationQuantizer } from '@duobit/format';

/**
 * A buffer of `rows x width` values, where rows is the number of tokens in a run.
 * 'tokens': int32 ids, width 1. 'f32': activations. 'a4': 4-bit codes with one (lo, step) pair a row.
 * 'stat': `width` f64 sums, kept across runs, independent of rows.
 */
export interface Slot {
  readonly kind: 'tokens' | 'f32' | 'a4' | 'stat';
  readonly width: number;
}

/** Grouped-query attention geometry. */
export interface HeadLayout {
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headSize: number;
}

/** `input`, `out`, `target` … name slots; `weight` names tensors. All matrices are [N out, K in]. */
export type Operation =
  /** out[t] = weight[tokens[t]] */
  | { readonly op: 'embed'; readonly input: string; readonly weight: string; readonly out: string }
  /** out = x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019) */
  | {
      readonly op: 'rmsNorm';
      readonly input: string;
      readonly weight: string;
      readonly epsilon: number;
      readonly out: string;
    }
  /** out = x R, docs/format.md "Input rotations"; R depends on the width alone. */
  | { readonly op: 'rotateInput'; readonly input: string; readonly out: string }
  /**
   * taken[t][c] = input[t][columns[c]], and kept is input with 0 in these columns, which ascend. Three slots: none may be
   * another.
   */
  | {
      readonly op: 'takeColumns';
      readonly input: string;
      readonly columns: readonly number[];
      readonly kept: string;
      readonly taken: string;
    }
  /** Dynamic per-row 4-bit codes, docs/numerics.md "Activations". `out` is an 'a4' slot. */
  | {
      readonly op: 'quantizeActivations';
      readonly input: string;
      readonly quantizer: ActivationQuantizer;
      readonly out: string;
    }
  /** out = lo + step * code, the values that codes stand for; `input` is an 'a4' slot, `out` an 'f32' slot. */
  | { readonly op: 'decodeActivations'; readonly input: string; readonly out: string }
  /** out = x^ W^T with W in W(1+1); `input` is an 'a4' slot, or 'f32' for W(1+1)A16. */
  | { readonly op: 'w11MatMul'; readonly input: string; readonly weight: string; readonly out: string }
  /** out = x W^T with W dense or grouped int8/int4; `input` is an 'f32' slot. */
  | { readonly op: 'denseMatMul'; readonly input: string; readonly weight: string; readonly out: string }
  /** Rotates halves (x[i], x[i + headSize/2]) of every head in place, by position * frequencies[i]. */
  | { readonly op: 'rope'; readonly target: string; readonly headCount: number; readonly headSize: number }
  /** Writes key and value rows at their positions into cache `layer`, then causal softmax attention over it. */
  | {
      readonly op: 'attention';
      readonly query: string;
      readonly key: string;
      readonly value: string;
      readonly out: string;
      readonly layer: number;
      readonly heads: HeadLayout;
      /** A position sees at most this many latest positions, itself included; null sees all. */
      readonly window: number | null;
    }
  /** out = gate * sigmoid(gate) * up */
  | { readonly op: 'siluMul'; readonly gate: string; readonly up: string; readonly out: string }
  /** out += input */
  | { readonly op: 'add'; readonly input: string; readonly out: string }
  /** Like denseMatMul, over the rows that the run asks logits for; `out` has that many rows. */
  | { readonly op: 'logits'; readonly input: string; readonly weight: string; readonly out: string }
  /**
   * out[i][j] += sum over rows of input[t][i] * other[t][j]. `out` is a 'stat' slot K * K wide that no other operation adds
   * to, row-major. Without `other` (null) input stands for it: the Gram matrix X^T X, symmetric, the Hessian of a
   * linear layer's squared error but for a factor. `other` is an 'f32' slot as wide as `input`.
   */
  | {
      readonly op: 'accumulateGram';
      readonly input: string;
      readonly other: string | null;
      readonly out: string;
    };

/** A forward pass as operations over named slots, which knows no device. */
export interface ExecutionPlan {
  readonly slots: Readonly<Record<string, Slot>>;
  readonly operations: readonly Operation[];
  /** Number of KV cache layers; attention's `layer` is below it. */
  readonly cacheLayers: number;
  readonly heads: HeadLayout;
  /** Angular frequency of each rotated pair, headSize / 2 values, in radians a position. */
  readonly ropeFrequencies: Float64Array;
}
