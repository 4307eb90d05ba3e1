// Compiles a plan to launches: chains of row operations, products that read the same codes, a product and the sum behind
// it, rotary embedding and the cache's rows become one launch each. A step only says what to launch for a run of so many rows;
// positions are in device memory, so that a recorded run serves all of them.
import type { ExecutionPlan, Operation, PrepareOptions } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type { Arena } from './arena.ts';
import { attentionStep, planAttention, ropeStep } from './attention.ts';
import type { Device } from './device.ts';
import { denseStep, fuseRow, MOST_WEIGHTS, type W11Target, w11Step } from './products.ts';
import { type ChainLinks, chainSteps } from './row-chain.ts';
import { f32Of, makeWideRows, type Setting, type Step } from './setting.ts';
import type { DeviceSlot } from './slots.ts';
import { DENSE_KINDS, type DenseWeight, type W11Weight } from './weights.ts';

const THREADS = 256;

type Product = Extract<Operation, { op: 'w11MatMul' | 'denseMatMul' | 'logits' }>;

/** @throws DuobitError `PLAN_INVALID` when a product would overwrite its own input. */
export function compileSteps(given: Omit<Setting, 'attention' | 'wideRows'>): Step[] {
  const setting: Setting = { ...given, attention: planAttention(given), wideRows: makeWideRows(given) };
  const { operations } = setting.plan;
  const steps: Step[] = [];
  /** The slot of a gate's result that the products before have written in a run of one row. */
  let gatedBefore: string | null = null;
  for (let i = 0; i < operations.length; ) {
    const operation = operations[i]!;
    switch (operation.op) {
      case 'rmsNorm':
      case 'siluMul':
      case 'rotateInput':
      case 'quantizeActivations': {
        const links = takeChain(operations, i);
        i += links.length;
        // Of one row the gate may have been applied where it was computed.
        const { head, ...rest } = links;
        const isMade = head !== undefined && head.out === gatedBefore;
        gatedBefore = null;
        const after = operations[i];
        const follows = after?.op === 'w11MatMul' && after.input === links.codes?.out;
        const { products, length } = follows
          ? takeProducts(setting, operations, i)
          : { products: [], length: 0 };
        const chain = chainSteps(setting, links);
        const rowChain = !isMade ? chain : rest.rotation || rest.codes ? chainSteps(setting, rest) : [];
        const product = follows ? [productStep(setting, products)] : [];
        const targets = w11Targets(setting, products);
        const gated = takeGate(targets, operations[i + length]);
        const seen = (slot: string) => isSeen(operations, i + length, slot);
        const one = follows ? fuseRow(setting, isMade ? rest : links, targets, { gated, seen }) : null;
        if (one) gatedBefore = gated;
        const [many, single] = [[...chain, ...product], one ? [one] : [...rowChain, ...product]];
        steps.push((run) => {
          for (const step of run.rows === 1 ? single : many) step(run);
        });
        i += length;
        break;
      }
      case 'w11MatMul':
      case 'denseMatMul':
      case 'logits': {
        const { products, length } = takeProducts(setting, operations, i);
        steps.push(productStep(setting, products));
        i += length;
        break;
      }
      case 'rope':
      case 'attention': {
        const { attention, length } = takeAttention(operations, i);
        i += length;
        if (attention) {
          const left = [attention.query, attention.key].some((slot) => isSeen(operations, i, slot));
          steps.push(attentionStep(setting, attention, length === 1 ? 'not' : left ? 'left' : 'in passing'));
        } else if (operation.op === 'rope') steps.push(ropeStep(setting, operation));
        break;
      }
      default:
        steps.push(simpleStep(setting, operation));
        i += 1;
    }
  }
  return steps;
}

/** Norm or gate, then rotation, then codes, as far as each reads what the one before it wrote. */
function takeChain(operations: readonly Operation[], at: number): ChainLinks {
  let next = at;
  let current: string | null = null;
  const links: { -readonly [K in keyof ChainLinks]: ChainLinks[K] } = { length: 0 };
  const first = operations[next]!;
  if (first.op === 'rmsNorm' || first.op === 'siluMul') {
    links.head = first;
    current = first.out;
    next += 1;
  }
  const rotation = operations[next];
  if (rotation?.op === 'rotateInput' && (current === null || rotation.input === current)) {
    links.rotation = rotation;
    current = rotation.out;
    next += 1;
  }
  const codes = operations[next];
  if (codes?.op === 'quantizeActivations' && (current === null || codes.input === current)) {
    links.codes = codes;
    next += 1;
  }
  links.length = next - at;
  return links;
}

/** A product with the slot that its result is added to besides, or null. */
export interface SummedProduct {
  readonly operation: Product;
  readonly sum: string | null;
}

function takeProducts(
  setting: Setting,
  operations: readonly Operation[],
  at: number,
): { products: SummedProduct[]; length: number } {
  const products: SummedProduct[] = [];
  const written = new Set<string>();
  let next = at;
  while (products.length < MOST_WEIGHTS) {
    const operation = operations[next];
    const first = products[0]?.operation;
    if (operation?.op !== 'w11MatMul' && operation?.op !== 'denseMatMul' && operation?.op !== 'logits') break;
    if (operation.input === operation.out)
      throw new DuobitError('PLAN_INVALID', `${operation.op} would overwrite its own input`, {
        where: operation.out,
        remedy: 'Build the plan with buildPlan',
      });
    if (first && !joins(setting, first, operation)) break;
    const after = operations[next + 1];
    // What a product has just given is added where it was computed.
    const sum =
      operation.op !== 'logits' &&
      after?.op === 'add' &&
      after.input === operation.out &&
      after.out !== operation.out &&
      after.out !== operation.input
        ? after.out
        : null;
    const outs = sum === null ? [operation.out] : [operation.out, sum];
    // Blocks of one launch run in any order.
    if (outs.some((out) => written.has(out))) break;
    for (const out of outs) written.add(out);
    products.push({ operation, sum });
    next += outs.length;
  }
  return { products, length: next - at };
}

/** Whether a product can be of the same launch as the first: W(1+1), the same input, group size and offsets. */
function joins({ weights }: Setting, first: Product, next: Product): boolean {
  const [a, b] = [weights.get(first.weight), weights.get(next.weight)];
  return (
    first.input === next.input &&
    a?.kind === 'w11' &&
    b?.kind === 'w11' &&
    a.groupSize === b.groupSize &&
    a.offsets === b.offsets
  );
}

function productStep(setting: Setting, products: readonly SummedProduct[]): Step {
  const { operation, sum } = products[0]!;
  const weight = setting.weights.get(operation.weight);
  return weight?.kind === 'w11'
    ? w11Step(setting, w11Targets(setting, products), operation.input)
    : denseStep(setting, operation, weight as DenseWeight, sum);
}

/** The slot of a gate's result, where two products are a gate and what it gates, and nothing else. */
function takeGate(targets: readonly W11Target[], after: Operation | undefined): string | null {
  const [gate, up] = targets;
  return targets.length === 2 &&
    after?.op === 'siluMul' &&
    after.gate === gate!.out &&
    after.up === up!.out &&
    after.out !== after.gate &&
    after.out !== after.up &&
    gate!.sum === null &&
    up!.sum === null &&
    gate!.weight.rows === up!.weight.rows
    ? after.out
    : null;
}

function w11Targets({ weights }: Setting, products: readonly SummedProduct[]): W11Target[] {
  return products.map(({ operation, sum }) => ({
    weight: weights.get(operation.weight) as W11Weight,
    out: operation.out,
    sum,
  }));
}

/** Attention, with the turning of its query and key before it where that is what stands there. */
function takeAttention(
  operations: readonly Operation[],
  at: number,
): { attention: Extract<Operation, { op: 'attention' }> | null; length: number } {
  const [first, second, third] = [operations[at]!, operations[at + 1], operations[at + 2]];
  if (first.op === 'attention') return { attention: first, length: 1 };
  if (first.op === 'rope' && second?.op === 'rope' && third?.op === 'attention') {
    const { heads, query, key } = third;
    const fits = (rope: typeof first, target: string, count: number) =>
      rope.target === target && rope.headSize === heads.headSize && rope.headCount === count;
    const distinct = new Set([query, key, third.value, third.out]).size === 4;
    if (distinct && fits(first, query, heads.headCount) && fits(second, key, heads.kvHeadCount))
      return { attention: third, length: 3 };
  }
  return { attention: null, length: 1 };
}

/** Operations whose result takes the place of what its slot held. */
const OVERWRITES: readonly string[] = [
  'w11MatMul',
  'denseMatMul',
  'rmsNorm',
  'siluMul',
  'rotateInput',
  'quantizeActivations',
];

/** Whether anything, or whoever reads slots after a run, can see what a slot holds before the operation at `at`. */
function isSeen(operations: readonly Operation[], at: number, slot: string): boolean {
  const next = operations.slice(at).find((operation) => Object.values(operation).includes(slot));
  const { out, ...read } = (next ?? {}) as { out?: string };
  return !next || !OVERWRITES.includes(next.op) || out !== slot || Object.values(read).includes(slot);
}

/** Operations that are a launch of their own. */
function simpleStep(setting: Setting, operation: Operation): Step {
  const { device, slots, arena } = setting;
  const across = (width: number) => Math.ceil(width / THREADS);
  switch (operation.op) {
    case 'embed': {
      const out = f32Of(setting, operation.out);
      const tokens = slots.get(operation.input)! as Extract<DeviceSlot, { kind: 'tokens' | 'stat' }>;
      const weight = setting.weights.get(operation.weight) as DenseWeight;
      const kind = DENSE_KINDS.indexOf(weight.encoding);
      return ({ rows }) =>
        device.launch(
          'embed',
          [across(out.width), rows, 1],
          THREADS,
          [tokens.address, weight.data, weight.scales, out.address],
          [out.width, weight.rowBytes, weight.groupSize, weight.groups, out.stride, kind],
        );
    }
    case 'add': {
      const [x, out] = [f32Of(setting, operation.input), f32Of(setting, operation.out)];
      return ({ rows }) =>
        device.launch(
          'add_rows',
          [across(out.width), rows, 1],
          THREADS,
          [x.address, out.address],
          [out.width, x.stride, out.stride],
        );
    }
    case 'takeColumns': {
      const [x, kept, taken] = [
        f32Of(setting, operation.input),
        f32Of(setting, operation.kept),
        f32Of(setting, operation.taken),
      ];
      const list = Int32Array.from(operation.columns);
      const columns = arena.allocate(list.byteLength, 'outlier columns');
      device.uploadBytes(columns, new Uint8Array(list.buffer));
      return ({ rows }) =>
        device.launch(
          'take_columns',
          [rows, 1, 1],
          THREADS,
          [x.address, columns, kept.address, taken.address],
          [x.width, list.length, x.stride, kept.stride, taken.stride],
        );
    }
    case 'decodeActivations': {
      const [codes, out] = [slots.get(operation.input)!, f32Of(setting, operation.out)];
      if (codes.kind !== 'a4') throw new DuobitError('INTERNAL', 'codes of another kind');
      return ({ rows }) => decodeCodes(device, codes, rows, out.address, out.stride);
    }
    case 'accumulateGram': {
      const x = f32Of(setting, operation.input);
      const y = f32Of(setting, operation.other ?? operation.input);
      const sums = slots.get(operation.out)! as Extract<DeviceSlot, { kind: 'tokens' | 'stat' }>;
      return ({ rows }) =>
        device.launch(
          'accumulate_gram',
          [across(x.width * x.width), 1, 1],
          THREADS,
          [x.address, y.address, sums.address],
          [x.width, rows, x.stride, y.stride],
        );
    }
    default:
      throw new DuobitError('INTERNAL', `operation "${operation.op}" has no launch`);
  }
}

/** Writes what the codes of a slot stand for, with rows `stride` floats apart. */
export function decodeCodes(
  device: Device,
  slot: Extract<DeviceSlot, { kind: 'a4' }>,
  rows: number,
  out: number,
  stride: number,
): void {
  const { codes, params, layout } = slot.buffers[0]!;
  device.launch(
    'decode_codes',
    [Math.ceil(slot.width / THREADS), rows, 1],
    THREADS,
    [codes, params, out],
    [slot.width, stride, layout],
  );
}

/** The table that rotary embedding reads, or 0 in plans that have none. */
export function makeRopeTable(
  device: Device,
  arena: Arena,
  plan: ExecutionPlan,
  { capacity }: PrepareOptions,
): number {
  if (!plan.operations.some(({ op }) => op === 'rope')) return 0;
  const half = plan.ropeFrequencies.length;
  const frequencies = arena.allocate(8 * half, 'frequencies');
  device.uploadBytes(frequencies, new Uint8Array(Float64Array.from(plan.ropeFrequencies).buffer));
  const table = arena.allocate(8 * half * capacity, `a table of ${capacity} positions`);
  device.launch(
    'rope_table',
    [Math.ceil((half * capacity) / THREADS), 1, 1],
    THREADS,
    [frequencies, table],
    [half, capacity],
  );
  return table;
}
