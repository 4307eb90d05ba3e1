// Launches of products: W(1+1) on codes or floats (kernels/w11-*.cu), other encodings (kernels/dense.cu).
import type { Operation } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { roundUp } from './arena.ts';
import type { Argument, Device, Grid } from './device.ts';
import { type ChainLinks, codesOf, rowArguments } from './row-chain.ts';
import { readFuseLimit } from './row-settings.ts';
import { f32Of, type Setting, type Step } from './setting.ts';
import { PLANE_BYTES } from './slots.ts';
import { type DenseWeight, type DeviceWeight, layoutOf, ROW_ALIGN, UNIT, type W11Weight } from './weights.ts';

export interface W11Target {
  readonly weight: W11Weight;
  readonly out: string;
  readonly sum: string | null;
}

/** A W(1+1) weight and where its results go, as addresses. */
export interface W11Operand {
  readonly weight: W11Weight;
  readonly out: number;
  readonly strideOut: number;
  readonly sum: number;
  readonly strideSum: number;
}

export interface W11Input {
  /** Codes, their bit planes, or f32 rows. */
  readonly values: number;
  readonly sums: number;
  readonly params: number;
  readonly stride: number;
}

/** Of codes: `mma`, int8 tensor cores; `one`, one row on tensor cores of single bits. `float`: of unquantized activations. */
export type W11Form = 'mma' | 'one' | 'float';

const MOST_WEIGHTS = 4;

/** Of kernels/w11-one.cu. */
const ONE_THREADS = 512;
const STEPS_AHEAD = 3;

/** Shared memory of kernels/w11-one.cu: steps of weights under way, one row's bit planes, padded to whole steps. */
function oneBytes({ groupSize, offsets }: Pick<W11Weight, 'groupSize' | 'offsets'>, columns: number): number {
  const [units, pairs] = [groupSize >= 128 ? 2 : 1, groupSize === 32 ? 2 : 1];
  const stepBytes = units * 16 + pairs * 2 * (offsets ? 8 : 4);
  return STEPS_AHEAD * ONE_THREADS * stepBytes + roundUp(Math.ceil(columns / UNIT), 2) * PLANE_BYTES;
}
/** Most that a launch fetches of what the next one multiplies: part of the L2 of the GPUs that do so. */
const MOST_AHEAD = 16 << 20;

/** Tiles that a block of kernels/w11-many.cu takes, a warp each. */
const MANY_TILES = 8;

/** Blocks of it that there must be at least for each multiprocessor: with fewer, tiles are split among warps instead. */
const MANY_LEAST = 0.75;

export interface W11Launch {
  readonly name: string;
  readonly grid: Grid;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** The kernel for so many rows, its grid, threads and shared memory. */
export function chooseW11(
  device: Device,
  form: W11Form,
  weight: Pick<W11Weight, 'groupSize' | 'offsets' | 'columns'>,
  tiles: number,
  rows: number,
): W11Launch {
  const { groupSize, offsets, columns } = weight;
  const suffix = `_g${groupSize}${offsets ? 'o' : ''}`;
  const split = (kernel: string, each: number) => ({
    name: `w11_${kernel}${each}${suffix}`,
    grid: [tiles, Math.ceil(rows / each), 1] as const,
    threads: 256,
    sharedBytes: 0,
  });
  if (form === 'float') return split('float', 4);
  if (form === 'one') {
    const sharedBytes = oneBytes(weight, columns);
    return { name: `w11_one${suffix}`, grid: oneGrid(device, tiles), threads: ONE_THREADS, sharedBytes };
  }
  if (rows <= 8) return split('mma', 8);
  if (rows <= 16) return split('mma', 16);
  // Blocks that each take eight tiles and many rows must be enough for the device.
  for (const each of rows > 32 && groupSize <= UNIT ? [64, 32] : [32]) {
    const grid = [Math.ceil(rows / each), Math.ceil(tiles / MANY_TILES), 1] as const;
    if (grid[0] * grid[1] >= MANY_LEAST * device.facts.multiprocessors)
      return { name: `w11_many${each}${suffix}`, grid, threads: 32 * MANY_TILES, sharedBytes: 0 };
  }
  return split('mma', 16);
}

/** A block a multiprocessor, which goes from item to item; there is room for another, which is the next launch's. */
function oneGrid({ facts }: Device, items: number): Grid {
  return [Math.min(items, facts.multiprocessors), 1, 1];
}

/** `W11Args` of kernels/w11.cuh. */
export function w11Arguments(
  operands: readonly W11Operand[],
  input: W11Input,
  rows: number,
  width: number,
  { gated = 0, next = NOTHING }: { readonly gated?: number; readonly next?: Region } = {},
): { pointers: number[]; numbers: Argument[] } {
  const pad = (values: number[], rest = 0) => [
    ...values,
    ...new Array<number>(MOST_WEIGHTS - values.length).fill(rest),
  ];
  const ends: number[] = [];
  let tiles = 0;
  for (const { weight } of operands) ends.push((tiles += weight.tiles));
  return {
    pointers: [
      ...pad(operands.map(({ weight }) => weight.bits)),
      ...pad(operands.map(({ weight }) => weight.levels)),
      ...pad(operands.map(({ weight }) => weight.rowSums)),
      ...pad(operands.map(({ out }) => out)),
      ...pad(operands.map(({ sum }) => sum)),
      input.values,
      input.sums,
      input.params,
      gated,
      next.address,
    ],
    numbers: [
      ...pad(operands.map(({ weight }) => weight.rows)),
      ...pad(ends, tiles),
      ...pad(operands.map(({ strideOut }) => strideOut)),
      ...pad(operands.map(({ strideSum }) => strideSum)),
      rows,
      width,
      input.stride,
      next.length,
    ],
  };
}

/** A piece of device memory, of a multiple of 16 bytes. */
export interface Region {
  readonly address: number;
  readonly length: number;
}

export const NOTHING: Region = { address: 0, length: 0 };

/** What the launch after one multiplies; known when all have been compiled. */
export type Ahead = () => Region;

/** Pieces of the arena that are no further apart are fetched as one. */
const NEAR = 1 << 16;

/** The memory of weights, as far as they were packed one after the other and it is worth fetching early. */
export function regionOf(weights: readonly DeviceWeight[]): Region {
  let [address, end] = [0, 0];
  for (const weight of weights) {
    const [first, last] =
      weight.kind === 'w11'
        ? [weight.bits, weight.rowSums]
        : weight.kind === 'dense'
          ? [weight.data, weight.data + weight.rows * weight.rowBytes]
          : [0, 0];
    if (end === 0) [address, end] = [first, last];
    else if (first >= end && first - end < NEAR) end = last;
  }
  return { address, length: Math.min(MOST_AHEAD, end - address) & ~15 };
}

function locate(setting: Setting, targets: readonly W11Target[]): W11Operand[] {
  return targets.map((target) => {
    const out = f32Of(setting, target.out);
    const sum = target.sum === null ? null : f32Of(setting, target.sum);
    return {
      weight: target.weight,
      out: out.address,
      strideOut: out.stride,
      sum: sum?.address ?? 0,
      strideSum: sum?.stride ?? 0,
    };
  });
}

/**
 * A chain of row operations and the products that read its codes, for runs of one row; null where a block cannot hold the
 * row, or a result is written that other blocks still read. `gated`: the slot that gets the first product as a gate of the second.
 */
export function fuseRow(
  setting: Setting,
  links: ChainLinks,
  targets: readonly W11Target[],
  gated: string | null,
  next: Ahead,
): Step | null {
  const { device } = setting;
  const buffers = codesOf(setting, links);
  const { head, rotation, codes } = links;
  const read = [head?.op === 'siluMul' ? head.up : null, head && 'gate' in head ? head.gate : head?.input];
  if (!head) read.push(rotation?.input ?? codes?.input);
  const written = [head?.out, rotation?.out, gated, ...targets.flatMap(({ out, sum }) => [out, sum])];
  if (buffers.length !== 1 || written.some((name) => name && read.includes(name))) return null;
  const row = rowArguments(setting, links, buffers[0]);
  const rowBytes = roundUp(row.width, ROW_ALIGN) * 4;
  const bytes = oneBytes(targets[0]!.weight, row.width) + rowBytes;
  if (bytes > device.sharedMemory || rowBytes > readFuseLimit(process.env.DUOBIT_CUDA_FUSE)) return null;
  const { groupSize, offsets } = targets[0]!.weight;
  const name = `w11_row_g${groupSize}${offsets ? 'o' : ''}`;
  const tiles = targets.reduce((total, { weight }) => total + weight.tiles, 0);
  const input = { values: 0, sums: 0, params: 0, stride: 0 };
  const operands = locate(setting, targets);
  const gatedAt = gated === null ? 0 : f32Of(setting, gated).address;
  const grid = oneGrid(device, gated === null ? tiles : tiles / 2);
  return () => {
    const { pointers, numbers } = w11Arguments(operands, input, 1, row.width, { gated: gatedAt, next: next() });
    device.launch(name, grid, ONE_THREADS, pointers, numbers, bytes, row);
  };
}

export function w11Step(setting: Setting, targets: readonly W11Target[], inputName: string, next: Ahead): Step {
  const { device, slots } = setting;
  const slot = slots.get(inputName)!;
  const { weight } = targets[0]!;
  const operands = locate(setting, targets);
  const tiles = operands.reduce((total, operand) => total + operand.weight.tiles, 0);
  const launch = (form: W11Form, input: W11Input, rows: number) => {
    const { name, grid, threads, sharedBytes } = chooseW11(device, form, weight, tiles, rows);
    const { pointers, numbers } = w11Arguments(operands, input, rows, weight.columns, { next: next() });
    device.launch(name, grid, threads, pointers, numbers, sharedBytes);
  };
  if (slot.kind !== 'a4') {
    const x = f32Of(setting, inputName);
    return ({ rows }) => launch('float', { values: x.address, sums: 0, params: 0, stride: x.stride }, rows);
  }
  const layout = layoutOf(weight.groupSize);
  const buffers = slot.buffers.find((buffer) => buffer.layout === layout);
  if (!buffers) throw new DuobitError('INTERNAL', `slot "${inputName}" has no codes of layout ${layout}`);
  const { codes, planes, sums, params } = buffers;
  const fits = oneBytes(weight, weight.columns) <= device.sharedMemory;
  return ({ rows }) => {
    const one = rows === 1 && fits;
    launch(one ? 'one' : 'mma', { values: one ? planes : codes, sums, params, stride: 0 }, rows);
  };
}

/** Rows of a weight that a block of kernels/dense.cu takes. */
const DENSE_BLOCK_ROWS = 32;
const DENSE_THREADS = 256;

export function denseStep(
  setting: Setting,
  operation: Extract<Operation, { op: 'denseMatMul' | 'logits' | 'w11MatMul' }>,
  weight: DenseWeight,
  sumName: string | null,
): Step {
  const { device } = setting;
  const [x, out] = [f32Of(setting, operation.input), f32Of(setting, operation.out)];
  const sum = sumName === null ? null : f32Of(setting, sumName);
  const isLogits = operation.op === 'logits';
  const multiply = (first: number, tokens: number, to: number): void => {
    const each = tokens === 1 ? 1 : 4;
    device.launch(
      `dense${each}_${weight.encoding}`,
      [Math.ceil(weight.rows / DENSE_BLOCK_ROWS), Math.ceil(tokens / each), 1],
      DENSE_THREADS,
      [x.address, weight.data, weight.scales, out.address + 4 * out.stride * to, sum?.address ?? 0],
      [
        weight.rows,
        weight.columns,
        weight.rowBytes,
        weight.groupSize,
        weight.groups,
        x.stride,
        out.stride,
        sum?.stride ?? 0,
        tokens,
        first,
      ],
    );
  };
  return ({ rows, wanted }) => {
    if (!isLogits) multiply(0, rows, 0);
    let to = 0;
    for (const { first, count } of isLogits ? wanted : []) {
      multiply(first, count, to);
      to += count;
    }
  };
}
