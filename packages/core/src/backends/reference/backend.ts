// The reference backend: a plain interpreter of plans in double precision. It defines what results are right; other
// backends are measured against it. Slow by intent.
import { rotateInput } from '@duobit/format';
import type { Backend, PrepareOptions, Program, RunRequest, WeightReader } from '../../backend.ts';
import { listPlanWeights } from '../../build-plan.ts';
import type { ExecutionPlan, Operation } from '../../plan.ts';
import {
  checkPlan,
  checkPrepareOptions,
  checkRun,
  checkSlot,
  checkTokens,
  checkWrite,
  disposed,
  notRun,
} from '../checks.ts';
import { listPlaces, listWanted } from '../run-rows.ts';
import {
  addOuterProduct,
  attendRow,
  type CodedRow,
  decodeRow,
  gateRow,
  type LayerCache,
  multiplyDense,
  multiplyW11,
  multiplyW11Coded,
  normalizeRow,
  quantizeRow,
  rotateRow,
} from './kernels.ts';
import { type DenseWeight, unpackWeight, type W11Weight, type Weight } from './weights.ts';

/** The scalar backend in double precision: one thread, no device. */
export function createReferenceBackend(): Backend {
  return {
    name: 'reference',
    threads: 1,
    kv: 'f32',
    maxSequences: Number.POSITIVE_INFINITY,
    async prepare(plan, weights, options) {
      checkPrepareOptions(options, Number.POSITIVE_INFINITY);
      const loaded = new Map<string, Weight>();
      const facts = new Map<string, Awaited<ReturnType<WeightReader>>['info']>();
      let weightBytes = 0;
      for (const name of listPlanWeights(plan)) {
        const data = await weights(name);
        facts.set(name, data.info);
        if (data.info.encoding.kind !== 'unknown') loaded.set(name, unpackWeight(data));
        for (const plane of Object.values(data.planes)) weightBytes += plane.byteLength;
      }
      checkPlan(plan, (name) => facts.get(name)!);
      return new ReferenceProgram(plan, loaded, weightBytes, options);
    },
    async dispose() {},
  };
}

/** A run row by row. */
interface Run {
  readonly rows: number;
  /** Of every row. */
  readonly places: readonly { readonly sequence: number; readonly position: number }[];
  /** Rows that logits are wanted of. */
  readonly wanted: readonly number[];
}

class ReferenceProgram implements Program {
  readonly weightBytes: number;
  readonly #plan: ExecutionPlan;
  readonly #weights: Map<string, Weight>;
  readonly #options: PrepareOptions;
  readonly #floats = new Map<string, Float32Array>();
  readonly #tokens = new Map<string, Int32Array>();
  readonly #coded = new Map<string, CodedRow[]>();
  readonly #sums = new Map<string, Float64Array>();
  /** By sequence, then by layer. */
  readonly #caches: LayerCache[][];
  /** Rows of each slot in the latest run; slots of `logits` may have fewer than the run. */
  #rows: number | null = null;
  readonly #logitRows = new Map<string, number>();
  #disposed = false;

  constructor(
    plan: ExecutionPlan,
    weights: Map<string, Weight>,
    weightBytes: number,
    options: PrepareOptions,
  ) {
    this.#plan = plan;
    this.#weights = weights;
    this.#options = options;
    this.weightBytes = weightBytes;
    for (const [name, { kind, width }] of Object.entries(plan.slots)) {
      const size = options.maxRows * width;
      if (kind === 'f32') this.#floats.set(name, new Float32Array(size));
      else if (kind === 'tokens') this.#tokens.set(name, new Int32Array(size));
      else if (kind === 'stat') this.#sums.set(name, new Float64Array(width));
      else
        this.#coded.set(
          name,
          Array.from({ length: options.maxRows }, () => ({ codes: new Uint8Array(width), lo: 0, step: 0 })),
        );
    }
    const size = options.capacity * plan.heads.kvHeadCount * plan.heads.headSize;
    this.#caches = Array.from({ length: options.sequences ?? 1 }, () =>
      Array.from({ length: plan.cacheLayers }, () => ({
        keys: new Float32Array(size),
        values: new Float32Array(size),
      })),
    );
  }

  async write(slot: string, values: Float32Array | Int32Array): Promise<void> {
    this.#checkAlive();
    checkWrite(this.#plan, slot, values, this.#options);
    (this.#tokens.get(slot) ?? this.#floats.get(slot))!.set(values);
  }

  async run(request: RunRequest): Promise<void> {
    this.#checkAlive();
    const checked = checkRun(request, this.#options);
    const { rows } = checked;
    const wanted = listWanted(checked).flatMap(({ first, count }) =>
      Array.from({ length: count }, (_, i) => first + i),
    );
    const run: Run = { rows, places: listPlaces(checked), wanted };
    // The rows count only once the run has succeeded: a failed run leaves no results to read.
    this.#rows = null;
    for (const operation of this.#plan.operations) this.#execute(operation, run);
    this.#rows = rows;
  }

  async read(slot: string): Promise<Float32Array> {
    this.#checkAlive();
    const { kind, width } = checkSlot(this.#plan, slot);
    if (kind === 'stat') return Float32Array.from(this.#sums.get(slot)!);
    if (this.#rows === null) throw notRun(slot);
    const rows = this.#logitRows.get(slot) ?? this.#rows;
    if (kind === 'f32') return this.#floats.get(slot)!.slice(0, rows * width);
    if (kind === 'tokens') return Float32Array.from(this.#tokens.get(slot)!.subarray(0, rows));
    const out = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      decodeRow(this.#coded.get(slot)![row]!, out.subarray(row * width, (row + 1) * width));
    return out;
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const held of [this.#weights, this.#floats, this.#tokens, this.#coded, this.#sums]) held.clear();
    this.#caches.length = 0;
  }

  #execute(operation: Operation, { rows, places, wanted }: Run): void {
    switch (operation.op) {
      case 'embed': {
        const tokens = this.#tokens.get(operation.input)!.subarray(0, rows);
        const { values, rows: vocabulary, columns } = this.#dense(operation.weight);
        checkTokens(tokens, vocabulary);
        for (let t = 0; t < rows; t++)
          this.#row(operation.out, t).set(values.subarray(tokens[t]! * columns, (tokens[t]! + 1) * columns));
        break;
      }
      case 'rmsNorm': {
        const { values } = this.#dense(operation.weight);
        for (let t = 0; t < rows; t++)
          normalizeRow(this.#row(operation.input, t), values, operation.epsilon, this.#row(operation.out, t));
        break;
      }
      case 'rotateInput':
        for (let t = 0; t < rows; t++) {
          const out = this.#row(operation.out, t);
          out.set(this.#row(operation.input, t));
          // Rounded to f32 at every step, as the format has it, so that codes are the same everywhere.
          rotateInput(out);
        }
        break;
      case 'takeColumns': {
        const { input, columns, kept, taken } = operation;
        for (let t = 0; t < rows; t++) {
          const [from, rest, out] = [this.#row(input, t), this.#row(kept, t), this.#row(taken, t)];
          rest.set(from);
          for (const [c, column] of columns.entries()) {
            out[c] = from[column]!;
            rest[column] = 0;
          }
        }
        break;
      }
      case 'quantizeActivations': {
        const coded = this.#coded.get(operation.out)!;
        for (let t = 0; t < rows; t++)
          coded[t] = quantizeRow(this.#row(operation.input, t), operation.quantizer, coded[t]!.codes);
        break;
      }
      case 'decodeActivations': {
        const coded = this.#coded.get(operation.input)!;
        for (let t = 0; t < rows; t++) decodeRow(coded[t]!, this.#row(operation.out, t));
        break;
      }
      case 'w11MatMul': {
        const weight = this.#weights.get(operation.weight) as W11Weight;
        const coded = this.#coded.get(operation.input);
        for (let t = 0; t < rows; t++) {
          const out = this.#row(operation.out, t);
          if (coded) multiplyW11Coded(coded[t]!, weight, out);
          else multiplyW11(this.#row(operation.input, t), weight, out);
        }
        break;
      }
      case 'denseMatMul': {
        const weight = this.#dense(operation.weight);
        for (let t = 0; t < rows; t++)
          multiplyDense(this.#row(operation.input, t), weight, this.#row(operation.out, t));
        break;
      }
      case 'logits': {
        const weight = this.#dense(operation.weight);
        for (const [i, row] of wanted.entries())
          multiplyDense(this.#row(operation.input, row), weight, this.#row(operation.out, i));
        this.#logitRows.set(operation.out, wanted.length);
        break;
      }
      case 'rope':
        for (let t = 0; t < rows; t++)
          rotateRow(
            this.#row(operation.target, t),
            operation.headCount,
            places[t]!.position,
            this.#plan.ropeFrequencies,
          );
        break;
      case 'attention': {
        const { heads, window } = operation;
        const width = heads.kvHeadCount * heads.headSize;
        for (const [t, { sequence, position: at }] of places.entries()) {
          const cache = this.#caches[sequence]![operation.layer]!;
          cache.keys.set(this.#row(operation.key, t), at * width);
          cache.values.set(this.#row(operation.value, t), at * width);
          const from = window === null ? 0 : Math.max(0, at - window + 1);
          attendRow(this.#row(operation.query, t), cache, heads, from, at, this.#row(operation.out, t));
        }
        break;
      }
      case 'siluMul':
        for (let t = 0; t < rows; t++)
          gateRow(this.#row(operation.gate, t), this.#row(operation.up, t), this.#row(operation.out, t));
        break;
      case 'add':
        for (let t = 0; t < rows; t++) {
          const out = this.#row(operation.out, t);
          const input = this.#row(operation.input, t);
          for (let i = 0; i < out.length; i++) out[i]! += input[i]!;
        }
        break;
      case 'accumulateGram': {
        const sums = this.#sums.get(operation.out)!;
        const { input, other } = operation;
        for (let t = 0; t < rows; t++)
          addOuterProduct(this.#row(input, t), this.#row(other ?? input, t), sums);
        break;
      }
    }
  }

  /** A view of row t of an f32 slot. */
  #row(slot: string, t: number): Float32Array {
    const { width } = this.#plan.slots[slot]!;
    return this.#floats.get(slot)!.subarray(t * width, (t + 1) * width);
  }

  #dense(name: string): DenseWeight {
    return this.#weights.get(name) as DenseWeight;
  }

  #checkAlive(): void {
    if (this.#disposed) throw disposed('program');
  }
}
