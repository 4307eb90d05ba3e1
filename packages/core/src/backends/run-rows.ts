// What a request means row by row: the sequence and position of each, and which of them logits are wanted of.
import type { RunPart, RunRequest } from '../backend.ts';

export interface SequencePart extends RunPart {
  readonly sequence: number;
  /** How many of its last rows logits are wanted of. */
  readonly logitRows: number;
}

/** The parts of a run, and how many rows they have together. */
export interface RunRows {
  readonly parts: readonly SequencePart[];
  /** Of all parts together. */
  readonly rows: number;
  readonly logitRows: number;
}

/** Neighbouring rows of a run. */
export interface RowRange {
  readonly first: number;
  readonly count: number;
}

/** The parts of a request, which need not be valid. */
export function listParts(request: RunRequest): RunRows {
  const all: readonly RunPart[] = request.others ? [request, ...request.others] : [request];
  const parts = all.map((part) => {
    const { sequence = 0, rows, logits } = part;
    return { ...part, sequence, logitRows: logits === 'all' ? rows : logits === 'last' ? 1 : 0 };
  });
  return {
    parts,
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    logitRows: parts.reduce((sum, part) => sum + part.logitRows, 0),
  };
}

/** Sequence and position of every row, in order. */
export function listPlaces({ parts }: RunRows): { readonly sequence: number; readonly position: number }[] {
  return parts.flatMap(({ sequence, rows, position }) =>
    Array.from({ length: rows }, (_, i) => ({ sequence, position: position + i })),
  );
}

/** The rows that logits are wanted of, in order; as few ranges as can be. */
export function listWanted({ parts }: RunRows): RowRange[] {
  const ranges: RowRange[] = [];
  let row = 0;
  for (const { rows, logitRows: count } of parts) {
    row += rows;
    if (count === 0) continue;
    const last = ranges.at(-1);
    const joins = last && last.first + last.count === row - count;
    if (joins) ranges.pop();
    ranges.push(joins ? { first: last.first, count: last.count + count } : { first: row - count, count });
  }
  return ranges;
}
