// Checks a whole plan operation by operation. Every result is copied aside on the device, and each operation is judged by
// the inputs that this very backend gave it; so the bounds of single operations serve for whole models, and a 4-bit code
// that falls the other way after a tiny difference is no failure.
import {
  type Backend,
  type ExecutionPlan,
  type KvPrecision,
  listPlanWeights,
  type Operation,
  type Program,
  type RunRequest,
  type Slot,
} from '@duobit/core';
import { compareValues, type Expectation, exactly } from './compare.ts';
import {
  type CountedRows,
  type ExpectedCodes,
  expectAttention,
  expectCodes,
  expectDense,
  expectGate,
  expectGram,
  expectInputRotation,
  expectKept,
  expectNorm,
  expectRotation,
  expectSum,
  expectTaken,
  expectW11,
  expectW11Coded,
} from './expected.ts';
import { type CachedRow, cacheValues } from './kv-cache.ts';
import type { MadeTensor } from './tensors.ts';

interface Step {
  readonly operation: Operation;
  /** Slot by slot that the operation writes, the one that holds a copy; null where the result is read directly. */
  readonly copies: ReadonlyMap<string, string | null>;
}

/** A plan whose every f32 result is kept in a slot of its own, by adding it to zeros. */
function instrumentPlan(plan: ExecutionPlan): { plan: ExecutionPlan; steps: Step[]; inputs: string[] } {
  const slots: Record<string, Slot> = { ...plan.slots };
  const operations: Operation[] = [];
  const steps: Step[] = [];
  const written = new Set<string>();
  const inputs = new Set<string>();
  for (const operation of plan.operations) {
    const reads = readsOf(operation);
    for (const slot of reads) if (!written.has(slot)) inputs.add(slot);
    operations.push(operation);
    const copies = new Map<string, string | null>();
    for (const out of outsOf(operation)) {
      written.add(out);
      const { kind, width } = slots[out]!;
      const copied = kind === 'f32' && operation.op !== 'logits';
      const copy = `trace.${steps.length}.${copies.size}`;
      copies.set(out, copied ? copy : null);
      if (!copied) continue;
      slots[copy] = { kind, width };
      operations.push({ op: 'add', input: out, out: copy });
    }
    steps.push({ operation, copies });
  }
  return { plan: { ...plan, slots, operations }, steps, inputs: [...inputs] };
}

function readsOf(operation: Operation): string[] {
  switch (operation.op) {
    case 'rope':
      return [operation.target];
    case 'attention':
      return [operation.query, operation.key, operation.value];
    case 'siluMul':
      return [operation.gate, operation.up];
    case 'add':
      return [operation.input, operation.out];
    case 'accumulateGram':
      return [operation.input, operation.other ?? operation.input];
    default:
      return [operation.input];
  }
}

/** One run of a traced plan. */
export interface TracedRun {
  readonly request: RunRequest;
  /** Values of the plan's input slots. */
  readonly inputs: Readonly<Record<string, Float32Array | Int32Array>>;
}

/**
 * Prepares a plan on a backend, runs it as asked (one run after the other, on the same KV caches) and checks every operation.
 * @throws Error naming the operation, with a table of the values that are off
 */
export async function checkPlanOnBackend(
  backend: Backend,
  plan: ExecutionPlan,
  tensors: ReadonlyMap<string, MadeTensor>,
  runs: readonly TracedRun[],
  capacity: number,
): Promise<void> {
  const traced = instrumentPlan(plan);
  const maxRows = Math.max(...runs.map(({ request }) => rowsOf(request)));
  const sequences = 1 + Math.max(...runs.flatMap(({ request }) => partsOf(request).map((p) => p.sequence)));
  for (const name of listPlanWeights(plan))
    if (!tensors.has(name)) throw new Error(`no tensor ${name} was made for this plan`);
  const program = await backend.prepare(traced.plan, async (name) => tensors.get(name)!.data, {
    capacity,
    maxRows,
    sequences,
  });
  try {
    const checker = new PlanChecker(traced.plan, tensors, backend.kv);
    for (const [index, run] of runs.entries()) {
      for (const copy of traced.steps.flatMap(({ copies }) => [...copies.values()]))
        if (copy)
          await program.write(copy, new Float32Array(rowsOf(run.request) * traced.plan.slots[copy]!.width));
      for (const slot of traced.inputs) await program.write(slot, run.inputs[slot]!);
      await program.run(run.request);
      await checker.check(program, traced.steps, run, `run ${index}`);
    }
  } finally {
    await program.dispose();
  }
}

class PlanChecker {
  readonly #plan: ExecutionPlan;
  readonly #tensors: ReadonlyMap<string, MadeTensor>;
  readonly #kv: KvPrecision;
  /** Rotated keys and values of every position so far, by sequence and layer. */
  readonly #cache = new Map<string, { keys: CachedRow[]; values: CachedRow[] }>();
  /** All rows that fed each statistics slot. */
  readonly #counted = new Map<string, CountedRows>();

  constructor(plan: ExecutionPlan, tensors: ReadonlyMap<string, MadeTensor>, kv: KvPrecision) {
    this.#kv = kv;
    this.#plan = plan;
    this.#tensors = tensors;
  }

  async check(program: Program, steps: readonly Step[], run: TracedRun, label: string): Promise<void> {
    /** What each slot holds, followed through the operations. */
    const held = new Map<string, Float32Array>();
    const codes = new Map<string, ExpectedCodes[]>();
    const rows = rowsOf(run.request);
    for (const [slot, values] of Object.entries(run.inputs)) held.set(slot, Float32Array.from(values));
    for (const [index, { operation, copies }] of steps.entries()) {
      const name = `${label}, operation ${index} ${operation.op}${'weight' in operation ? ` ${operation.weight}` : ''}`;
      if (operation.op === 'quantizeActivations') {
        const { width } = this.#plan.slots[operation.input]!;
        const input = held.get(operation.input)!;
        codes.set(
          operation.out,
          split(input, rows, width).map((row) => expectCodes(row, operation.quantizer)),
        );
        const isLast = !steps.slice(index + 1).some((later) => later.copies.has(operation.out));
        if (isLast) {
          const decoded = codes.get(operation.out)!.flatMap((row) => row.decoded);
          compareValues(name, await program.read(operation.out), exactly(decoded));
        }
        continue;
      }
      for (const [out, copy] of copies) {
        const actual = await program.read(copy ?? out);
        compareValues(name, actual, this.#expect(operation, out, held, codes, run.request));
        held.set(out, actual);
      }
    }
  }

  #expect(
    operation: Exclude<Operation, { op: 'quantizeActivations' }>,
    out: string,
    held: ReadonlyMap<string, Float32Array>,
    codes: ReadonlyMap<string, ExpectedCodes[]>,
    request: RunRequest,
  ): Expectation[] {
    const parts = partsOf(request);
    const rows = rowsOf(request);
    const read = (slot: string) => split(held.get(slot)!, rows, this.#plan.slots[slot]!.width);
    const tensor = 'weight' in operation ? this.#tensors.get(operation.weight)! : null;
    switch (operation.op) {
      case 'embed':
        return [...held.get(operation.input)!].flatMap((token) =>
          exactly(tensor!.weights.subarray(token * tensor!.columns, (token + 1) * tensor!.columns)),
        );
      case 'rmsNorm':
        return read(operation.input).flatMap((row) => expectNorm(row, tensor!.weights, operation.epsilon));
      case 'rotateInput':
        return read(operation.input).flatMap(expectInputRotation);
      case 'takeColumns': {
        const expect = out === operation.taken ? expectTaken : expectKept;
        return read(operation.input).flatMap((row) => expect(row, operation.columns));
      }
      case 'decodeActivations':
        return codes.get(operation.input)!.flatMap((row) => exactly(row.decoded));
      case 'w11MatMul': {
        const coded = codes.get(operation.input);
        return coded
          ? coded.flatMap((row) => expectW11Coded(row, tensor!))
          : read(operation.input).flatMap((row) => expectW11(row, tensor!));
      }
      case 'denseMatMul':
        return read(operation.input).flatMap((row) => expectDense(row, tensor!));
      case 'logits': {
        const all = read(operation.input);
        const wanted = parts.flatMap(({ first, end, logits }) =>
          all.slice(logits === 'all' ? first : logits === 'last' ? end - 1 : end, end),
        );
        return wanted.flatMap((row) => expectDense(row, tensor!));
      }
      case 'rope': {
        const all = read(operation.target);
        return parts.flatMap(({ first, end, position }) =>
          all
            .slice(first, end)
            .flatMap((row, t) => expectRotation(row, position + t, this.#plan.ropeFrequencies)),
        );
      }
      case 'attention': {
        const { heads, window } = operation;
        const [queries, keys, values] = [operation.query, operation.key, operation.value].map(read);
        return parts.flatMap(({ sequence, position, first, end }) => {
          const cache = this.#cacheOf(sequence, operation.layer);
          const hold = (rows: readonly Float32Array[]) =>
            rows.slice(first, end).map((row) => cacheValues(row, this.#kv, heads.headSize));
          // Positions from here on are written anew.
          cache.keys.splice(position, cache.keys.length, ...hold(keys!));
          cache.values.splice(position, cache.values.length, ...hold(values!));
          return queries!.slice(first, end).flatMap((row, t) => {
            const seen = position + t + 1;
            return expectAttention(
              row,
              cache.keys.slice(0, seen),
              cache.values.slice(0, seen),
              heads,
              window,
            );
          });
        });
      }
      case 'siluMul': {
        const up = read(operation.up);
        return read(operation.gate).flatMap((row, t) => expectGate(row, up[t]!));
      }
      case 'add':
        return expectSum(held.get(operation.out)!, held.get(operation.input)!);
      case 'accumulateGram': {
        const counted = this.#counted.get(operation.out) ?? { left: [], right: [], longest: 0 };
        this.#counted.set(operation.out, counted);
        counted.left.push(...read(operation.input));
        counted.right.push(...read(operation.other ?? operation.input));
        counted.longest = Math.max(counted.longest, rows);
        return expectGram(counted);
      }
    }
  }

  #cacheOf(sequence: number, layer: number): { keys: CachedRow[]; values: CachedRow[] } {
    const name = `${sequence} ${layer}`;
    const cache = this.#cache.get(name) ?? { keys: [], values: [] };
    this.#cache.set(name, cache);
    return cache;
  }
}

/** Rows first … end - 1 of a run, which belong to one sequence. */
interface RowSpan {
  readonly sequence: number;
  readonly position: number;
  readonly logits: RunRequest['logits'];
  readonly first: number;
  readonly end: number;
}

function partsOf(request: RunRequest): RowSpan[] {
  let end = 0;
  return [request, ...(request.others ?? [])].map(({ sequence = 0, rows, position, logits }) => {
    const first = end;
    end += rows;
    return { sequence, position, logits, first, end };
  });
}

function rowsOf(request: RunRequest): number {
  return partsOf(request).at(-1)!.end;
}

function outsOf(operation: Operation): string[] {
  if (operation.op === 'takeColumns') return [operation.kept, operation.taken];
  return [operation.op === 'rope' ? operation.target : operation.out];
}

function split(values: Float32Array, rows: number, width: number): Float32Array[] {
  return Array.from({ length: rows }, (_, t) => values.subarray(t * width, (t + 1) * width));
}
