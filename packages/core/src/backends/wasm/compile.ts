// Compiles a checked plan to a table in linear memory that the kernel module runs in one call, and what the host still does
// before each run: check token ids, and cosines and sines in double precision.
import { DuobitError } from '@duobit/format';
import type { PrepareOptions } from '../../backend.ts';
import type { ExecutionPlan, Operation } from '../../plan.ts';
import { checkTokens } from '../checks.ts';
import { listPlaces, listWanted, type RunRows } from '../run-rows.ts';
import type { Heap } from './heap.ts';
import { createRotationTables, type RotationTable } from './rotation.ts';
import {
  allocateCache,
  allocateSlots,
  type Cache,
  GRAM_SCRATCH,
  GRAM_STRIP,
  roundedRowBytes,
  type SlotMemory,
  W11_SCRATCH,
} from './slots.ts';
import { allocateRunTables, type RunTables, type Step, writeTable } from './table.ts';
import { type DenseWeight, type IntegerWeight, padTo, type W11Weight } from './weights.ts';

export type MatrixWeight = DenseWeight | IntegerWeight;

/** Weights in memory by name; a W(1+1) tensor used on both kinds of input is held in both forms. */
export interface LoadedWeights {
  readonly matrices: ReadonlyMap<string, MatrixWeight>;
  readonly w11: ReadonlyMap<string, W11Weight>;
}

export interface CompileOptions extends PrepareOptions {
  /** Most threads that will take part in a run. */
  readonly threads: number;
}

export interface CompiledPlan {
  readonly slots: ReadonlyMap<string, SlotMemory>;
  /** Names of the slots that hold as many rows as the run asked logits for. */
  readonly logitSlots: ReadonlySet<string>;
  /** What must happen before the module's `run`, and its arguments. @throws DuobitError `RUN_INVALID` */
  readonly prepareRun: (run: RunRows) => readonly [rows: number, parts: number, wanted: number];
}

interface Context extends LoadedWeights {
  readonly slot: (name: string) => SlotMemory;
  readonly matrix: (name: string) => MatrixWeight;
  readonly cache: Cache;
  readonly capacity: number;
  /** Cosines and sines of the rows of a run. */
  readonly angles: number;
  /** Rows rounded to 16 bits, of one input at a time. */
  readonly rounded: number;
  readonly rotation: (width: number) => RotationTable;
  /** Writes numbers down, u32. */
  readonly table: (values: readonly number[]) => number;
}

/** @throws DuobitError `BACKEND_OUT_OF_MEMORY`; `PLAN_INVALID` when a product would overwrite its own input. */
export function compilePlan(
  plan: ExecutionPlan,
  weights: LoadedWeights,
  heap: Heap,
  options: CompileOptions,
): CompiledPlan {
  const { maxRows, capacity, threads } = options;
  const slots = allocateSlots(heap, plan, maxRows);
  const cache = allocateCache(heap, plan, options);
  const angles = heap.allocate(maxRows * plan.ropeFrequencies.length * 8, 'rotary angles');
  let roundedBytes = 0;
  for (const weight of weights.matrices.values())
    if (weight.kind !== 'dense')
      roundedBytes = Math.max(roundedBytes, roundedRowBytes(weight.columns, weight.groupSize));
  const rounded = heap.allocate(maxRows * roundedBytes, 'rounded rows');
  const stride = scratchBytes(plan, weights, cache.size, options);
  const scratch = { threads, pointer: heap.allocate(threads * stride, 'scratch'), stride };
  const context: Context = {
    ...weights,
    slot: (name) => slots.get(name)!,
    matrix: (name) => weights.matrices.get(name)!,
    cache,
    capacity,
    angles,
    rounded,
    rotation: createRotationTables(heap),
    table: (values) => {
      const pointer = heap.allocate(values.length * 4, 'a table of columns');
      heap.integers(pointer, values.length).set(values);
      return pointer;
    },
  };
  const steps: Step[] = [];
  for (const operation of plan.operations) addSteps(steps, operation, context);
  const tables = allocateRunTables(heap, maxRows);
  writeTable(heap, steps, scratch, tables);
  return {
    slots,
    logitSlots: new Set(
      plan.operations.flatMap((operation) => (operation.op === 'logits' ? operation.out : [])),
    ),
    prepareRun: compilePreparation(plan, context, heap, tables, maxRows),
  };
}

/** The most scratch that any operation takes of a thread, in whole cache lines. */
function scratchBytes(
  plan: ExecutionPlan,
  { w11 }: LoadedWeights,
  cacheSize: number,
  { capacity }: CompileOptions,
): number {
  const product = w11.size > 0 ? W11_SCRATCH : 0;
  const attention = plan.cacheLayers > 0 ? (8 * cacheSize + 4 * capacity) * 4 : 0;
  const gram = plan.operations.some(({ op }) => op === 'accumulateGram') ? GRAM_SCRATCH : 0;
  return padTo(Math.max(product, attention, gram), 64);
}

function compilePreparation(
  plan: ExecutionPlan,
  { slot, matrix, angles }: Context,
  heap: Heap,
  tables: RunTables,
  maxRows: number,
): CompiledPlan['prepareRun'] {
  const embeds = plan.operations.flatMap((operation) =>
    operation.op === 'embed'
      ? { ids: heap.integers(slot(operation.input).pointer, maxRows), count: matrix(operation.weight).rows }
      : [],
  );
  const turns = plan.operations.some(({ op }) => op === 'rope');
  const frequencies = plan.ropeFrequencies;
  const half = frequencies.length;
  const table = heap.floats(angles, maxRows * half * 2);
  const [placesAt, partsAt, wantedAt] = [tables.places, tables.parts, tables.wanted].map((pointer) =>
    heap.integers(pointer, 2 * maxRows),
  );
  return (run) => {
    const { rows, parts } = run;
    for (const { ids, count } of embeds) checkTokens(ids.subarray(0, rows), count);
    const places = listPlaces(run);
    const wanted = listWanted(run);
    placesAt!.set(places.flatMap(({ sequence, position }) => [sequence, position]));
    let first = 0;
    for (const [i, part] of parts.entries()) {
      partsAt!.set([first, part.rows], 2 * i);
      first += part.rows;
    }
    wantedAt!.set(wanted.flatMap((range) => [range.first, range.count]));
    // Angle = position * frequency in double; its cosine and sine are rounded to f32 once.
    for (let row = 0; turns && row < rows; row++)
      for (let i = 0; i < half; i++) {
        const angle = places[row]!.position * frequencies[i]!;
        table[row * 2 * half + i] = Math.cos(angle);
        table[row * 2 * half + half + i] = Math.sin(angle);
      }
    return [rows, parts.length, wanted.length];
  };
}

function addSteps(steps: Step[], operation: Operation, context: Context): void {
  const { slot, matrix } = context;
  switch (operation.op) {
    case 'embed': {
      const weight = matrix(operation.weight);
      const input = slot(operation.input);
      const out = slot(operation.out);
      const common = { ...reads(input), ...writes(out), weight: weight.pointer };
      if (weight.kind === 'dense') steps.push({ kind: 'embedF32', ...common });
      else {
        const { scales, columns, groupSize } = weight;
        const kind = weight.kind === 'int8' ? 'embedInt8' : 'embedInt4';
        steps.push({ kind, ...common, scales, width: columns, groupSize });
      }
      break;
    }
    case 'rmsNorm': {
      const input = slot(operation.input);
      const weight = matrix(operation.weight).pointer;
      const out = writes(slot(operation.out));
      steps.push({
        kind: 'rmsNorm',
        ...reads(input),
        ...out,
        weight,
        width: input.width,
        x: operation.epsilon,
      });
      break;
    }
    case 'rotateInput': {
      const input = slot(operation.input);
      const { pointer: weight, span: size, scale: x } = context.rotation(input.width);
      const out = writes(slot(operation.out));
      steps.push({ kind: 'rotate', ...reads(input), ...out, weight, width: input.width, size, x });
      break;
    }
    case 'takeColumns': {
      const input = slot(operation.input);
      const taken = slot(operation.taken);
      const places = { ...reads(input), ...writes(slot(operation.kept)) };
      const third = { third: taken.pointer, thirdStride: taken.stride };
      const weight = context.table(operation.columns);
      steps.push({ kind: 'takeColumns', ...places, ...third, weight, width: input.width, size: taken.width });
      break;
    }
    case 'quantizeActivations': {
      const input = slot(operation.input);
      const out = slot(operation.out);
      const { params, sums, sumStride } = out;
      const { clipLow: x, clipHigh: y } = operation.quantizer;
      const target = { ...writes(out), params, sums, sumStride };
      steps.push({ kind: 'quantize', ...reads(input), ...target, width: input.width, x, y });
      break;
    }
    case 'w11MatMul':
    case 'denseMatMul':
    case 'logits':
      addProduct(steps, operation, context);
      break;
    case 'rope': {
      const { headCount, headSize } = operation;
      const angles = { second: context.angles, secondStride: headSize * 4 };
      steps.push({ kind: 'rope', ...writes(slot(operation.target)), ...angles, headCount, headSize });
      break;
    }
    case 'attention':
      addAttention(steps, operation, context);
      break;
    case 'siluMul': {
      const up = slot(operation.up);
      const second = { second: up.pointer, secondStride: up.stride };
      steps.push({
        kind: 'siluMul',
        ...reads(slot(operation.gate)),
        ...second,
        ...writes(slot(operation.out)),
      });
      break;
    }
    case 'add':
      steps.push({ kind: 'add', ...reads(slot(operation.input)), ...writes(slot(operation.out)) });
      break;
    case 'decodeActivations': {
      const input = slot(operation.input);
      const { params, width } = input;
      steps.push({ kind: 'decode', ...reads(input), ...writes(slot(operation.out)), params, width });
      break;
    }
    case 'accumulateGram': {
      const input = slot(operation.input);
      const other = slot(operation.other ?? operation.input);
      const second = { second: other.pointer, secondStride: other.stride };
      const units = Math.ceil(input.width / GRAM_STRIP);
      const out = slot(operation.out).pointer;
      steps.push({ kind: 'gram', ...reads(input), ...second, out, width: input.width, units });
      break;
    }
  }
}

function reads({ pointer, stride }: SlotMemory): { input: number; inputStride: number } {
  return { input: pointer, inputStride: stride };
}

function writes({ pointer, stride }: SlotMemory): { out: number; outStride: number } {
  return { out: pointer, outStride: stride };
}

function addProduct(
  steps: Step[],
  operation: Operation & { op: 'w11MatMul' | 'denseMatMul' | 'logits' },
  { slot, matrix, w11, rounded }: Context,
): void {
  if (operation.input === operation.out)
    throw new DuobitError('PLAN_INVALID', `${operation.op} would overwrite its own input`, {
      where: operation.out,
      remedy: 'Build the plan with buildPlan',
    });
  const input = slot(operation.input);
  const out = writes(slot(operation.out));
  if (input.kind === 'a4') {
    const { pointer, rowSums, rows, tiles, groups, unitsPerGroup, lastUnits } = w11.get(operation.weight)!;
    const { params, sums, sumStride } = input;
    const codes = { ...reads(input), params, sums, sumStride };
    const tensor = { weight: pointer, scales: rowSums, outputs: rows, groups, unitsPerGroup, lastUnits };
    steps.push({ kind: 'w11', ...codes, ...tensor, ...out, units: tiles });
    return;
  }
  const logits = operation.op === 'logits';
  const weight = matrix(operation.weight);
  const tensor = { weight: weight.pointer, outputs: weight.rows, units: Math.ceil(weight.rows / 4) };
  if (weight.kind === 'dense') {
    steps.push({ kind: 'dense', logits, ...reads(input), ...tensor, ...out });
    return;
  }
  const { kind, columns: width, groupSize, scales } = weight;
  const rowBytes = roundedRowBytes(width, groupSize);
  const round: Step = {
    kind: 'roundRows',
    logits,
    ...reads(input),
    out: rounded,
    outStride: rowBytes,
    width,
    groupSize,
  };
  if (!isRounded(steps, round)) steps.push(round);
  steps.push({
    kind,
    logits,
    input: rounded,
    inputStride: rowBytes,
    ...tensor,
    ...out,
    scales,
    width,
    groupSize,
  });
}

/** Whether products that follow each other read the same rounded rows, unchanged since. */
function isRounded(steps: readonly Step[], round: Step): boolean {
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]!;
    if (step.kind === 'roundRows')
      return step.input === round.input && step.groupSize === round.groupSize && step.logits === round.logits;
    if ((step.kind !== 'int8' && step.kind !== 'int4') || step.out === round.input) return false;
  }
  return false;
}

function addAttention(
  steps: Step[],
  operation: Operation & { op: 'attention' },
  { slot, cache, capacity }: Context,
): void {
  const key = slot(operation.key);
  const value = slot(operation.value);
  const { headCount, kvHeadCount, headSize } = operation.heads;
  const layer = cache.layers[operation.layer]!;
  const shape = { kvHeadCount, headSize, size: cache.size, capacity };
  const from = { ...reads(key), second: value.pointer, secondStride: value.stride };
  steps.push({ kind: 'cacheRows', ...from, third: layer.keys, out: layer.values, ...shape });
  const places = { second: layer.keys, third: layer.values, ...writes(slot(operation.out)) };
  const limits = { headCount, window: operation.window ?? 0, x: 1 / Math.sqrt(headSize) };
  steps.push({ kind: 'attention', ...reads(slot(operation.query)), ...places, ...shape, ...limits });
}
