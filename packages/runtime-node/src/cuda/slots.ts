// Slots and KV cache of a program in device memory.
import { type ExecutionPlan, KV_PRECISIONS, type KvPrecision, type PrepareOptions } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Arena, roundUp } from './arena.ts';
import { type Layout, layoutOf, ROW_ALIGN, UNIT, type W11Weight } from './weights.ts';

/** Codes in the order that weights of one layout want. */
export interface CodeBuffers {
  readonly layout: Layout;
  readonly codes: number;
  /** The first row's as bit planes. */
  readonly planes: number;
  readonly sums: number;
  readonly params: number;
}

/** Bit planes of a unit of 128 codes. */
export const PLANE_BYTES = 64;

export type DeviceSlot =
  | { readonly kind: 'tokens' | 'stat'; readonly width: number; readonly address: number }
  | { readonly kind: 'f32'; readonly width: number; readonly stride: number; readonly address: number }
  | { readonly kind: 'a4'; readonly width: number; readonly buffers: readonly CodeBuffers[] };

export type F32Slot = Extract<DeviceSlot, { kind: 'f32' }>;
export type A4Slot = Extract<DeviceSlot, { kind: 'a4' }>;

/** Where a slot begins that is one piece. */
export function addressOf(slots: ReadonlyMap<string, DeviceSlot>, name: string): number {
  const slot = slots.get(name);
  if (!slot || slot.kind === 'a4') throw new DuobitError('INTERNAL', `slot "${name}" has no address`);
  return slot.address;
}

/** A slot for every layout in which its codes are multiplied. */
export function allocateSlots(
  plan: ExecutionPlan,
  w11: ReadonlyMap<string, W11Weight>,
  { maxRows }: PrepareOptions,
  arena: Arena,
): Map<string, DeviceSlot> {
  const layouts = new Map<string, Set<Layout>>();
  for (const operation of plan.operations)
    if (operation.op === 'w11MatMul' && plan.slots[operation.input]!.kind === 'a4') {
      const wanted = layouts.get(operation.input) ?? new Set();
      layouts.set(operation.input, wanted.add(layoutOf(w11.get(operation.weight)!.groupSize)));
    }
  const slots = new Map<string, DeviceSlot>();
  for (const [name, { kind, width }] of Object.entries(plan.slots)) {
    const what = `slot ${name} for ${maxRows} rows`;
    const zeroed = (bytes: number) => arena.allocateZeroed(bytes, what);
    if (kind === 'tokens') slots.set(name, { kind, width, address: zeroed(4 * maxRows) });
    else if (kind === 'stat') slots.set(name, { kind, width, address: zeroed(8 * width) });
    else if (kind === 'f32') {
      const stride = roundUp(width, ROW_ALIGN);
      slots.set(name, { kind, width, stride, address: zeroed(4 * stride * maxRows) });
    } else {
      const units = maxRows * Math.ceil(width / UNIT);
      const buffers = [...(layouts.get(name) ?? new Set<Layout>([0]))].map((layout) => ({
        layout,
        codes: zeroed(units * UNIT),
        planes: zeroed(Math.ceil(width / UNIT) * PLANE_BYTES),
        sums: zeroed(units * 16),
        params: zeroed(maxRows * 8),
      }));
      slots.set(name, { kind, width, buffers });
    }
  }
  return slots;
}

export interface LayerCache {
  readonly keys: number;
  readonly values: number;
  readonly keyParams: number;
  readonly valueParams: number;
}

export interface DeviceCache {
  /** Of kernels/attention.cu. */
  readonly kind: number;
  readonly precision: KvPrecision;
  readonly rowBytes: number;
  readonly groups: number;
  /** Rows of a sequence in each of a layer's four places. */
  readonly sequenceRows: number;
  readonly layers: readonly LayerCache[];
}

/** Dimensions that share an offset and a step. */
const GROUP = 32;

export function allocateCache(
  { cacheLayers, heads }: ExecutionPlan,
  { capacity, sequences = 1 }: PrepareOptions,
  precision: KvPrecision,
  arena: Arena,
): DeviceCache {
  const { kvHeadCount, headSize } = heads;
  const bytes = { f32: 4, f16: 2, int8: 1, int4: 0.5 }[precision];
  const rowBytes = roundUp(headSize * bytes, 16);
  const groups = precision === 'int8' || precision === 'int4' ? Math.ceil(headSize / GROUP) : 0;
  const sequenceRows = kvHeadCount * capacity;
  const rows = sequences * sequenceRows;
  const what = `a KV cache of ${sequences === 1 ? '' : `${sequences} x `}${capacity} positions`;
  const take = (length: number) => (length === 0 ? 0 : arena.allocateZeroed(length, what));
  const layers = Array.from({ length: cacheLayers }, () => ({
    keys: take(rows * rowBytes),
    values: take(rows * rowBytes),
    keyParams: take(rows * groups * 4),
    valueParams: take(rows * groups * 4),
  }));
  return { kind: KV_PRECISIONS.indexOf(precision), precision, rowBytes, groups, sequenceRows, layers };
}
