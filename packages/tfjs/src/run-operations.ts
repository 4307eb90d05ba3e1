// The loop of every interpreter of plans: a table says what each operation means, and what it lacks is refused.
import type { ExecutionPlan, Operation } from '@duobit/core';

export type OperationOf<Name extends Operation['op']> = Extract<Operation, { readonly op: Name }>;

/** What operations do; those that are missing have no meaning here. */
export type OperationTable = { readonly [Name in Operation['op']]?: (operation: OperationOf<Name>) => void };

/**
 * Runs a plan's operations in order.
 * @throws RangeError for an operation that the table lacks; what the table's entries throw
 */
export function runOperations(plan: ExecutionPlan, table: OperationTable): void {
  for (const operation of plan.operations) {
    const act = table[operation.op] as ((operation: Operation) => void) | undefined;
    if (!act) throw new RangeError(`operation "${operation.op}" cannot be run on tensors`);
    act(operation);
  }
}
