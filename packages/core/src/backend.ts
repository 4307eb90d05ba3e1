// The contract that every backend fulfils, and the whole of it: prepare a plan once, then write, run and read.
import type { Allocate, TensorData } from '@duobit/format';
import type { ExecutionPlan } from './plan.ts';

/** Options of `Backend.prepare`. */
export interface PrepareOptions {
  /** KV cache positions allocated for each sequence; a run may not go past it. */
  readonly capacity: number;
  /** Most rows (tokens) in one run, of all its sequences together. */
  readonly maxRows: number;
  /** KV caches, each of a text of its own. Default 1, at most `Backend.maxSequences`. */
  readonly sequences?: number | undefined;
}

/**
 * Gives each weight when `prepare` asks for it, one at a time, so that no two copies of a model are in memory. Planes may lie in
 * memory of `allocate`, which is the backend's.
 */
export type WeightReader = (name: string, allocate?: Allocate) => Promise<TensorData>;

/** Rows of one sequence in a run. */
export interface RunPart {
  /** Which of the KV caches is theirs, below `PrepareOptions.sequences`. Default 0. */
  readonly sequence?: number | undefined;
  /** Tokens, 1 to `maxRows`. */
  readonly rows: number;
  /** Position of the first row in the KV cache; cached positions from here on are overwritten. */
  readonly position: number;
  /** Which of the rows the `logits` operation computes. */
  readonly logits: 'none' | 'last' | 'all';
}

export interface RunRequest extends RunPart {
  /**
   * Parts of other sequences, no sequence twice, whose rows follow in this order. All rows go through the linear layers together; only
   * positions and KV caches are those of each.
   */
  readonly others?: readonly RunPart[] | undefined;
}

/** Some of the largest logits, the best first, and of equal ones the one that comes first. */
export interface TopLogits {
  /** Places in the row, which are token ids: `[count]`. */
  readonly indices: Uint32Array;
  /** The logit at each: `[count]`. */
  readonly values: Float32Array;
}

/** Most logits of `readTop`: with their places 4 KiB. */
export const MOST_TOP = 512;

/** Weights of softmax, exp((logit - highest) / temperature), summed over parts of a row of logits. */
export interface LogitSums {
  /** The largest logit; what is not a number counts as the largest. If it is not finite, sums mean nothing. */
  readonly highest: number;
  /** Logits of a part; the last may have fewer. */
  readonly partLength: number;
  /** Of each part, in double precision. */
  readonly sums: Float64Array;
}

/**
 * A plan compiled for one device with its weights in place. Calls must not overlap.
 * @throws DuobitError from every method but `dispose`: `RUN_INVALID` as each says; `BACKEND_DISPOSED` after `dispose` of the program;
 * `BACKEND_DEVICE_LOST` and `BACKEND_FAILED` where a device can be lost or refuse a command
 */
export interface Program {
  /** Packed weight bytes held on the device, for accounting. */
  readonly weightBytes: number;
  /**
   * Fills the first rows of a slot ('tokens': Int32Array; others: Float32Array, row-major).
   * @throws DuobitError `RUN_INVALID` for a slot that does not exist or cannot be written, another array, or no whole rows
   */
  write(slot: string, values: Float32Array | Int32Array): Promise<void>;
  /**
   * Runs the plan on some rows, whose keys and values stay in the cache. A run that fails leaves nothing to read.
   * @throws DuobitError `RUN_INVALID` for rows, positions or sequences that were not prepared, or a token outside the vocabulary;
   * `BACKEND_THREAD_LOST`
   */
  run(request: RunRequest): Promise<void>;
  /**
   * Copies a slot's rows of the latest run out: rows * width values ('stat': width; 'a4': decoded values x^).
   * @throws DuobitError `RUN_INVALID` for a slot that does not exist, or before a successful run ('stat': at any time)
   */
  read(slot: string): Promise<Float32Array>;
  /**
   * The largest value in a row (by default the first) of a slot of `logits`, and its place: the first of equal ones. A value that is
   * not a number counts as the largest. Backends have it whose memory is far from the caller's.
   * @throws DuobitError `RUN_INVALID` where the latest run computed no such row of logits; `BACKEND_UNSUPPORTED` for a row but the first on
   * a backend that has one sequence
   */
  readBest?(slot: string, row?: number): Promise<{ readonly index: number; readonly value: number }>;
  /**
   * The `count` largest values in a row (by default the first) of a slot of `logits`, at most `MOST_TOP` and as many as there are, by the rules
   * of `readBest`.
   * @throws DuobitError as `readBest`, and `RUN_INVALID` for another count
   */
  readTop?(slot: string, count: number, row?: number): Promise<TopLogits>;
  /**
   * The sums of a row (by default the first) of a slot of `logits`. Backends that have it have `readTop` and `readPart`, too.
   * @param temperature above 0, finite
   * @throws DuobitError as `readBest`, and `RUN_INVALID` for another temperature
   */
  readSums?(slot: string, temperature: number, row?: number): Promise<LogitSums>;
  /**
   * `count` logits, 1 or more, of a row (by default the first) of a slot of `logits`, from the one of token `first` on.
   * @throws DuobitError as `readBest`, and `RUN_INVALID` for a range that is not inside the row
   */
  readPart?(slot: string, first: number, count: number, row?: number): Promise<Float32Array>;
  /** Frees all that it holds. A second call does nothing. */
  dispose(): Promise<void>;
}

/** Precisions of a KV cache, docs/numerics.md "KV cache". */
export type KvPrecision = 'f32' | 'f16' | 'int8' | 'int4';

/** What keys and values can be kept in. */
export const KV_PRECISIONS: readonly KvPrecision[] = ['f32', 'f16', 'int8', 'int4'];

/** What an activation quantizer may have beyond its clips, docs/format.md "Activation quantizers". */
export type ActivationRefinement = 'knee';

/** What runs plans: the reference, kernels for processors, or a GPU. docs/architecture.md says how it is chosen. */
export interface Backend {
  /** 'reference', 'wasm', … */
  readonly name: string;
  /** Threads it really uses. */
  readonly threads: number;
  /** What it keeps keys and values in. */
  readonly kv: KvPrecision;
  /** 'avx2', …: what its kernels were chosen for, where it chooses. */
  readonly instructionSet?: string | undefined;
  /** Refinements of quantizers that it runs; most run none. */
  readonly refinements?: readonly ActivationRefinement[] | undefined;
  /** KV caches that a program of it can have; Infinity: as many as there is memory for. Absent: 1. */
  readonly maxSequences?: number | undefined;
  /**
   * Compiles a plan for this device and puts the weights that it needs there. Slow, and done once.
   * @throws DuobitError `BACKEND_OPTION` for options; `PLAN_INVALID`, `PLANE_MISSING`, `PLANE_LENGTH` for a plan or weights that contradict
   * themselves; `BACKEND_UNSUPPORTED`, `BACKEND_OUT_OF_MEMORY`, `BACKEND_DEVICE_LOST`, `BACKEND_DISPOSED`; what `weights` throws
   */
  prepare(plan: ExecutionPlan, weights: WeightReader, options: PrepareOptions): Promise<Program>;
  /** Frees all that it holds. A second call does nothing. */
  dispose(): Promise<void>;
}
