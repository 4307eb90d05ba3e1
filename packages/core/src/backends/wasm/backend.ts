// The WebAssembly backend: SIMD128 kernels written in AssemblyScript, one linear memory a program, one thread.
import { DuobitError, type TensorData } from '@duobit/format';
import type { Backend, PrepareOptions, Program, RunRequest, WeightReader } from '../../backend.ts';
import { listPlanWeights } from '../../build-plan.ts';
import type { ExecutionPlan } from '../../plan.ts';
import { checkPlan, checkPrepareOptions, checkRun, checkSlot, checkWrite } from '../checks.ts';
import { type CompiledPlan, compilePlan, type MatrixWeight } from './compile.ts';
import { Heap } from './heap.ts';
import { compileKernels, instantiateKernels } from './kernels.ts';
import type { SlotMemory } from './slots.ts';
import { loadDense, loadInteger, loadVector, loadW11, type W11Weight } from './weights.ts';

export interface WasmBackendOptions {
  /** Threads wished for. This version runs one, and says so in `Backend.threads`. Default 1. */
  readonly threads?: number | undefined;
}

/**
 * The CPU backend for Node and browsers.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without WebAssembly SIMD; `BACKEND_OPTION` for a bad thread count.
 */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  const { threads = 1 } = options;
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw new DuobitError('BACKEND_OPTION', `threads is ${threads}`, {
      where: 'threads',
      remedy: 'Give a positive integer',
    });
  const module = await compileKernels();
  let disposed = false;
  return {
    name: 'wasm',
    threads: 1,
    kv: 'f32',
    async prepare(plan, weights, prepareOptions) {
      if (disposed) throw disposedError('the backend');
      return prepareProgram(module, plan, weights, prepareOptions);
    },
    async dispose() {
      disposed = true;
    },
  };
}

const LOADABLE: readonly string[] = ['f32', 'f16', 'bf16', 'int8', 'int4', 'w11'];

async function prepareProgram(
  module: WebAssembly.Module,
  plan: ExecutionPlan,
  weights: WeightReader,
  options: PrepareOptions,
): Promise<Program> {
  checkPrepareOptions(options);
  const heap = new Heap();
  const matrices = new Map<string, MatrixWeight>();
  const w11 = new Map<string, W11Weight>();
  const facts = new Map<string, TensorData['info']>();
  const before = heap.used;
  for (const name of listPlanWeights(plan)) {
    const data = await weights(name);
    const { encoding, shape } = data.info;
    facts.set(name, data.info);
    // What no kernel can hold is left out here and refused, by name, by checkPlan below.
    if (!LOADABLE.includes(encoding.kind) || shape.length < 1 || shape.length > 2) continue;
    if (encoding.kind === 'int8' || encoding.kind === 'int4')
      matrices.set(name, loadInteger(heap, data, encoding.kind));
    else {
      const coded = encoding.kind === 'w11' && isUsed(plan, name, 'a4');
      if (coded) w11.set(name, loadW11(heap, data));
      if (encoding.kind !== 'w11' || isUsed(plan, name, 'f32'))
        matrices.set(name, shape.length === 1 ? loadVector(heap, data) : loadDense(heap, data));
    }
  }
  const weightBytes = heap.used - before;
  checkPlan(plan, (name) => facts.get(name)!);
  const kernels = await instantiateKernels(module, heap.memory);
  const compiled = compilePlan(plan, { matrices, w11 }, kernels, heap, options);
  return new WasmProgram(plan, options, heap, compiled, weightBytes);
}

/** Whether a w11MatMul runs this weight on a slot of this kind. */
function isUsed(plan: ExecutionPlan, name: string, kind: 'a4' | 'f32'): boolean {
  return plan.operations.some(
    (operation) =>
      operation.op === 'w11MatMul' && operation.weight === name && plan.slots[operation.input]?.kind === kind,
  );
}

function disposedError(what: string): DuobitError {
  return new DuobitError('BACKEND_DISPOSED', `${what} was used after dispose()`, {
    remedy: 'Create a new one',
  });
}

class WasmProgram implements Program {
  readonly weightBytes: number;
  readonly #plan: ExecutionPlan;
  readonly #options: PrepareOptions;
  /** Null once disposed: the memory goes with the last reference to it. */
  #held: { readonly heap: Heap; readonly compiled: CompiledPlan } | null;
  /** Rows of the latest run; null before the first and after one that failed. */
  #rows: number | null = null;

  constructor(
    plan: ExecutionPlan,
    options: PrepareOptions,
    heap: Heap,
    compiled: CompiledPlan,
    weightBytes: number,
  ) {
    this.#plan = plan;
    this.#options = { ...options };
    this.#held = { heap, compiled };
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
    const { compiled } = this.#alive();
    checkRun(request, this.#options);
    this.#rows = null;
    for (const step of compiled.steps) step(request);
    this.#rows = request.rows;
  }

  async read(name: string): Promise<Float32Array> {
    const { heap, compiled } = this.#alive();
    checkSlot(this.#plan, name);
    const slot = compiled.slots.get(name)!;
    if (slot.kind === 'stat') return Float32Array.from(heap.doubles(slot.pointer, slot.width));
    if (this.#rows === null)
      throw new DuobitError('RUN_INVALID', `slot "${name}" was read before a successful run`, {
        where: name,
        remedy: 'Run the program first',
      });
    const rows = compiled.logitRows.get(name) ?? this.#rows;
    if (slot.kind === 'tokens') return Float32Array.from(heap.integers(slot.pointer, rows));
    return slot.kind === 'a4' ? decodeCodes(heap, slot, rows) : copyRows(heap, slot, rows);
  }

  async dispose(): Promise<void> {
    this.#held = null;
  }

  #alive(): { readonly heap: Heap; readonly compiled: CompiledPlan } {
    if (!this.#held) throw disposedError('the program');
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
