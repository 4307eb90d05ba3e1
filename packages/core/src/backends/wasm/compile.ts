// Turns the operations of a checked plan into a flat list of kernel calls with every address already worked out.
import { DuobitError } from '@duobit/format';
import type { PrepareOptions, RunRequest } from '../../backend.ts';
import type { ExecutionPlan, Operation } from '../../plan.ts';
import { checkTokens } from '../checks.ts';
import type { Heap } from './heap.ts';
import type { Kernels } from './kernels.ts';
import { allocateCache, allocateSlots, roundedRowBytes, type SlotMemory } from './slots.ts';
import { type DenseWeight, type IntegerWeight, padTo, type W11Weight } from './weights.ts';

export type MatrixWeight = DenseWeight | IntegerWeight;

/** Weights in memory by name; a W(1+1) tensor used on both kinds of input is held in both forms. */
export interface LoadedWeights {
  readonly matrices: ReadonlyMap<string, MatrixWeight>;
  readonly w11: ReadonlyMap<string, W11Weight>;
}

export type Step = (request: RunRequest) => void;

export interface CompiledPlan {
  readonly steps: readonly Step[];
  readonly slots: ReadonlyMap<string, SlotMemory>;
  /** Rows that the latest run wrote to a slot of a `logits` operation. */
  readonly logitRows: Map<string, number>;
}

interface Context extends LoadedWeights {
  readonly plan: ExecutionPlan;
  readonly kernels: Kernels;
  readonly heap: Heap;
  readonly capacity: number;
  readonly slot: (name: string) => SlotMemory;
  readonly matrix: (name: string) => MatrixWeight;
  readonly cache: ReturnType<typeof allocateCache>;
  /** Shared by all operations, as they run one after another. */
  readonly scratch: number;
  /** Cosines and sines of the rows of a run. */
  readonly angles: number;
  readonly logitRows: Map<string, number>;
}

/** @throws DuobitError `BACKEND_OUT_OF_MEMORY`; `PLAN_INVALID` when a product would overwrite its own input. */
export function compilePlan(
  plan: ExecutionPlan,
  weights: LoadedWeights,
  kernels: Kernels,
  heap: Heap,
  options: PrepareOptions,
): CompiledPlan {
  const slots = allocateSlots(heap, plan, options.maxRows);
  const cache = allocateCache(heap, plan, options);
  const headSize = plan.ropeFrequencies.length * 2;
  const angles = heap.allocate(options.maxRows * headSize * 4, 'rotary angles');
  const scratch = heap.allocate(scratchBytes(plan, weights, cache.size, options), 'scratch');
  const logitRows = new Map<string, number>();
  const context: Context = {
    ...weights,
    plan,
    kernels,
    heap,
    capacity: options.capacity,
    slot: (name) => slots.get(name)!,
    matrix: (name) => weights.matrices.get(name)!,
    cache,
    scratch,
    angles,
    logitRows,
  };
  const steps = plan.operations.map((operation) => compileOperation(operation, context));
  if (plan.operations.some(({ op }) => op === 'rope'))
    steps.unshift(compileAngles(plan.ropeFrequencies, heap, angles, options.maxRows));
  return { steps, slots, logitRows };
}

/** The most scratch that any operation takes. */
function scratchBytes(
  plan: ExecutionPlan,
  { matrices, w11 }: LoadedWeights,
  cacheSize: number,
  { maxRows, capacity }: PrepareOptions,
): number {
  let most = 0;
  for (const weight of matrices.values())
    if (weight.kind !== 'dense')
      most = Math.max(most, maxRows * roundedRowBytes(weight.columns, weight.groupSize));
  for (const { groups } of w11.values()) most = Math.max(most, padTo(maxRows * groups * 2, 16) + 64);
  if (plan.cacheLayers > 0) most = Math.max(most, (8 * cacheSize + 4 * capacity) * 4);
  return most;
}

/** Angle = position * frequency in double; its cosine and sine are rounded to f32 once. */
function compileAngles(frequencies: Float64Array, heap: Heap, angles: number, maxRows: number): Step {
  const half = frequencies.length;
  const table = heap.floats(angles, maxRows * half * 2);
  return ({ rows, position }) => {
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < half; i++) {
        const angle = (position + row) * frequencies[i]!;
        table[row * 2 * half + i] = Math.cos(angle);
        table[row * 2 * half + half + i] = Math.sin(angle);
      }
  };
}

function compileOperation(operation: Operation, context: Context): Step {
  const { kernels, slot } = context;
  switch (operation.op) {
    case 'embed':
      return compileEmbed(operation, context);
    case 'rmsNorm': {
      const input = slot(operation.input);
      const out = slot(operation.out);
      const { pointer } = context.matrix(operation.weight);
      return ({ rows }) =>
        kernels.rmsNorm(
          input.pointer,
          pointer,
          out.pointer,
          input.stride,
          rows,
          input.width,
          operation.epsilon,
        );
    }
    case 'quantizeActivations': {
      const input = slot(operation.input);
      const out = slot(operation.out);
      const { clipLow, clipHigh } = operation.quantizer;
      return ({ rows }) =>
        kernels.quantizeActivations(
          input.pointer,
          input.stride,
          out.pointer,
          out.stride,
          out.params,
          rows,
          input.width,
          clipLow,
          clipHigh,
        );
    }
    case 'w11MatMul': {
      const input = slot(operation.input);
      if (input.kind === 'f32') return compileProduct(operation, context);
      const out = slot(operation.out);
      const weight = context.w11.get(operation.weight)!;
      return ({ rows }) =>
        kernels.w11MatMul(
          weight.pointer,
          weight.rowSums,
          input.pointer,
          input.stride,
          input.params,
          context.scratch,
          out.pointer,
          out.stride,
          rows,
          weight.rows,
          0,
          weight.tiles,
          weight.groups,
          weight.unitsPerGroup,
          weight.lastUnits,
        );
    }
    case 'denseMatMul':
      return compileProduct(operation, context);
    case 'logits': {
      const multiply = compileProduct(operation, context);
      const { logitRows } = context;
      return (request) => {
        const count = request.logits === 'all' ? request.rows : request.logits === 'last' ? 1 : 0;
        logitRows.set(operation.out, count);
        if (count > 0) multiply({ ...request, rows: count }, request.rows - count);
      };
    }
    case 'rope': {
      const target = slot(operation.target);
      const { headCount, headSize } = operation;
      return ({ rows }) =>
        kernels.rope(target.pointer, target.stride, context.angles, rows, headCount, headSize);
    }
    case 'attention':
      return compileAttention(operation, context);
    case 'siluMul': {
      const gate = slot(operation.gate);
      const up = slot(operation.up);
      const out = slot(operation.out);
      return ({ rows }) => kernels.siluMul(gate.pointer, up.pointer, out.pointer, rows * out.stride);
    }
    case 'add': {
      const input = slot(operation.input);
      const out = slot(operation.out);
      return ({ rows }) => kernels.add(input.pointer, out.pointer, rows * out.stride);
    }
    case 'accumulateSquares': {
      const input = slot(operation.input);
      const out = slot(operation.out);
      return ({ rows }) =>
        kernels.accumulateSquares(input.pointer, input.stride, out.pointer, rows, input.width);
    }
  }
}

function compileEmbed(
  { input, weight: name, out }: Operation & { op: 'embed' },
  { kernels, slot, matrix, heap }: Context,
): Step {
  const tokens = slot(input);
  const target = slot(out);
  const weight = matrix(name);
  if (weight.kind === 'dense')
    return ({ rows }) => {
      checkTokens(heap.integers(tokens.pointer, rows), weight.rows);
      kernels.embedF32(tokens.pointer, weight.pointer, target.pointer, target.stride, rows);
    };
  const embed = weight.kind === 'int8' ? kernels.embedInt8 : kernels.embedInt4;
  return ({ rows }) => {
    checkTokens(heap.integers(tokens.pointer, rows), weight.rows);
    embed(
      tokens.pointer,
      weight.pointer,
      weight.scales,
      target.pointer,
      target.stride,
      rows,
      weight.columns,
      weight.groupSize,
    );
  };
}

type Product = Operation & { op: 'w11MatMul' | 'denseMatMul' | 'logits' };

/** A product of f32 rows; the step takes the first row of the input to use. */
function compileProduct(
  operation: Product,
  { kernels, slot, matrix, scratch }: Context,
): (request: RunRequest, firstRow?: number) => void {
  const input = slot(operation.input);
  const out = slot(operation.out);
  if (operation.input === operation.out)
    throw new DuobitError('PLAN_INVALID', `${operation.op} would overwrite its own input`, {
      where: operation.out,
      remedy: 'Build the plan with buildPlan',
    });
  const weight = matrix(operation.weight);
  if (weight.kind === 'dense')
    return ({ rows }, firstRow = 0) =>
      kernels.denseMatMul(
        input.pointer + firstRow * input.stride,
        input.stride,
        weight.pointer,
        input.stride,
        out.pointer,
        out.stride,
        rows,
        0,
        weight.rows,
      );
  const multiply = weight.kind === 'int8' ? kernels.int8MatMul : kernels.int4MatMul;
  const rowBytes = roundedRowBytes(weight.columns, weight.groupSize);
  return ({ rows }, firstRow = 0) =>
    multiply(
      input.pointer + firstRow * input.stride,
      input.stride,
      weight.pointer,
      weight.scales,
      scratch,
      rowBytes,
      out.pointer,
      out.stride,
      rows,
      weight.columns,
      weight.groupSize,
      0,
      weight.rows,
    );
}

function compileAttention(
  operation: Operation & { op: 'attention' },
  { kernels, slot, cache, scratch, capacity }: Context,
): Step {
  const query = slot(operation.query);
  const key = slot(operation.key);
  const value = slot(operation.value);
  const out = slot(operation.out);
  const { headCount, kvHeadCount, headSize } = operation.heads;
  const layer = cache.layers[operation.layer]!;
  const { size } = cache;
  const scale = 1 / Math.sqrt(headSize);
  const headBytes = headSize * 4;
  return ({ rows, position }) => {
    kernels.cacheRows(
      key.pointer,
      key.stride,
      layer.keys,
      rows,
      position,
      kvHeadCount,
      headBytes,
      size,
      capacity,
    );
    kernels.cacheRows(
      value.pointer,
      value.stride,
      layer.values,
      rows,
      position,
      kvHeadCount,
      headBytes,
      size,
      capacity,
    );
    kernels.attention(
      query.pointer,
      query.stride,
      layer.keys,
      layer.values,
      out.pointer,
      out.stride,
      scratch,
      rows,
      position,
      headCount / kvHeadCount,
      headSize,
      size,
      capacity,
      operation.window ?? 0,
      scale,
      0,
      kvHeadCount,
    );
  };
}
