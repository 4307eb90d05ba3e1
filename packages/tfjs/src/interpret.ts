// Runs a plan on tensors, so that TensorFlow.js can differentiate it: every operation makes a new tensor and its slot names it.
import type { ExecutionPlan, Operation, TrainingRows } from '@duobit/core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs';
import type { Knee, Operations } from './operations/operations.ts';

export type QuantizeOperation = Extract<Operation, { readonly op: 'quantizeActivations' }>;

/** The quantizer of an input as tensors, so that it can be trained. */
export interface TensorQuantizer {
  /** [2]: low, high */
  readonly clips: Tensor1D;
  readonly knee: Knee | null;
}

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
  const matrix = (name: string): Tensor2D => values.weight(name) as Tensor2D;
  for (const operation of plan.operations) {
    switch (operation.op) {
      case 'rmsNorm':
        slots.set(
          operation.out,
          operations.rmsNorm(
            at(operation.input),
            values.weight(operation.weight) as Tensor1D,
            operation.epsilon,
          ),
        );
        break;
      case 'rotateInput':
        slots.set(operation.out, operations.rotate(at(operation.input)));
        break;
      case 'quantizeActivations': {
        const quantizer = values.quantizer(operation);
        const input = at(operation.input);
        slots.set(
          operation.out,
          quantizer ? operations.quantizeActivations(input, quantizer.clips, quantizer.knee) : input,
        );
        break;
      }
      case 'decodeActivations':
        slots.set(operation.out, at(operation.input));
        break;
      case 'w11MatMul':
      case 'denseMatMul':
      case 'logits':
        slots.set(operation.out, operations.linear(at(operation.input), matrix(operation.weight)));
        break;
      case 'rope': {
        const { target, headCount } = operation;
        slots.set(target, operations.rope(at(target), headCount, plan.ropeFrequencies, rows));
        break;
      }
      case 'attention': {
        const { query, key, value, heads, window } = operation;
        const shape = { heads, rows, span: window };
        slots.set(operation.out, operations.attention(at(query), at(key), at(value), shape));
        break;
      }
      case 'siluMul':
        slots.set(operation.out, operations.siluMul(at(operation.gate), at(operation.up)));
        break;
      case 'add':
        slots.set(operation.out, operations.add(at(operation.out), at(operation.input)));
        break;
      default:
        throw new RangeError(`operation "${operation.op}" cannot be run on tensors`);
    }
  }
}
