// Symmetric Gram matrices, of which backends compute the upper triangle and what their tiles hold besides.
import type { ExecutionPlan } from '../plan.ts';

/** The 'stat' slots that hold a symmetric matrix, and how many rows it has. */
export function listSymmetricSums(plan: ExecutionPlan): Map<string, number> {
  const sides = new Map<string, number>();
  for (const operation of plan.operations)
    if (
      operation.op === 'accumulateGram' &&
      (operation.other === null || operation.other === operation.input)
    )
      sides.set(operation.out, plan.slots[operation.input]!.width);
  return sides;
}

/** Copies the upper triangle of a row-major square matrix over the lower one. */
export function mirrorUpper(matrix: Float32Array, side: number): void {
  for (let i = 1; i < side; i++) for (let j = 0; j < i; j++) matrix[i * side + j] = matrix[j * side + i]!;
}
