// Writes a checked plan down as numbers for the addon: slots, operations and geometry. The order of kinds and operations is
// that of native/program.h, that of KV precisions native/kernels.h's.
import {
  type ExecutionPlan,
  KV_PRECISIONS,
  type KvPrecision,
  type Operation,
  type PrepareOptions,
  type Slot,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';

const SLOT_KINDS: readonly Slot['kind'][] = ['tokens', 'f32', 'a4', 'stat'];
const OPERATIONS: readonly Operation['op'][] = [
  'embed',
  'rmsNorm',
  'quantizeActivations',
  'w11MatMul',
  'denseMatMul',
  'rope',
  'attention',
  'siluMul',
  'add',
  'logits',
  'accumulateGram',
  'decodeActivations',
  'rotateInput',
  'takeColumns',
];
/** op, 4 slots, weight, 5 numbers */
const RECORD = 11;

export interface FlatPlan {
  readonly slots: Float64Array;
  readonly operations: Float64Array;
  readonly geometry: Float64Array;
  /** Of all takeColumns, one after the other. */
  readonly columns: Int32Array;
  readonly slotIds: ReadonlyMap<string, number>;
}

/** @throws DuobitError `PLAN_INVALID` when a product would overwrite its own input. */
export function flattenPlan(
  plan: ExecutionPlan,
  weightIds: ReadonlyMap<string, number>,
  { capacity, maxRows, sequences = 1 }: PrepareOptions,
  kv: KvPrecision,
): FlatPlan {
  const entries = Object.entries(plan.slots);
  const slotIds = new Map(entries.map(([name], index) => [name, index]));
  const slots = Float64Array.from(
    entries.flatMap(([, { kind, width }]) => [SLOT_KINDS.indexOf(kind), width]),
  );
  const operations = new Float64Array(plan.operations.length * RECORD);
  const columns: number[] = [];
  plan.operations.forEach((operation, index) => {
    const { slots: names, numbers } = listOperands(operation);
    if (operation.op === 'takeColumns') {
      numbers.push(columns.length);
      columns.push(...operation.columns);
    }
    const ids = names.map((name) => slotIds.get(name)!);
    const weight = 'weight' in operation ? weightIds.get(operation.weight)! : -1;
    operations.set([OPERATIONS.indexOf(operation.op), -1, -1, -1, -1, weight], index * RECORD);
    operations.set(ids, index * RECORD + 1);
    operations.set(numbers, index * RECORD + 6);
  });
  const { kvHeadCount, headSize } = plan.heads;
  const geometry = Float64Array.of(
    plan.cacheLayers,
    kvHeadCount,
    headSize,
    capacity,
    maxRows,
    KV_PRECISIONS.indexOf(kv),
    sequences,
  );
  return { slots, operations, geometry, columns: Int32Array.from(columns), slotIds };
}

/** What an operation reads, then what it writes; then its numbers as native/program.h lists them. */
function listOperands(operation: Operation): { slots: string[]; numbers: number[] } {
  switch (operation.op) {
    case 'rmsNorm':
      return { slots: [operation.input, operation.out], numbers: [operation.epsilon] };
    case 'quantizeActivations': {
      const { clipLow, clipHigh } = operation.quantizer;
      return { slots: [operation.input, operation.out], numbers: [clipLow, clipHigh] };
    }
    case 'rope':
      return { slots: [operation.target], numbers: [operation.headCount, operation.headSize] };
    case 'attention': {
      const { query, key, value, out, layer, window } = operation;
      const { headCount, kvHeadCount, headSize } = operation.heads;
      return {
        slots: [query, key, value, out],
        numbers: [layer, headCount, kvHeadCount, headSize, window ?? 0],
      };
    }
    case 'takeColumns':
      return { slots: [operation.input, operation.kept, operation.taken], numbers: [] };
    case 'siluMul':
      return { slots: [operation.gate, operation.up, operation.out], numbers: [] };
    case 'accumulateGram':
      return { slots: [operation.input, operation.other ?? operation.input, operation.out], numbers: [] };
    case 'w11MatMul':
    case 'denseMatMul':
    case 'logits':
      if (operation.input === operation.out)
        throw new DuobitError('PLAN_INVALID', `${operation.op} would overwrite its own input`, {
          where: operation.out,
          remedy: 'Build the plan with buildPlan',
        });
      return { slots: [operation.input, operation.out], numbers: [] };
    default:
      return { slots: [operation.input, operation.out], numbers: [] };
  }
}

/** Bytes of slots and KV caches, close enough to refuse what cannot fit. */
export function countBytes(
  plan: ExecutionPlan,
  { capacity, maxRows, sequences = 1 }: PrepareOptions,
  kv: KvPrecision,
): { slots: number; cache: number } {
  let slots = 0;
  for (const { kind, width } of Object.values(plan.slots))
    slots += kind === 'stat' ? width * 8 : width * 4 * maxRows;
  const { kvHeadCount, headSize } = plan.heads;
  // An offset and a step in f16 for every 32 dimensions of int8 and int4.
  const bytes = { f32: 4, f16: 2, int8: 1 + 4 / 32, int4: 0.5 + 4 / 32 }[kv];
  const cache = sequences * plan.cacheLayers * 2 * kvHeadCount * headSize * capacity * bytes;
  return { slots, cache };
}
