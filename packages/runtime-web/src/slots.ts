// Where a plan's slots lie in two arenas: f32 rows in one; token ids and rows of codes in the other.
import type { ExecutionPlan, PrepareOptions } from '@duobit/core';
import { padTo } from './constants.ts';

/** How a row of codes is written: as bytes for packed dot products, or as bit planes for counts of bits. */
export type CodeKind = 'dot' | 'bits';

/** Words of codes of 32 columns. */
export function codeWords(kind: CodeKind): number {
  return kind === 'dot' ? 8 : 4;
}

export interface SlotPlace {
  readonly kind: 'tokens' | 'f32' | 'a4' | 'stat';
  readonly width: number;
  /** In words of 4 bytes ('stat': in sums of 8) from the arena's beginning. */
  readonly offset: number;
  /** Words from row to row. */
  readonly stride: number;
}

export interface SlotLayout {
  readonly places: ReadonlyMap<string, SlotPlace>;
  /** Words of the arenas, and sums of statistics. */
  readonly floats: number;
  readonly codes: number;
  readonly stats: number;
}

/** f32 rows are filled up with zeros to whole 32 columns, which kernels may read. */
const ROW_WORDS = 32;
/** Slots begin where a binding may. */
const SLOT_WORDS = 64;
/** Columns that a thread takes of W(1+1) weights. */
export const CHUNK_COLUMNS = 128;

export function layOutSlots(plan: ExecutionPlan, { maxRows }: PrepareOptions, codes: CodeKind): SlotLayout {
  const places = new Map<string, SlotPlace>();
  const used = { floats: 0, codes: 0, stats: 0 };
  for (const [name, { kind, width }] of Object.entries(plan.slots)) {
    if (kind === 'stat') {
      places.set(name, { kind, width, offset: used.stats, stride: width });
      used.stats += width;
      continue;
    }
    const arena = kind === 'f32' ? 'floats' : 'codes';
    const stride =
      kind === 'f32' ? padTo(width, ROW_WORDS) : kind === 'tokens' ? 1 : codeRowWords(width, codes);
    places.set(name, { kind, width, offset: used[arena], stride });
    used[arena] += padTo(maxRows * stride, SLOT_WORDS);
  }
  return { places, ...used };
}

/** (lo, step, 0, 0), codes, sums of every 32 columns; room for either kind where both are used. */
function codeRowWords(width: number, kind: CodeKind): number {
  const words = padTo(width, CHUNK_COLUMNS) / 32;
  return 4 + words * codeWords(kind) + words;
}

/** The values that a row of codes stands for; `row` as kernels/codes-*.wgsl write it. */
export function decodeRow(row: Uint32Array, width: number, kind: CodeKind, out: Float32Array): void {
  const [lo, step] = new Float32Array(row.buffer, row.byteOffset, 2);
  const perWord = codeWords(kind);
  for (let k = 0; k < width; k++) {
    const at = 4 + Math.floor(k / 32) * perWord;
    const column = k % 32;
    let code = 0;
    if (kind === 'dot') {
      const i = column % 8;
      code = (row[at + i]! >>> ((column >> 3) * 8 + 3 - (i % 4))) & 15;
    } else for (let j = 0; j < 4; j++) code |= ((row[at + j]! >>> column) & 1) << j;
    out[k] = lo! + Math.fround(step! * code);
  }
}
