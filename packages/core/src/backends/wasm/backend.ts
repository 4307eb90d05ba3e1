// The WebAssembly backend: SIMD kernels written in AssemblyScript, one linear memory a program, a whole run in one call, on
// the caller's thread and on helpers (threads.ts).
import { DuobitError, type TensorData } from '@duobit/format';
import type { Backend, PrepareOptions, Program, RunRequest, WeightReader } from '../../backend.ts';
import { listPlanWeights } from '../../build-plan.ts';
import type { ExecutionPlan } from '../../plan.ts';
import { readWeights } from '../../read-weights.ts';
import {
  checkPlan,
  checkPrepareOptions,
  checkRun,
  checkSlot,
  checkWrite,
  disposed,
  notRun,
} from '../checks.ts';
import { listSymmetricSums, mirrorUpper } from '../gram.ts';
import { type CompiledPlan, compilePlan, type MatrixWeight } from './compile.ts';
import { Heap } from './heap.ts';
import { compileKernels, instantiateKernels, type Kernels } from './kernels.ts';
import type { SlotMemory } from './slots.ts';
import { createWait, type HelperPool, type Served, startHelpers } from './threads.ts';
import { loadDense, loadInteger, loadVector, loadW11, type W11Weight } from './weights.ts';

/** Options of `createWasmBackend`. */
export interface WasmBackendOptions {
  /**
   * Threads wished for, the caller's included. Fewer run where memory cannot be shared or workers cannot start, and
   * `Backend.threads` says how many do. Default 1.
   */
  readonly threads?: number | undefined;
  /** False keeps to plain SIMD128 where the engine has relaxed SIMD too. Default true. */
  readonly relaxedSimd?: boolean | undefined;
}

const MOST_THREADS = 1024;

/**
 * The CPU backend for Node and browsers. In a browser it belongs in a worker: a run blocks the thread that calls it.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without WebAssembly SIMD; `BACKEND_OPTION` for a bad thread count.
 */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  const { threads = 1, relaxedSimd = true } = options;
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > MOST_THREADS)
    throw new DuobitError('BACKEND_OPTION', `threads is ${threads}`, {
      where: 'threads',
      remedy: `Give a whole number, 1 to ${MOST_THREADS}`,
    });
  const helpers = await startHelpers(threads - 1);
  const shared = helpers.size > 0;
  const module = await compileKernels({ shared, relaxed: relaxedSimd });
  let isDisposed = false;
  return {
    name: 'wasm',
    get threads() {
      return 1 + helpers.size;
    },
    kv: 'f32',
    maxSequences: Number.POSITIVE_INFINITY,
    async prepare(plan, weights, prepareOptions) {
      if (isDisposed) throw disposed('backend');
      return prepareProgram({ module, helpers, shared }, plan, weights, prepareOptions);
    },
    async dispose() {
      isDisposed = true;
      await helpers.dispose();
    },
  };
}

/** What programs of one backend share. */
interface Engine {
  readonly module: WebAssembly.Module;
  readonly helpers: HelperPool;
  readonly shared: boolean;
}

const LOADABLE: readonly string[] = ['f32', 'f16', 'bf16', 'int8', 'int4', 'w11'];

async function prepareProgram(
  engine: Engine,
  plan: ExecutionPlan,
  weights: WeightReader,
  options: PrepareOptions,
): Promise<Program> {
  checkPrepareOptions(options, Number.POSITIVE_INFINITY);
  const { module, helpers, shared } = engine;
  const heap = new Heap({ shared });
  const kernels = await instantiateKernels(module, heap.memory, createWait(heap.memory));
  const matrices = new Map<string, MatrixWeight>();
  const w11 = new Map<string, W11Weight>();
  const facts = new Map<string, TensorData['info']>();
  const before = heap.used;
  for await (const [name, data] of readWeights(listPlanWeights(plan), weights)) {
    const { encoding, shape } = data.info;
    facts.set(name, data.info);
    // What no kernel can hold is left out here and refused, by name, by checkPlan below.
    if (!LOADABLE.includes(encoding.kind) || shape.length < 1 || shape.length > 2) continue;
    if (encoding.kind === 'int8' || encoding.kind === 'int4')
      matrices.set(name, loadInteger(heap, data, encoding.kind));
    else {
      const coded = encoding.kind === 'w11' && isUsed(plan, name, 'a4');
      if (coded) w11.set(name, loadW11(heap, kernels, data));
      if (encoding.kind !== 'w11' || isUsed(plan, name, 'f32'))
        matrices.set(name, shape.length === 1 ? loadVector(heap, data) : loadDense(heap, data));
    }
  }
  const weightBytes = heap.used - before;
  checkPlan(plan, (name) => facts.get(name)!);
  const compiled = compilePlan(plan, { matrices, w11 }, heap, { ...options, threads: 1 + helpers.size });
  const served = { module, memory: heap.memory };
  return new WasmProgram(plan, options, { heap, compiled, kernels, helpers, served }, weightBytes);
}

/** Whether a w11MatMul runs this weight on a slot of this kind. */
function isUsed(plan: ExecutionPlan, name: string, kind: 'a4' | 'f32'): boolean {
  return plan.operations.some(
    (operation) =>
      operation.op === 'w11MatMul' && operation.weight === name && plan.slots[operation.input]?.kind === kind,
  );
}

/** A program's memory and what runs on it. */
interface Held {
  readonly heap: Heap;
  readonly compiled: CompiledPlan;
  readonly kernels: Kernels;
  readonly helpers: HelperPool;
  readonly served: Served;
}

class WasmProgram implements Program {
  readonly weightBytes: number;
  readonly #plan: ExecutionPlan;
  readonly #options: PrepareOptions;
  readonly #symmetric: ReadonlyMap<string, number>;
  /** Null once disposed: the memory goes with the last reference to it. */
  #held: Held | null;
  /** Rows of the latest run, and those of them that went through `logits`; null before the first and after a failure. */
  #rows: { readonly all: number; readonly logits: number } | null = null;

  constructor(plan: ExecutionPlan, options: PrepareOptions, held: Held, weightBytes: number) {
    this.#plan = plan;
    this.#options = { ...options };
    this.#symmetric = listSymmetricSums(plan);
    this.#held = held;
    this.weightBytes = weightBytes;
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    const { heap, compiled } = this.#alive();
    checkWrite(this.#plan, name, values, this.#options);
    const { pointer, stride, width } = compiled.slots.get(name)!;
    if (values instanceof Int32Array) {
      heap.integers(pointer, values.length).set(values);
      return;
    }
    const rows = values.length / width;
    const target = heap.floats(pointer, (rows * stride) / 4);
    for (let row = 0; row < rows; row++)
      target.set(values.subarray(row * width, (row + 1) * width), (row * stride) / 4);
  }

  async run(request: RunRequest): Promise<void> {
    const { compiled, kernels, helpers, served } = this.#alive();
    const run = checkRun(request, this.#options);
    this.#rows = null;
    const counts = compiled.prepareRun(run);
    helpers.serve(served);
    if (kernels.run(...counts) === 0) {
      await helpers.dispose();
      throw new DuobitError('BACKEND_THREAD_LOST', 'a thread of the wasm backend died during a run', {
        where: 'wasm backend',
        remedy: 'Run again, which takes one thread from now on, or create a new backend',
      });
    }
    this.#rows = { all: run.rows, logits: run.logitRows };
  }

  async read(name: string): Promise<Float32Array> {
    const { heap, compiled } = this.#alive();
    checkSlot(this.#plan, name);
    const slot = compiled.slots.get(name)!;
    if (slot.kind === 'stat') {
      const sums = Float32Array.from(heap.doubles(slot.pointer, slot.width));
      mirrorUpper(sums, this.#symmetric.get(name) ?? 0);
      return sums;
    }
    if (this.#rows === null) throw notRun(name);
    const rows = compiled.logitSlots.has(name) ? this.#rows.logits : this.#rows.all;
    if (slot.kind === 'tokens') return Float32Array.from(heap.integers(slot.pointer, rows));
    return slot.kind === 'a4' ? decodeCodes(heap, slot, rows) : copyRows(heap, slot, rows);
  }

  async dispose(): Promise<void> {
    this.#held?.helpers.release(this.#held.served);
    this.#held = null;
  }

  #alive(): Held {
    if (!this.#held) throw disposed('program');
    return this.#held;
  }
}

function copyRows(heap: Heap, { pointer, stride, width }: SlotMemory, rows: number): Float32Array {
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) out.set(heap.floats(pointer + row * stride, width), row * width);
  return out;
}

/** x^ = lo + step * code, each step rounded to f32; entry 1 << j of a table is the code of its column j. */
function decodeCodes(heap: Heap, { pointer, stride, width, params }: SlotMemory, rows: number): Float32Array {
  const out = new Float32Array(rows * width);
  const scales = heap.floats(params, rows * 2);
  for (let row = 0; row < rows; row++) {
    const tables = heap.bytes(pointer + row * stride, stride);
    for (let k = 0; k < width; k++) {
      const code = tables[(k >> 2) * 16 + (1 << (k & 3))]!;
      out[row * width + k] = scales[2 * row]! + Math.fround(scales[2 * row + 1]! * code);
    }
  }
  return out;
}
