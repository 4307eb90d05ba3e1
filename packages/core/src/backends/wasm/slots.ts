// Where a plan's slots, its KV cache and its scratch lie in linear memory. Everything is allocated while the program is
// prepared; a run allocates nothing.
import type { PrepareOptions } from '../../backend.ts';
import type { ExecutionPlan } from '../../plan.ts';
import type { Heap } from './heap.ts';
import { padTo } from './weights.ts';

/**
 * 'tokens': int32. 'f32': rows of `stride` bytes, padded with zeros to 16. 'stat': f64 sums.
 * 'a4': for each row the subset-sum tables of `stride` bytes (16 for every 4 columns), (lo, step) at `params`, and at `sums`
 * the sum of the codes of every 32 columns as i16, `sumStride` bytes a row.
 */
export interface SlotMemory {
  readonly kind: 'tokens' | 'f32' | 'a4' | 'stat';
  readonly width: number;
  readonly pointer: number;
  readonly stride: number;
  readonly params: number;
  readonly sums: number;
  readonly sumStride: number;
}

export function allocateSlots(heap: Heap, plan: ExecutionPlan, maxRows: number): Map<string, SlotMemory> {
  const slots = new Map<string, SlotMemory>();
  for (const [name, { kind, width }] of Object.entries(plan.slots)) {
    const purpose = `slot "${name}"`;
    const stride = kind === 'a4' ? padTo(width, 16) * 4 : kind === 'tokens' ? 4 : padTo(width, 4) * 4;
    const bytes = kind === 'stat' ? width * 8 : maxRows * stride;
    const pointer = heap.allocate(bytes, purpose);
    const params = kind === 'a4' ? heap.allocate(maxRows * 8, purpose) : 0;
    const sumStride = kind === 'a4' ? codeSumStride(width) : 0;
    const sums = kind === 'a4' ? heap.allocate(maxRows * sumStride, purpose) : 0;
    slots.set(name, { kind, width, pointer, stride, params, sums, sumStride });
  }
  return slots;
}

/** Bytes of the sums of a row's codes. */
export function codeSumStride(width: number): number {
  return Math.ceil(width / 32) * 2;
}

/** Pointers of one layer's keys and values, each [sequence][kv head][capacity][size] f32. */
export interface CacheLayer {
  readonly keys: number;
  readonly values: number;
}

export interface Cache {
  readonly layers: readonly CacheLayer[];
  /** Head size rounded up to 4. */
  readonly size: number;
}

export function allocateCache(heap: Heap, plan: ExecutionPlan, options: PrepareOptions): Cache {
  const { capacity, sequences = 1 } = options;
  const size = padTo(plan.heads.headSize, 4);
  const bytes = sequences * plan.heads.kvHeadCount * capacity * size * 4;
  const each = sequences === 1 ? '' : `${sequences} x `;
  const purpose = `the KV cache of ${each}${capacity} positions in ${plan.cacheLayers} layers`;
  const layers = Array.from({ length: plan.cacheLayers }, () => ({
    keys: heap.allocate(bytes, purpose),
    values: heap.allocate(bytes, purpose),
  }));
  return { layers, size };
}

/** Bytes of one row rounded to 16 bits, as roundRows in assembly/integer-dense.ts lays it out. */
export function roundedRowBytes(columns: number, groupSize: number): number {
  return padTo(padTo(columns, 32) * 2 + Math.ceil(columns / groupSize) * 8, 16);
}

/** Bytes of scratch that a thread takes for a W(1+1) product: the constant of this name in assembly/w11.ts. */
export const W11_SCRATCH = 32_768;

/** Rows of a matrix of sums that are one unit of work: the constant of this name in assembly/gram.ts. */
export const GRAM_STRIP = 48;
/** Bytes of scratch that a thread takes for such sums: 256 rows of a strip and of 8 other columns. */
export const GRAM_SCRATCH = 256 * (GRAM_STRIP + 8) * 4;
