// Launches of kernels/row.cu: norm or gate, rotation and codes of a row in one go.
import type { Operation } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { roundUp } from './arena.ts';
import { type Argument, float } from './device.ts';
import { f32Of, type Setting, type Step } from './setting.ts';
import { type CodeBuffers, PLANE_BYTES } from './slots.ts';
import { ROW_ALIGN, UNIT, type VectorWeight } from './weights.ts';

export interface ChainLinks {
  readonly head?: Extract<Operation, { op: 'rmsNorm' | 'siluMul' }>;
  readonly rotation?: Extract<Operation, { op: 'rotateInput' }>;
  readonly codes?: Extract<Operation, { op: 'quantizeActivations' }>;
  /** Operations that it stands for. */
  readonly length: number;
}

/** Fewer rows than this leave multiprocessors without a block. */
const FEW_ROWS = 16;

const MODE = { copy: 0, norm: 1, gate: 2 } as const;

/** `RowArgs` of kernels/row.cuh, but for the scratch row. */
export interface RowArguments {
  readonly pointers: readonly number[];
  readonly numbers: readonly Argument[];
  readonly width: number;
  /** Whether kernels/row-narrow.cuh can make it, if it is no wider than that takes. */
  readonly isPlain: boolean;
}

export function chainSteps(setting: Setting, links: ChainLinks): Step[] {
  const { codes } = links;
  const buffers = codesOf(setting, links);
  if (buffers.length <= 1) return [launchChain(setting, links, buffers[0])];
  // Codes in several orders are made one after the other, of the row as it was stored.
  const { codes: _, ...rest } = links;
  const before = rest.head || rest.rotation ? [launchChain(setting, rest, undefined)] : [];
  return [...before, ...buffers.map((buffer) => launchChain(setting, { codes: codes!, length: 1 }, buffer))];
}

/** Where the chain's codes go: one place for each order of them. */
export function codesOf({ slots }: Setting, { codes }: ChainLinks): readonly CodeBuffers[] {
  const slot = codes && slots.get(codes.out);
  return slot?.kind === 'a4' ? slot.buffers : [];
}

export interface RowOptions {
  /** Where a row lies that is too wide for shared memory. */
  readonly scratch?: number;
  /** Whether a slot's values are read behind the launch; what nobody reads is not written. */
  readonly seen?: (slot: string) => boolean;
}

export function rowArguments(
  setting: Setting,
  links: ChainLinks,
  buffers: CodeBuffers | undefined,
  { scratch = 0, seen = () => true }: RowOptions = {},
): RowArguments {
  const { weights } = setting;
  const { head, rotation, codes } = links;
  const source =
    head?.op === 'siluMul' ? head.gate : (head?.input ?? rotation?.input ?? codes?.input ?? null);
  if (source === null) throw new DuobitError('INTERNAL', 'a chain of no operations');
  const x = f32Of(setting, source);
  const { width } = x;
  const out = head && seen(head.out) ? f32Of(setting, head.out) : null;
  const rotated = rotation && seen(rotation.out) ? f32Of(setting, rotation.out) : null;
  const to = codes && seen(codes.out) ? buffers : undefined;
  const mode = head?.op === 'rmsNorm' ? MODE.norm : head ? MODE.gate : MODE.copy;
  let [y, strideY] = [0, 0];
  if (head?.op === 'rmsNorm') y = (weights.get(head.weight) as VectorWeight).address;
  if (head?.op === 'siluMul') {
    const up = f32Of(setting, head.up);
    [y, strideY] = [up.address, up.stride];
  }
  const span = rotation ? 2 ** Math.floor(Math.log2(width)) : 0;
  const { clipLow = 0, clipHigh = 0 } = codes?.quantizer ?? {};
  return {
    width,
    isPlain: width % 4 === 0 && !rotation && !out && !to && mode !== MODE.gate,
    pointers: [
      x.address,
      y,
      out?.address ?? 0,
      rotated?.address ?? 0,
      to?.codes ?? 0,
      to?.sums ?? 0,
      to?.params ?? 0,
      to?.planes ?? 0,
      scratch,
    ],
    numbers: [
      mode,
      width,
      x.stride,
      strideY,
      out?.stride ?? 0,
      rotated?.stride ?? 0,
      x.stride,
      span,
      float(span > 0 ? 1 / Math.sqrt(span) : 0),
      float(head?.op === 'rmsNorm' ? head.epsilon : 0),
      float(clipLow),
      float(clipHigh),
      buffers?.layout ?? 0,
      float(1 / width),
    ],
  };
}

function launchChain(setting: Setting, links: ChainLinks, buffers: CodeBuffers | undefined): Step {
  const { device } = setting;
  const { width } = rowArguments(setting, links, buffers);
  const planes = buffers ? Math.ceil(width / UNIT) * PLANE_BYTES : 0;
  const bytes = planes + roundUp(width, ROW_ALIGN) * 4;
  const fits = bytes <= device.sharedMemory;
  const scratch = fits ? 0 : setting.wideRows();
  const { pointers, numbers } = rowArguments(setting, links, buffers, { scratch });
  // As many threads as there are quads, in whole quads of warps; with more, each would have too few registers for a pass of a rotation.
  const threads = Math.min(512, roundUp(Math.ceil(width / 4), 128));
  // With few rows, as many blocks as give each warp a unit of codes; not where one would overwrite what others read.
  const [x, y, out, rotated] = pointers;
  const apart = fits && ![out, rotated].some((to) => to !== 0 && (to === x || to === y));
  const parts = buffers && apart ? Math.ceil(Math.ceil(width / UNIT) / (threads / 32)) : 1;
  return ({ rows }) =>
    device.launch(
      'row_chain',
      [rows, rows <= FEW_ROWS ? parts : 1, 1],
      threads,
      pointers,
      numbers,
      fits ? bytes : planes,
    );
}
