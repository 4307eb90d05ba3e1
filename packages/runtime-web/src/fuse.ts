// Which operations of a plan run as one: neighbours only, and only where everything that the plan writes is still written.
import type { ExecutionPlan, Operation } from '@duobit/core';

type Of<K extends Operation['op']> = Extract<Operation, { readonly op: K }>;

export type Unit =
  | { readonly kind: 'single'; readonly operation: Operation }
  /** Codes, and before them what fills the row that they are of: a norm or a gate, its rotation, or both. */
  | {
      readonly kind: 'quantized';
      readonly source: Of<'rmsNorm'> | Of<'siluMul'> | null;
      readonly rotate: Of<'rotateInput'> | null;
      readonly quantize: Of<'quantizeActivations'>;
    }
  /** Up to three W(1+1) products of the same codes. */
  | { readonly kind: 'joined'; readonly products: readonly Of<'w11MatMul'>[] }
  /** A W(1+1) product of codes that is added to a slot. */
  | { readonly kind: 'added'; readonly product: Of<'w11MatMul'>; readonly add: Of<'add'> }
  | { readonly kind: 'ropes'; readonly first: Of<'rope'>; readonly second: Of<'rope'> }
  /** Queries and keys turned, keys and values cached, and attention. */
  | {
      readonly kind: 'attended';
      readonly first: Of<'rope'>;
      readonly second: Of<'rope'>;
      readonly attention: Of<'attention'>;
    };

const MOST_JOINED = 3;

/** What of the device and the weights decides. */
export interface FuseRules {
  /** Whether the weights of these names are held as one matrix. */
  readonly canJoin: (weights: readonly string[]) => boolean;
  /** Whether a row of so many values is rotated in workgroup memory. */
  readonly canRotate: (width: number) => boolean;
}

export function fuseOperations(plan: ExecutionPlan, { canJoin, canRotate }: FuseRules): Unit[] {
  const units: Unit[] = [];
  const { operations } = plan;
  for (let i = 0; i < operations.length; ) {
    const operation = operations[i]!;
    const next = operations[i + 1];
    const quantized = findQuantized(plan, i, canRotate);
    if (quantized) {
      units.push(quantized.unit);
      i += quantized.count;
    } else if (operation.op === 'rope' && next?.op === 'rope' && canTurnTogether(operation, next)) {
      const attention = operations[i + 2];
      if (attention?.op === 'attention' && canTurnAndCache(operation, next, attention)) {
        units.push({ kind: 'attended', first: operation, second: next, attention });
        i += 3;
      } else {
        units.push({ kind: 'ropes', first: operation, second: next });
        i += 2;
      }
    } else if (operation.op === 'w11MatMul' && plan.slots[operation.input]!.kind === 'a4') {
      const products = listJoined(plan, i);
      if (products.length > 1 && canJoin(products.map(({ weight }) => weight))) {
        units.push({ kind: 'joined', products });
        i += products.length;
      } else if (next?.op === 'add' && next.input === operation.out && next.out !== operation.out) {
        units.push({ kind: 'added', product: operation, add: next });
        i += 2;
      } else {
        units.push({ kind: 'single', operation });
        i += 1;
      }
    } else {
      units.push({ kind: 'single', operation });
      i += 1;
    }
  }
  return units;
}

/** Codes with what fills their row, from a place on; null where that is nothing. */
function findQuantized(
  { operations, slots }: ExecutionPlan,
  from: number,
  canRotate: FuseRules['canRotate'],
): { unit: Unit; count: number } | null {
  let at = from;
  const first = operations[at];
  const source = first?.op === 'rmsNorm' || first?.op === 'siluMul' ? first : null;
  if (source) at += 1;
  const second = operations[at];
  const rotate =
    second?.op === 'rotateInput' &&
    second.input !== second.out &&
    (!source || second.input === source.out) &&
    canRotate(slots[second.out]!.width)
      ? second
      : null;
  if (rotate) at += 1;
  const quantize = operations[at];
  const filled = rotate ?? source;
  if (!filled || quantize?.op !== 'quantizeActivations' || quantize.input !== filled.out) return null;
  return { unit: { kind: 'quantized', source, rotate, quantize }, count: at + 1 - from };
}

function canTurnTogether(a: Of<'rope'>, b: Of<'rope'>): boolean {
  return a.target !== b.target && a.headSize === b.headSize;
}

function canTurnAndCache(query: Of<'rope'>, key: Of<'rope'>, attention: Of<'attention'>): boolean {
  const { heads, value } = attention;
  return (
    query.target === attention.query &&
    key.target === attention.key &&
    value !== attention.key &&
    value !== attention.query &&
    query.headSize === heads.headSize &&
    query.headCount === heads.headCount &&
    key.headCount === heads.kvHeadCount &&
    heads.headSize % 4 === 0
  );
}

/** The W(1+1) products from a place on that read the same codes, each into a slot of its own and of a weight of its own. */
function listJoined(plan: ExecutionPlan, from: number): Of<'w11MatMul'>[] {
  const products: Of<'w11MatMul'>[] = [];
  for (let i = from; products.length < MOST_JOINED; i++) {
    const operation = plan.operations[i];
    if (operation?.op !== 'w11MatMul') break;
    if (products[0] && operation.input !== products[0].input) break;
    if (products.some(({ out, weight }) => out === operation.out || weight === operation.weight)) break;
    products.push(operation);
  }
  return products;
}

/** Names of weights that may be held as one matrix, in order: those of joined products that nothing else uses. */
export function listJoinable(plan: ExecutionPlan): string[][] {
  const uses = new Map<string, number>();
  for (const operation of plan.operations)
    if ('weight' in operation) uses.set(operation.weight, (uses.get(operation.weight) ?? 0) + 1);
  const groups: string[][] = [];
  for (let i = 0; i < plan.operations.length; ) {
    const operation = plan.operations[i]!;
    const products =
      operation.op === 'w11MatMul' && plan.slots[operation.input]?.kind === 'a4' ? listJoined(plan, i) : [];
    if (products.length > 1 && products.every(({ weight }) => uses.get(weight) === 1))
      groups.push(products.map(({ weight }) => weight));
    i += Math.max(1, products.length);
  }
  return groups;
}
