// A plan prepared on tensors: the operations of inference over slots, a cache of keys and values, and weights held packed.
import {
  checkRun,
  checkSlot,
  checkTokens,
  checkWrite,
  disposed,
  type ExecutionPlan,
  listSymmetricSums,
  mirrorUpper,
  notRun,
  type PrepareOptions,
  type Program,
  type RunRequest,
} from '@duobit/core';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.ts';
import { type OperationTable, runOperations } from '../run-operations.ts';
import { decodeRows, quantizeRows } from './activations.ts';
import { attendRows, type CachedRows, makeAngles, turnRows, writeCache } from './attention.ts';
import { multiplyDense, multiplyW11, multiplyW11Coded } from './products.ts';
import { type RotationSigns, rotateRows, rotationSigns } from './rotation.ts';
import { Slots } from './slots.ts';
import type { DenseWeight, HeldWeight, VectorWeight, W11Weight } from './weights.ts';

/** Puts a program's engine in force: TensorFlow.js has one backend at a time for the whole process. */
export async function putInForce({ tf, device }: Engine): Promise<void> {
  const name = device === 'native' ? 'cpu' : device;
  if (tf.getBackend() !== name) await tf.setBackend(name);
}

interface LayerCache {
  keys: CachedRows;
  values: CachedRows;
}

export class TfjsProgram implements Program {
  readonly weightBytes: number;
  readonly #engine: Engine;
  readonly #tf: typeof TensorFlow;
  readonly #plan: ExecutionPlan;
  readonly #options: PrepareOptions;
  readonly #weights: ReadonlyMap<string, HeldWeight>;
  readonly #slots: Slots;
  readonly #tokens = new Map<string, Int32Array>();
  /** Of 'stat' slots, in double precision, kept from run to run. */
  readonly #sums = new Map<string, Float64Array>();
  readonly #symmetric: ReadonlyMap<string, number>;
  readonly #caches: LayerCache[];
  /** By width. */
  readonly #signs = new Map<number, RotationSigns>();
  /** Of the latest run; null before the first and after one that failed. */
  #rows: number | null = null;
  /** Slots of `logits` may have fewer rows than the run. */
  readonly #logitRows = new Map<string, number>();
  #disposed = false;

  constructor(
    engine: Engine,
    plan: ExecutionPlan,
    weights: ReadonlyMap<string, HeldWeight>,
    options: PrepareOptions,
  ) {
    this.#engine = engine;
    this.#tf = engine.tf;
    this.#plan = plan;
    this.#options = { ...options };
    this.#weights = weights;
    this.#slots = new Slots(engine.tf, plan);
    this.#symmetric = listSymmetricSums(plan);
    this.#caches = Array.from({ length: plan.cacheLayers }, () => ({ keys: null, values: null }));
    for (const [name, { kind, width }] of Object.entries(plan.slots)) {
      if (kind === 'tokens') this.#tokens.set(name, new Int32Array(options.maxRows));
      if (kind === 'stat') this.#sums.set(name, new Float64Array(width));
    }
    for (const operation of plan.operations) {
      if (operation.op !== 'rotateInput') continue;
      const { width } = plan.slots[operation.input]!;
      if (!this.#signs.has(width)) this.#signs.set(width, rotationSigns(engine.tf, width));
    }
    this.weightBytes = [...weights.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async write(slot: string, values: Float32Array | Int32Array): Promise<void> {
    this.#checkAlive();
    checkWrite(this.#plan, slot, values, this.#options);
    await putInForce(this.#engine);
    if (values instanceof Float32Array) this.#slots.write(slot, values);
    else this.#tokens.get(slot)!.set(values);
  }

  async run(request: RunRequest): Promise<void> {
    this.#checkAlive();
    checkRun(request, this.#options);
    // The rows count only once the run has succeeded: a failed run leaves no results to read.
    this.#rows = null;
    await putInForce(this.#engine);
    const grams: { readonly out: string; readonly sums: Tensor }[] = [];
    try {
      runOperations(this.#plan, this.#table(request, grams));
      for (const { out, sums } of grams) {
        const held = this.#sums.get(out)!;
        for (const [i, value] of (await sums.data()).entries()) held[i]! += value;
      }
    } finally {
      this.#tf.dispose(grams.map(({ sums }) => sums));
    }
    this.#rows = request.rows;
  }

  async read(slot: string): Promise<Float32Array> {
    this.#checkAlive();
    const { kind } = checkSlot(this.#plan, slot);
    if (kind === 'stat') {
      const sums = Float32Array.from(this.#sums.get(slot)!);
      mirrorUpper(sums, this.#symmetric.get(slot) ?? 0);
      return sums;
    }
    if (this.#rows === null) throw notRun(slot);
    if (kind === 'tokens') return Float32Array.from(this.#tokens.get(slot)!.subarray(0, this.#rows));
    const rows = this.#logitRows.get(slot) ?? this.#rows;
    if (rows === 0) return new Float32Array(0);
    await putInForce(this.#engine);
    const tf = this.#tf;
    const wanted = tf.tidy(() => {
      const coded = this.#slots.coded(slot);
      const values = coded ? decodeRows(tf, coded) : this.#slots.rows(slot, rows);
      return tf.clone(values);
    });
    try {
      const values = (await wanted.data()) as Float32Array;
      // A GPU goes on after an error, with wrong results; reading is where that is to be told.
      if (this.#engine.device === 'webgpu') await this.#engine.sync();
      // Backends in this process give the very array that the tensor is.
      return values.slice();
    } finally {
      wanted.dispose();
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#slots.dispose();
    for (const weight of this.#weights.values()) weight.dispose();
    for (const { keys, values } of this.#caches)
      this.#tf.dispose([keys, values].filter((each) => each !== null));
    for (const signs of this.#signs.values()) this.#tf.dispose([...signs]);
    this.#caches.length = 0;
    this.#signs.clear();
    this.#sums.clear();
  }

  /** What the operations do in one run. */
  #table(
    { rows, position, logits }: RunRequest,
    grams: { readonly out: string; readonly sums: Tensor }[],
  ): OperationTable {
    const tf = this.#tf;
    const { operations } = this.#engine;
    const slots = this.#slots;
    const at = (slot: string): Tensor2D => slots.rows(slot, rows);
    const weight = <T>(name: string): T => this.#weights.get(name)!.weight as T;
    return {
      embed: ({ input, weight: name, out }) => {
        const table = weight<DenseWeight>(name);
        const tokens = this.#tokens.get(input)!.subarray(0, rows);
        checkTokens(tokens, table.rows);
        slots.set(out, () => table.gather(tf.tensor1d(tokens.slice(), 'int32')));
      },
      rmsNorm: ({ input, weight: name, epsilon, out }) =>
        slots.set(out, () => operations.rmsNorm(at(input), weight<VectorWeight>(name).values, epsilon)),
      rotateInput: ({ input, out }) =>
        slots.set(out, () => {
          const x = at(input);
          return rotateRows(tf, x, this.#signs.get(x.shape[1])!);
        }),
      takeColumns: ({ input, columns, kept, taken }) => {
        const width = this.#plan.slots[input]!.width;
        slots.set(taken, () => tf.gather(at(input), tf.tensor1d([...columns], 'int32'), 1));
        slots.set(kept, () => {
          const gone = new Uint8Array(width);
          for (const column of columns) gone[column] = 1;
          return tf.where(tf.tensor2d(gone, [1, width], 'bool'), 0, at(input));
        });
      },
      quantizeActivations: ({ input, quantizer, out }) =>
        slots.setCoded(out, () => quantizeRows(tf, at(input), quantizer)),
      decodeActivations: ({ input, out }) => slots.set(out, () => decodeRows(tf, slots.coded(input)!)),
      w11MatMul: ({ input, weight: name, out }) =>
        slots.set(out, () => {
          const coded = slots.coded(input);
          const matrix = weight<W11Weight>(name);
          return coded ? multiplyW11Coded(tf, coded, matrix) : multiplyW11(tf, at(input), matrix);
        }),
      denseMatMul: ({ input, weight: name, out }) =>
        slots.set(out, () => multiplyDense(tf, at(input), weight<DenseWeight>(name))),
      logits: ({ input, weight: name, out }) => {
        const count = logits === 'all' ? rows : logits === 'last' ? 1 : 0;
        this.#logitRows.set(out, count);
        if (count === 0) return;
        slots.set(out, () => {
          // Of all rows also where one is wanted: TensorFlow rounds a product of one row differently, and the last row's logits are
          // to be the same bits either way.
          const all = multiplyDense(tf, at(input), weight<DenseWeight>(name));
          return count === rows ? all : tf.slice(all, [rows - count, 0], [count, all.shape[1]]);
        });
      },
      rope: ({ target, headCount }) =>
        slots.set(target, () =>
          turnRows(tf, at(target), headCount, makeAngles(tf, this.#plan.ropeFrequencies, position, rows)),
        ),
      attention: ({ query, key, value, out, layer, heads, window }) => {
        const cache = this.#caches[layer]!;
        const [keys, values] = tf.tidy(() => [
          writeCache(tf, cache.keys, at(key), position, heads),
          writeCache(tf, cache.values, at(value), position, heads),
        ]) as [NonNullable<CachedRows>, NonNullable<CachedRows>];
        cache.keys?.dispose();
        cache.values?.dispose();
        cache.keys = keys;
        cache.values = values;
        slots.set(out, () => attendRows(tf, at(query), keys, values, heads, position, window));
      },
      siluMul: ({ gate, up, out }) => slots.set(out, () => operations.siluMul(at(gate), at(up))),
      add: ({ input, out }) => slots.set(out, () => operations.add(at(out), at(input))),
      accumulateGram: ({ input, other, out }) => {
        const sums = tf.tidy(() => tf.matMul(at(input), at(other ?? input), true));
        grams.push({ out, sums });
      },
    };
  }

  #checkAlive(): void {
    if (this.#disposed) throw disposed('program');
  }
}
