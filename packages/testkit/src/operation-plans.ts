// Plans of one or two operations, the sizes they are tried in, and the requests that run them.
import type { ExecutionPlan, Operation, Slot } from '@duobit/core';
import type { ActivationQuantizer } from '@duobit/format';
import type { MadeTensor } from './tensors.ts';

export const COLUMNS = [1, 31, 64, 172, 576, 1536] as const;
export const ROWS = [1, 17, 192] as const;
export const GROUP_SIZES = [32, 64, 128, 256] as const;

const NO_HEADS = { headCount: 1, kvHeadCount: 1, headSize: 2 };

/** A plan of a few operations without a KV cache. */
export function operationPlan(
  slots: Record<string, Slot>,
  operations: Operation[],
  heads = NO_HEADS,
): ExecutionPlan {
  return { slots, operations, cacheLayers: 0, heads, ropeFrequencies: new Float64Array([1]) };
}

export const f32 = (width: number): Slot => ({ kind: 'f32', width });
export const tensorMap = (...tensors: MadeTensor[]) =>
  new Map(tensors.map((tensor) => [tensor.data.info.name, tensor]));

/** out = x W^T on an f32 slot. */
export function matMulPlan(tensor: MadeTensor, op: 'denseMatMul' | 'w11MatMul' | 'logits'): ExecutionPlan {
  return operationPlan({ x: f32(tensor.columns), y: f32(tensor.rows) }, [
    { op, input: 'x', weight: tensor.data.info.name, out: 'y' },
  ]);
}

/** Quantizes x and multiplies its codes by W(1+1) weights. */
export function codedPlan(tensor: MadeTensor, quantizer: ActivationQuantizer): ExecutionPlan {
  const slots = {
    x: f32(tensor.columns),
    'x.a4': { kind: 'a4', width: tensor.columns } as const,
    y: f32(tensor.rows),
  };
  return operationPlan(slots, [
    { op: 'quantizeActivations', input: 'x', quantizer, out: 'x.a4' },
    { op: 'w11MatMul', input: 'x.a4', weight: tensor.data.info.name, out: 'y' },
  ]);
}

/** The same twice over, so that nobody can look at the first codes. */
export function twiceCodedPlan(tensor: MadeTensor, quantizer: ActivationQuantizer): ExecutionPlan {
  const { slots, operations } = codedPlan(tensor, quantizer);
  const again = operations.map((operation) =>
    operation.op === 'w11MatMul' ? { ...operation, out: 'z' } : operation,
  );
  return operationPlan({ ...slots, z: f32(tensor.rows) }, [...operations, ...again]);
}

export const runOf = (rows: number, logits: 'none' | 'last' | 'all' = 'all', position = 0) => ({
  rows,
  position,
  logits,
});
