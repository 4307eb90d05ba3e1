// Runs a plan on tensors for training, so that TensorFlow.js can differentiate it: every operation makes a new tensor and its slot names it.
import type { ExecutionPlan, TrainingRows } from '@duobit/core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { Knee, Operations } from './operations/operations.ts';
import { type OperationOf, runOperations } from './run-operations.ts';

/** The operation of a plan that quantizes an input. */
export type QuantizeOperation = OperationOf<'quantizeActivations'>;

/** The quantizer of an input as tensors, so that it can be trained. */
export interface TensorQuantizer {
  /** Shape [2]; low and high. */
  readonly clips: Tensor1D;
  readonly knee: Knee | null;
}

/** Where an interpreted plan gets its weights and quantizers from. */
export interface PlanValues {
  /** Weights as f32: matrices [N, K] as their layers see them, norms [K]. */
  weight(name: string): Tensor;
  /** Null leaves the input as it is. */
  quantizer(operation: QuantizeOperation): TensorQuantizer | null;
}

/**
 * @param slots filled before the run: 'residual' of a block, [windows * tokens, width]; changed in place. 'a4' slots hold the
 * values that their codes stand for.
 * @throws RangeError for an operation that has no meaning on tensors alone (embedding, statistics, outlier columns)
 */
export function interpret(
  operations: Operations,
  plan: ExecutionPlan,
  slots: Map<string, Tensor2D>,
  rows: TrainingRows,
  values: PlanValues,
): void {
  const at = (slot: string): Tensor2D => slots.get(slot)!;
  const linear = ({ input, weight, out }: OperationOf<'w11MatMul' | 'denseMatMul' | 'logits'>): void => {
    slots.set(out, operations.linear(at(input), values.weight(weight) as Tensor2D));
  };
  runOperations(plan, {
    rmsNorm({ input, weight, epsilon, out }) {
      slots.set(out, operations.rmsNorm(at(input), values.weight(weight) as Tensor1D, epsilon));
    },
    rotateInput({ input, out }) {
      slots.set(out, operations.rotate(at(input)));
    },
    quantizeActivations(operation) {
      const quantizer = values.quantizer(operation);
      const input = at(operation.input);
      slots.set(
        operation.out,
        quantizer ? operations.quantizeActivations(input, quantizer.clips, quantizer.knee) : input,
      );
    },
    decodeActivations({ input, out }) {
      slots.set(out, at(input));
    },
    w11MatMul: linear,
    denseMatMul: linear,
    logits: linear,
    rope({ target, headCount }) {
      slots.set(target, operations.rope(at(target), headCount, plan.ropeFrequencies, rows));
    },
    attention({ query, key, value, out, heads, window }) {
      slots.set(out, operations.attention(at(query), at(key), at(value), { heads, rows, span: window }));
    },
    siluMul({ gate, up, out }) {
      slots.set(out, operations.siluMul(at(gate), at(up)));
    },
    add({ input, out }) {
      slots.set(out, operations.add(at(out), at(input)));
    },
  });
}
