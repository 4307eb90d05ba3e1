// What a layer's fit needs to know of its inputs: their second moments, with themselves and with a teacher's, and some rows.
import type { Backend, ExecutionPlan, Operation, Slot } from '@duobit/core';
import { type ActivationQuantizer, DuobitError, rotateInput } from '@duobit/format';
import { pause } from '../abort.ts';
import { rowsOf } from './block-flow.ts';

/** What is done to an input before its layers' matrix multiplies it. */
export interface InputForm {
  /** Columns of the input. */
  readonly columns: number;
  /** Taken out, and 0 from then on. */
  readonly outliers: readonly number[];
  readonly rotated: boolean;
}

export interface InputStatistics {
  /** H [K, K] = sum x x^T over the student's inputs x in their form, or over the values that their codes stand for. */
  readonly gram: Float32Array;
  /** C^T [K, K]: sum of x_i t_j with the teacher's inputs t; null without a teacher. */
  readonly cross: Float32Array | null;
}

export interface MeasureOptions {
  readonly form: InputForm;
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
  { form, maxRows, quantizer, signal }: MeasureOptions,
): Promise<InputStatistics> {
  const { columns } = form;
  const longest = Math.max(...student.map((inputs) => inputs.length / columns));
  const program = await backend.prepare(
    statisticsPlan(form, quantizer, teacher !== null),
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
  form: InputForm,
  quantizer: ActivationQuantizer | null,
  crossed: boolean,
): ExecutionPlan {
  const slots: Record<string, Slot> = {};
  const operations: Operation[] = [];
  const slot = (name: string, kind: Slot['kind'] = 'f32', width = form.columns): string => {
    slots[name] = { kind, width };
    return name;
  };
  const shape = (given: string): string => {
    let input = slot(given);
    if (form.outliers.length > 0) {
      const taken = slot(`${given}.taken`, 'f32', form.outliers.length);
      const kept = slot(`${given}.kept`);
      operations.push({ op: 'takeColumns', input, columns: form.outliers, kept, taken });
      input = kept;
    }
    if (form.rotated) {
      const out = slot(`${given}.rotated`);
      operations.push({ op: 'rotateInput', input, out });
      input = out;
    }
    return input;
  };
  let input = shape('input');
  if (quantizer) {
    operations.push({ op: 'quantizeActivations', input, quantizer, out: slot('codes', 'a4') });
    input = slot('decoded');
    operations.push({ op: 'decodeActivations', input: 'codes', out: input });
  }
  const accumulate = (other: string | null, out: string): void => {
    operations.push({ op: 'accumulateGram', input, other, out: slot(out, 'stat', form.columns ** 2) });
  };
  accumulate(null, 'gram');
  if (crossed) accumulate(shape('teacher'), 'cross');
  const heads = { headCount: 1, kvHeadCount: 1, headSize: 2 };
  return { slots, operations, cacheLayers: 0, heads, ropeFrequencies: new Float64Array(1) };
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

/** About `count` rows of all windows [rows, columns], spread evenly, in their form. */
export function sampleRows(windows: readonly Float32Array[], form: InputForm, count: number): Float32Array {
  const { columns, outliers, rotated } = form;
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
      const sample = rowsOf(samples, columns, next, 1);
      sample.set(rowsOf(window, columns, row - before, 1));
      for (const column of outliers) sample[column] = 0;
      if (rotated) rotateInput(sample);
    }
    before = end;
  }
  return samples;
}
