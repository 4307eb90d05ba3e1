// What steps are compiled from, and what a step is.
import type { ExecutionPlan, PrepareOptions, RowRange } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Arena, roundUp } from './arena.ts';
import type { Device } from './device.ts';
import type { DeviceCache, DeviceSlot, F32Slot } from './slots.ts';
import { type DeviceWeight, ROW_ALIGN } from './weights.ts';

/** Where parts of positions leave their results. */
export interface AttentionScratch {
  readonly mix: number;
  readonly stats: number;
  readonly done: number;
}

export interface StepRun {
  readonly rows: number;
  /** The rows that logits are wanted of. */
  readonly wanted: readonly RowRange[];
  /** No less than the positions that any row sees; a power of two, so that few recordings serve all. */
  readonly positions: number;
  /** Whose rows they are; null where they are of several. */
  readonly sequence: number | null;
  /** Whether nothing is looked at after the run but logits and the cache. */
  readonly isLean: boolean;
}

/** `StepRun.positions` of a run of these parts. */
export function positionsFor(parts: readonly { readonly position: number; readonly rows: number }[]): number {
  const longest = Math.max(...parts.map(({ position, rows }) => position + rows));
  return 2 ** Math.ceil(Math.log2(longest));
}

export type Step = (run: StepRun) => void;

export interface Setting {
  readonly device: Device;
  readonly plan: ExecutionPlan;
  readonly options: PrepareOptions;
  readonly slots: ReadonlyMap<string, DeviceSlot>;
  readonly weights: ReadonlyMap<string, DeviceWeight>;
  readonly cache: DeviceCache;
  readonly arena: Arena;
  /** `RunState` of kernels/common.cuh. */
  readonly state: number;
  /** `RowPlace` of each row of a run of several sequences. */
  readonly places: number;
  /** cos and sin by position, or 0 in plans without rotary embedding. */
  readonly table: number;
  readonly attention: AttentionScratch;
  /** Address of room for all rows of the widest slot, where they are too wide for shared memory; one launch at a time uses it. */
  readonly wideRows: () => number;
}

/** Allocates room for `Setting.wideRows` when it is first asked for: few models have such rows. */
export function makeWideRows({
  plan,
  options,
  arena,
}: Pick<Setting, 'plan' | 'options' | 'arena'>): () => number {
  let address: number | null = null;
  return () => {
    if (address !== null) return address;
    const widths = Object.values(plan.slots).map(({ kind, width }) => (kind === 'f32' ? width : 0));
    const bytes = 4 * roundUp(Math.max(...widths), ROW_ALIGN) * options.maxRows;
    return (address = arena.allocate(bytes, 'rows wider than shared memory'));
  };
}

export function f32Of({ slots }: Setting, name: string): F32Slot {
  const slot = slots.get(name);
  if (slot?.kind !== 'f32') throw new DuobitError('INTERNAL', `slot "${name}" is not of kind 'f32'`);
  return slot;
}
