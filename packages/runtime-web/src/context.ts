// What compiling an operation needs to know: buffers, slots, weights, and which files stand for which imports on this device.
/// <reference types="@webgpu/types" />
import type { ExecutionPlan, KvPrecision, PrepareOptions } from '@duobit/core';
import type { Variant, WebGpuDevice } from './device.ts';
import type { CodeKind, SlotLayout, SlotPlace } from './slots.ts';
import type { Binding, StepBuilder } from './steps.ts';
import { type Tuning, tileFrom } from './tuning.ts';
import type { DenseWeight, VectorWeight, W11Weight } from './weights.ts';

export interface LoadedWeights {
  readonly vectors: ReadonlyMap<string, VectorWeight>;
  readonly dense: ReadonlyMap<string, DenseWeight>;
  /** Joined weights stand under the name of the first. */
  readonly w11: ReadonlyMap<string, W11Weight>;
  /** Names of weights that are held as one, joined by spaces. */
  readonly joined: ReadonlySet<string>;
}

export interface Arenas {
  readonly floats: GPUBuffer;
  readonly codes: GPUBuffer;
  readonly stats: GPUBuffer;
  readonly angles: GPUBuffer;
  readonly tables: GPUBuffer;
  /** What workgroups of attention hand to the one that puts it together. */
  readonly parts: GPUBuffer;
  /** Of each layer. */
  readonly caches: readonly GPUBuffer[];
}

export interface Context {
  readonly plan: ExecutionPlan;
  readonly options: PrepareOptions;
  readonly kv: KvPrecision;
  readonly tuning: Tuning;
  readonly variant: Variant;
  readonly subgroupSize: number;
  /** What codes are of runs of few rows, and of those that use tiles. */
  readonly products: { readonly rows: CodeKind; readonly tiles: CodeKind };
  readonly imports: Readonly<Record<string, string>>;
  readonly constants: Readonly<Record<string, number>>;
  readonly layout: SlotLayout;
  readonly arenas: Arenas;
  readonly weights: LoadedWeights;
  readonly builder: StepBuilder;
  /** Most threads of a workgroup, a power of two. */
  readonly mostThreads: number;
  /** Most bytes that threads of a workgroup share. */
  readonly mostWorkgroupBytes: number;
  /** Where the table of a `takeColumns` begins, by its place among operations of the plan. */
  readonly tableOffsets: ReadonlyMap<readonly number[], number>;
}

export function chooseImports({ subgroups, f16 }: Variant): Record<string, string> {
  return {
    halves: f16 ? 'halves-f16' : 'halves',
    reduce: subgroups ? 'reduce-subgroups' : 'reduce',
    lanes: subgroups ? 'lanes-subgroups' : 'lanes',
  };
}

/** Files for a kind of codes. */
export function codeImports(kind: CodeKind): Record<string, string> {
  return { codes: `codes-${kind}`, 'codes-read': `codes-read-${kind}`, 'w11-product': `w11-product-${kind}` };
}

/** The kind of codes that a run of so many rows has. */
export function codeKindOf({ products, tuning }: Context, rows: number): CodeKind {
  return rows >= tileFrom(tuning) ? products.tiles : products.rows;
}

/** Makes a kernel for each kind of codes that runs may have; gives the one for a run's rows. */
export function forKinds<T>(context: Context, make: (kind: CodeKind) => () => T): (rows: number) => T {
  const { products, tuning, options } = context;
  const rows = make(products.rows);
  const isBoth = products.tiles !== products.rows && options.maxRows >= tileFrom(tuning);
  const tiles = isBoth ? make(products.tiles) : rows;
  return (count) => (count >= tileFrom(tuning) ? tiles : rows)();
}

export function chooseConstants({ variant, subgroupSize }: WebGpuDevice): Record<string, number> {
  return variant.subgroups ? { SUBGROUP: subgroupSize } : {};
}

/** The columns of every `takeColumns`: a bit for each column of the row, then the columns; and where each begins. */
export function tabulateColumns(plan: ExecutionPlan): {
  words: Uint32Array<ArrayBuffer>;
  offsets: Map<readonly number[], number>;
} {
  const words: number[] = [];
  const offsets = new Map<readonly number[], number>();
  for (const operation of plan.operations) {
    if (operation.op !== 'takeColumns' || offsets.has(operation.columns)) continue;
    offsets.set(operation.columns, words.length);
    const mask = new Uint32Array(Math.ceil(plan.slots[operation.input]!.width / 32));
    for (const column of operation.columns) mask[column >> 5]! |= 1 << (column & 31);
    words.push(...mask, ...operation.columns);
  }
  return { words: Uint32Array.from(words), offsets };
}

/** The part of the arena that holds a slot's rows. */
export function bindSlot({ arenas, options }: Context, { offset, stride }: SlotPlace): Binding {
  return { buffer: arenas.floats, offset: offset * 4, size: options.maxRows * stride * 4 };
}

/** Words of a cached row, one position of one head, as kernels/cache-store-*.wgsl write it. */
function cacheRowWords(headSize: number, kv: KvPrecision): number {
  const quads = Math.ceil(headSize / 4);
  const groups = Math.ceil(headSize / 32);
  return {
    f32: 4 * quads,
    f16: 2 * quads,
    int8: groups + quads,
    int4: groups + Math.ceil(quads / 2),
  }[kv];
}

/** Bytes of one layer's keys and values. */
export function cacheBytes({ heads }: ExecutionPlan, { capacity }: PrepareOptions, kv: KvPrecision): number {
  return 2 * heads.kvHeadCount * capacity * cacheRowWords(heads.headSize, kv) * 4;
}

/** Workgroups that attention of one row and head is spread over at most. */
const MOST_SHARES = 32;

/** Positions that a workgroup of attention looks at; one workgroup sees all in runs of many rows, which are work enough. */
export function attentionShare({ share = 256 }: Tuning, rows: number, position: number): number {
  return rows > 1 ? 0x4000_0000 : share * Math.ceil((position + 1) / share / MOST_SHARES);
}

/** Bytes that the largest attention of a plan needs for its parts. */
export function partBytes(plan: ExecutionPlan): number {
  let most = 0;
  for (const operation of plan.operations)
    if (operation.op === 'attention') {
      const { headCount, headSize } = operation.heads;
      most = Math.max(most, headCount * MOST_SHARES * (Math.ceil(headSize / 4) + 1) * 16);
    }
  return most;
}
