// What a layer's fit needs to know of its inputs: their second moments, with themselves and with a teacher's, and some rows.
import type { Backend, ExecutionPlan } from '@duobit/core';
import { type ActivationQuantizer, DuobitError } from '@duobit/format';
import { pause } from '../abort.ts';
import { rowsOf } from './block-flow.ts';

export interface InputStatistics {
  /** H [K, K] = sum x x^T over the student's inputs x, or over the values that their codes stand for. */
  readonly gram: Float32Array;
  /** C^T [K, K]: sum of x_i t_j with the teacher's inputs t; null without a teacher. */
  readonly cross: Float32Array | null;
}

export interface MeasureOptions {
  /** Columns of the inputs. */
  readonly columns: number;
  /** Rows in a run. */
  readonly maxRows: number;
  /** Measures what the codes of this quantizer stand for; null: the inputs themselves. */
  readonly quantizer: ActivationQuantizer | null;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @param student inputs of each window [tokens, columns]
 * @param teacher as many of the teacher, or null
 */
export async function measureInputs(
  backend: Backend,
  student: readonly Float32Array[],
  teacher: readonly Float32Array[] | null,
  { columns, maxRows, quantizer, signal }: MeasureOptions,
): Promise<InputStatistics> {
  const longest = Math.max(...student.map((inputs) => inputs.length / columns));
  const program = await backend.prepare(
    statisticsPlan(columns, quantizer, teacher !== null),
    (name) => Promise.reject(new Error(`no weight ${name}`)),
    { capacity: longest, maxRows: Math.min(maxRows, longest) },
  );
  try {
    for (const [index, inputs] of student.entries()) {
      await pause(signal);
      const tokens = inputs.length / columns;
      for (let first = 0; first < tokens; first += maxRows) {
        const rows = Math.min(maxRows, tokens - first);
        await program.write('input', rowsOf(inputs, columns, first, rows));
        if (teacher) await program.write('teacher', rowsOf(teacher[index]!, columns, first, rows));
        await program.run({ rows, position: first, logits: 'none' });
      }
    }
    return { gram: await program.read('gram'), cross: teacher ? await program.read('cross') : null };
  } finally {
    await program.dispose();
  }
}

function statisticsPlan(
  columns: number,
  quantizer: ActivationQuantizer | null,
  crossed: boolean,
): ExecutionPlan {
  const measured = quantizer ? 'decoded' : 'input';
  const square = { kind: 'stat', width: columns * columns } as const;
  return {
    slots: {
      input: { kind: 'f32', width: columns },
      ...(quantizer
        ? { codes: { kind: 'a4', width: columns }, decoded: { kind: 'f32', width: columns } }
        : {}),
      gram: square,
      ...(crossed ? { teacher: { kind: 'f32', width: columns }, cross: square } : {}),
    },
    operations: [
      ...(quantizer
        ? ([
            { op: 'quantizeActivations', input: 'input', quantizer, out: 'codes' },
            { op: 'decodeActivations', input: 'codes', out: 'decoded' },
          ] as const)
        : []),
      { op: 'accumulateGram', input: measured, other: null, out: 'gram' },
      ...(crossed
        ? ([{ op: 'accumulateGram', input: measured, other: 'teacher', out: 'cross' }] as const)
        : []),
    ],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  };
}

/** @throws DuobitError `CALIBRATION_NOT_FINITE` naming the first sum that is NaN or infinite */
export function checkStatistics(
  { gram, cross }: InputStatistics,
  columns: number,
  place: { readonly source: string; readonly where: string },
): void {
  for (const sums of cross ? [gram, cross] : [gram]) {
    const broken = sums.findIndex((sum) => !Number.isFinite(sum));
    if (broken < 0) continue;
    throw new DuobitError(
      'CALIBRATION_NOT_FINITE',
      `inputs ${Math.floor(broken / columns)} and ${broken % columns} of the layer have the sum of products ${sums[broken]} on the calibration text`,
      { ...place, remedy: 'Check the checkpoint for overflowing or broken weights' },
    );
  }
}

/** About `count` rows of all windows [rows, columns], spread evenly. */
export function sampleRows(windows: readonly Float32Array[], columns: number, count: number): Float32Array {
  const total = windows.reduce((sum, window) => sum + window.length / columns, 0);
  const picked = Math.min(total, count);
  const samples = new Float32Array(picked * columns);
  let before = 0;
  let next = 0;
  for (const window of windows) {
    const end = before + window.length / columns;
    for (; next < picked; next++) {
      const row = Math.floor((next * total) / picked);
      if (row >= end) break;
      samples.set(rowsOf(window, columns, row - before, 1), next * columns);
    }
    before = end;
  }
  return samples;
}
