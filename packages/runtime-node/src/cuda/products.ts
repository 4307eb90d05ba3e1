// Launches of products: W(1+1) on codes or floats (kernels/w11-*.cu), other encodings (kernels/dense.cu).
import type { Operation } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { roundUp } from './arena.ts';
import { type Argument, type Device, type Grid, OVERLAP_ARCHITECTURE } from './device.ts';
import { type ChainLinks, codesOf, type RowArguments, rowArguments } from './row-chain.ts';
import { f32Of, type Setting, type Step } from './setting.ts';
import { PLANE_BYTES } from './slots.ts';
import { type DenseWeight, layoutOf, ROW_ALIGN, UNIT, type W11Weight } from './weights.ts';

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

/** W(1+1) products of one launch: kernels/w11.cuh. */
export const MOST_WEIGHTS = 4;

/** Of kernels/w11-one.cu. */
const [ONE_WARPS, ONE_THREADS] = [16, 512];

/** Its kernel for a row that the block itself makes codes of: those for few columns, named after how many, have the row in registers. */
function rowKernel({ width, isPlain }: RowArguments, groupSize: number): string {
  const most = !isPlain ? undefined : [2048, 4096].find((columns) => width <= columns);
  return most === undefined || (most > 2048 && groupSize === 32) ? 'w11_row' : `w11_row${most}`;
}

/** Shared memory of kernels/w11-one.cu: units of weights under way, and one row's bit planes. */
function oneBytes(
  device: Device,
  { groupSize, offsets }: Pick<W11Weight, 'groupSize' | 'offsets'>,
  columns: number,
): number {
  const groups = Math.max(1, UNIT / groupSize);
  const ahead = (groupSize === 32 ? 2 : 4) * (device.architecture >= OVERLAP_ARCHITECTURE ? 2 : 1);
  return ahead * ONE_THREADS * (16 + groups * (offsets ? 8 : 4)) + Math.ceil(columns / UNIT) * PLANE_BYTES;
}

/** How many warps share a tile, as a power of two: with fewer tiles a block, more; at least two. */
function oneShift(items: number, blocks: number): number {
  const most = Math.ceil(items / blocks);
  return Math.max(1, Math.log2(ONE_WARPS) - Math.ceil(Math.log2(most)));
}

/** Tiles that a block of kernels/w11-many.cu takes, a warp each. */
const MANY_TILES = 8;

/** Blocks of it that there must be at least for each multiprocessor: with fewer, tiles are split among warps instead. */
const MANY_LEAST = 0.75;

export interface W11Launch {
  readonly name: string;
  readonly grid: Grid;
  readonly threads: number;
  readonly sharedBytes: number;
  /** Of kernels/w11-one.cu: 2^shift warps share a tile. */
  readonly shift?: number;
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
  if (form === 'one') return launchOne(device, `w11_one${suffix}`, tiles, oneBytes(device, weight, columns));
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

/** Two blocks that each ask for so much shared memory are not on one multiprocessor. */
const ALONE_BYTES = 112 << 10;

/**
 * A launch of kernels/w11-one.cu: no more than a block a multiprocessor, which goes from item to item. Where there are as many, none
 * may share one: the device would put two where others have room, and they would end late.
 */
function launchOne(device: Device, name: string, items: number, bytes: number): W11Launch {
  const { multiprocessors } = device.facts;
  const alone = items >= multiprocessors && ALONE_BYTES <= device.sharedMemory;
  const blocks = Math.min(items, multiprocessors);
  return {
    name,
    grid: [blocks, 1, 1],
    threads: ONE_THREADS,
    sharedBytes: alone ? Math.max(bytes, ALONE_BYTES) : bytes,
    shift: oneShift(items, blocks),
  };
}

/** `W11Args` of kernels/w11.cuh. */
export function w11Arguments(
  operands: readonly W11Operand[],
  input: W11Input,
  rows: number,
  width: number,
  { gated = 0, shift = 0 }: { readonly gated?: number; readonly shift?: number | undefined } = {},
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
    ],
    numbers: [
      ...pad(operands.map(({ weight }) => weight.rows)),
      ...pad(ends, tiles),
      ...pad(operands.map(({ strideOut }) => strideOut)),
      ...pad(operands.map(({ strideSum }) => strideSum)),
      rows,
      width,
      input.stride,
      shift,
    ],
  };
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

export interface RowFusion {
  /** The slot that gets the first product as a gate of the second. */
  readonly gated: string | null;
  /** Whether a slot's values are read behind the products. */
  readonly seen: (slot: string) => boolean;
}

/**
 * A chain of row operations and the products that read its codes, for runs of one row; null where a block cannot hold the
 * row, or a result is written that other blocks still read. What only the products read is not written.
 */
export function fuseRow(
  setting: Setting,
  links: ChainLinks,
  targets: readonly W11Target[],
  { gated, seen }: RowFusion,
): Step | null {
  const { device } = setting;
  const buffers = codesOf(setting, links);
  const { head, rotation, codes } = links;
  const read = [head?.op === 'siluMul' ? head.up : null, head && 'gate' in head ? head.gate : head?.input];
  if (!head) read.push(rotation?.input ?? codes?.input);
  const written = [head?.out, rotation?.out, gated, ...targets.flatMap(({ out, sum }) => [out, sum])];
  if (buffers.length !== 1 || written.some((name) => name && read.includes(name))) return null;
  const row = rowArguments(setting, links, buffers[0], { seen });
  const rowBytes = roundUp(row.width, ROW_ALIGN) * 4;
  // The row, and the weight of a norm or what is gated.
  const bytes = oneBytes(device, targets[0]!.weight, row.width) + (head ? 2 : 1) * rowBytes;
  if (bytes > device.sharedMemory || rowBytes > device.fuseLimit) return null;
  const { groupSize, offsets } = targets[0]!.weight;
  const tiles = targets.reduce((total, { weight }) => total + weight.tiles, 0);
  const items = gated === null ? tiles : tiles / 2;
  const { name, grid, threads, sharedBytes, shift } = launchOne(
    device,
    `${rowKernel(row, groupSize)}_g${groupSize}${offsets ? 'o' : ''}`,
    items,
    bytes,
  );
  const { pointers, numbers } = w11Arguments(
    locate(setting, targets),
    { values: 0, sums: 0, params: 0, stride: 0 },
    1,
    row.width,
    { gated: gated === null ? 0 : f32Of(setting, gated).address, shift },
  );
  return () => device.launch(name, grid, threads, pointers, numbers, sharedBytes, row);
}

export function w11Step(setting: Setting, targets: readonly W11Target[], inputName: string): Step {
  const { device, slots } = setting;
  const slot = slots.get(inputName)!;
  const { weight } = targets[0]!;
  const operands = locate(setting, targets);
  const tiles = operands.reduce((total, operand) => total + operand.weight.tiles, 0);
  const launch = (form: W11Form, input: W11Input, rows: number) => {
    const { name, grid, threads, sharedBytes, shift } = chooseW11(device, form, weight, tiles, rows);
    const { pointers, numbers } = w11Arguments(operands, input, rows, weight.columns, { shift });
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
  const fits = oneBytes(device, weight, weight.columns) <= device.sharedMemory;
  return ({ rows }) => {
    const one = rows === 1 && fits;
    launch(one ? 'one' : 'mma', { values: one ? planes : codes, sums, params, stride: 0 }, rows);
  };
}

/** Threads of a launch of kernels/dense.cu, rows that lanes share there, warps that keep a multiprocessor busy. */
const DENSE = { threads: 128, rows: 4, warps: 8 } as const;

/**
 * How many lanes, as a power of two, share rows of so many loads: all of a warp, unless fewer come with less waste and the rows are
 * enough for all multiprocessors.
 */
function denseShift({ rows, rowBytes }: DenseWeight, multiprocessors: number): number {
  const loads = rowBytes / 16;
  const slots = (shift: number) => Math.ceil(loads / 2 ** shift) * 2 ** shift;
  const isEnough = (shift: number) => rows / DENSE.rows / 2 ** (5 - shift) >= DENSE.warps * multiprocessors;
  const shifts = [4, 3, 2].filter(isEnough);
  const least = Math.min(...[5, ...shifts].map(slots));
  return [5, ...shifts].find((shift) => slots(shift) <= 1.1 * least)!;
}

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
  const shift = denseShift(weight, device.facts.multiprocessors);
  const blockRows = (DENSE.threads * DENSE.rows) / 2 ** shift;
  const multiply = (first: number, tokens: number, to: number): void => {
    const each = tokens === 1 ? 1 : 4;
    device.launch(
      `dense${each}_${weight.encoding}`,
      [Math.ceil(weight.rows / blockRows), Math.ceil(tokens / each), 1],
      DENSE.threads,
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
        shift,
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
