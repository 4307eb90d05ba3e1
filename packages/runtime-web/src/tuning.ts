// How products are spread over threads: how many threads share rows of weights, how many rows they share, from how many tokens on
// tiles are used, how attention is cut. Numbers to be changed by measurements, in one place; none changes what is computed.

import type { CodeKind } from './slots.ts';

/** Choices that depend on the GPU and not on the result. */
export interface Tuning {
  /** Rows of weights that a thread works on, 1, 2 or 4. Default: by the number of rows. */
  readonly rows?: 1 | 2 | 4 | undefined;
  /** Threads that share rows, a power of two up to 32. Default: by the number of columns. */
  readonly lanes?: number | undefined;
  /** Threads of a workgroup. Default 128. */
  readonly workgroup?: number | undefined;
  /** Runs of at least so many tokens use tiles. Default 5. */
  readonly tileFrom?: number | undefined;
  /** What products of few rows are made of; tiles use packed dot products where there are any. Default: by the vendor. */
  readonly product?: CodeKind | undefined;
  /** Workgroups that stream through a matrix at most; 0 has none stream. Default 2048. */
  readonly streams?: number | undefined;
  /** Positions that a workgroup of attention looks at, at least, when there is one row: a multiple of 128. Default 256. */
  readonly share?: number | undefined;
  /** False runs every operation of a plan by itself. Default true. */
  readonly fuse?: boolean | undefined;
}

export interface Spread {
  readonly workgroup: number;
  readonly lanes: number;
  readonly rows: number;
  /** Workgroups for the given rows of weights. */
  readonly count: number;
}

const MOST_LANES = 32;
const MOST_WORKGROUPS = 65_535;

/**
 * @param rows of weights
 * @param chunks units of columns that one thread takes at a time
 */
export function spreadMatvec(rows: number, chunks: number, tuning: Tuning, most: 1 | 4): Spread {
  const workgroup = tuning.workgroup ?? 128;
  const lanes = Math.min(workgroup, tuning.lanes ?? chooseLanes(chunks));
  let perThread: number = Math.min(most, tuning.rows ?? (rows >= 8192 ? 4 : rows >= 2048 ? 2 : 1));
  const countFor = (own: number) => Math.ceil(rows / ((workgroup / lanes) * own));
  while (countFor(perThread) > MOST_WORKGROUPS && perThread < most) perThread *= 2;
  return { workgroup, lanes, rows: perThread, count: countFor(perThread) };
}

/** The most threads of which at least seven eighths have work in all rounds, or else those that waste least. */
function chooseLanes(chunks: number): number {
  let best = 1;
  let bestUse = 0;
  for (let lanes = MOST_LANES; lanes >= 1; lanes /= 2) {
    const use = chunks / (Math.ceil(chunks / lanes) * lanes);
    if (use >= 0.875) return lanes;
    // Fewer threads take longer for a row, so they have to be used a good deal better.
    if (use > bestUse * 1.3) [best, bestUse] = [lanes, use];
  }
  return best;
}

export function tileFrom(tuning: Tuning): number {
  return tuning.tileFrom ?? 5;
}

/** How a matrix is streamed through, or null where too many threads would rest, or sums within subgroups are not to be had. */
export function spreadStream(
  rows: number,
  chunks: number,
  subgroupSize: number,
  tuning: Tuning,
): { workgroup: number; lanes: number; count: number } | null {
  const { streams = 2048 } = tuning;
  const lanes = Math.max(4, 2 ** Math.ceil(Math.log2(chunks)));
  if (streams === 0 || subgroupSize < 4 || lanes > 256 || chunks / lanes < 0.6) return null;
  const workgroup = Math.max(tuning.workgroup ?? 128, lanes);
  return { workgroup, lanes, count: Math.min(streams, Math.ceil(rows / ((workgroup / lanes) * 4))) };
}

/** Counts of bits were faster than packed dot products on the NVIDIA GPU that was measured. */
export function chooseProduct(packedDot: boolean, vendor: string, tuning: Tuning): CodeKind {
  if (!packedDot) return 'bits';
  return tuning.product ?? (vendor === 'nvidia' ? 'bits' : 'dot');
}
