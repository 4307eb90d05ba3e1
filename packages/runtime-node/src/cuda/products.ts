// Launches of products: W(1+1) on codes or floats (kernels/w11-*.cu), other encodings (kernels/dense.cu).
import type { Operation } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { roundUp } from './arena.ts';
import type { Argument, Device, Grid } from './device.ts';
import { type ChainLinks, codesOf, rowArguments } from './row-chain.ts';
import { readFuseLimit, readMultipliesBits } from './row-settings.ts';
import { f32Of, type Setting, type Step } from './setting.ts';
import { type DenseWeight, ROW_ALIGN, UNIT, type W11Weight } from './weights.ts';

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

/** `mma`: int8 tensor cores. The others are steps of the ladder, but for `float`, of unquantized activations. */
export type W11Form = 'mma' | 'dp4a' | 'popc' | 'float' | 'onedp4a' | 'onemixed' | 'onemma' | 'onebits';

const MOST_WEIGHTS = 4;

/** Shared memory of one row's bit planes and sums, padded to whole steps of kernels/w11-bits.cuh. */
const planeBytes = (units: number) => roundUp(units, 2) * (64 + 16);

const ONE_THREADS = 256;

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

/** The kernel for so many rows, its grid, threads and shared memory. `best`: of one row what is fastest. */
export function chooseW11(
  device: Device,
  form: W11Form,
  { groupSize, offsets, columns }: Pick<W11Weight, 'groupSize' | 'offsets' | 'columns'>,
  tiles: number,
  rows: number,
  best = true,
): W11Launch {
  const suffix = `_g${groupSize}${offsets ? 'o' : ''}`;
  const split = (kernel: string, each: number) => ({
    name: `w11_${kernel}${each}${suffix}`,
    grid: [tiles, Math.ceil(rows / each), 1] as const,
    threads: 256,
    sharedBytes: 0,
  });
  // Blocks go from tile to tile: no more than are there at once, as each has to begin.
  const one = (kernel: string, sharedBytes = 0) => {
    const name = `w11_${kernel}${suffix}`;
    const blocks = Math.min(tiles, device.residentBlocks(name, ONE_THREADS, sharedBytes));
    return { name, grid: [blocks, 1, 1] as const, threads: ONE_THREADS, sharedBytes };
  };
  if (form === 'float') return split('float', 4);
  const bytes = planeBytes(Math.ceil(columns / UNIT));
  if (form === 'onebits') return one('bits', bytes);
  if (form === 'onedp4a' || form === 'onemixed' || form === 'onemma') return one(form);
  if (form !== 'mma') return split(form, rows === 1 ? 1 : 4);
  if (rows === 1 && best)
    return readMultipliesBits(process.env.DUOBIT_CUDA_ONE) && bytes <= device.sharedMemory
      ? one('bits', bytes)
      : one('one');
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

/** `W11Args` of kernels/w11.cuh. */
export function w11Arguments(
  operands: readonly W11Operand[],
  input: W11Input,
  rows: number,
  width: number,
  gated = 0,
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

/**
 * A chain of row operations and the products that read its codes, for runs of one row; null where a block cannot hold the
 * row, or a result is written that other blocks still read. `gated`: the slot that gets the first product as a gate of the second.
 */
export function fuseRow(
  setting: Setting,
  links: ChainLinks,
  targets: readonly W11Target[],
  gated: string | null,
): Step | null {
  const { device } = setting;
  const buffers = codesOf(setting, links);
  const { head, rotation, codes } = links;
  const read = [head?.op === 'siluMul' ? head.up : null, head && 'gate' in head ? head.gate : head?.input];
  if (!head) read.push(rotation?.input ?? codes?.input);
  const written = [head?.out, rotation?.out, gated, ...targets.flatMap(({ out, sum }) => [out, sum])];
  if (buffers.length !== 1 || written.some((name) => name && read.includes(name))) return null;
  const row = rowArguments(setting, links, buffers[0]);
  const units = Math.ceil(row.width / UNIT);
  const asBits = readMultipliesBits(process.env.DUOBIT_CUDA_ONE);
  const bytes = (asBits ? planeBytes(units) : units * (UNIT + 16)) + roundUp(row.width, ROW_ALIGN) * 4;
  if (bytes > Math.min(device.sharedMemory, readFuseLimit(process.env.DUOBIT_CUDA_FUSE))) return null;
  const { groupSize, offsets } = targets[0]!.weight;
  const name = `w11_row${asBits ? 'bits' : ''}_g${groupSize}${offsets ? 'o' : ''}`;
  const tiles = targets.reduce((total, { weight }) => total + weight.tiles, 0);
  const input = { values: 0, sums: 0, params: 0, stride: 0 };
  const { pointers, numbers } = w11Arguments(
    locate(setting, targets),
    input,
    1,
    row.width,
    gated === null ? 0 : f32Of(setting, gated).address,
  );
  const resident = device.residentBlocks(name, ONE_THREADS, bytes);
  const blocks = Math.min(gated === null ? tiles : tiles / 2, resident);
  return () => device.launch(name, [blocks, 1, 1], ONE_THREADS, pointers, numbers, bytes, row);
}

export function w11Step(setting: Setting, targets: readonly W11Target[], inputName: string): Step {
  const { device, slots } = setting;
  const slot = slots.get(inputName)!;
  const { weight } = targets[0]!;
  const operands = locate(setting, targets);
  let input: W11Input;
  if (slot.kind === 'a4') {
    const layout = weight.groupSize >= 128 ? 0 : weight.groupSize === 64 ? 1 : 2;
    const buffers = slot.buffers.find((buffer) => buffer.layout === layout);
    if (!buffers) throw new DuobitError('INTERNAL', `slot "${inputName}" has no codes of layout ${layout}`);
    input = { values: buffers.codes, sums: buffers.sums, params: buffers.params, stride: 0 };
  } else {
    const x = f32Of(setting, inputName);
    input = { values: x.address, sums: 0, params: 0, stride: x.stride };
  }
  const form = slot.kind === 'a4' ? 'mma' : 'float';
  const tiles = operands.reduce((total, operand) => total + operand.weight.tiles, 0);
  return ({ rows }) => {
    const { name, grid, threads, sharedBytes } = chooseW11(device, form, weight, tiles, rows);
    const { pointers, numbers } = w11Arguments(operands, input, rows, weight.columns);
    device.launch(name, grid, threads, pointers, numbers, sharedBytes);
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
