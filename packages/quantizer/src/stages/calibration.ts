// How large each input of every linear layer is on the full-precision stream: sums over tokens of x_k^2. One block of the
// model is in memory at a time; between blocks only the residual stream is kept.
import { type Backend, buildPlan, createTokenizer, listTensors, SLOTS, statisticsSlot } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { pause } from '../abort.ts';
import { embedWindows, readChecked, runRows } from '../calibration/streams.ts';
import { type CalibrationOptions, cutWindows } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

/** Statistics of the inputs of linear layers. */
export interface Calibration {
  /** Linear weight -> sum of squares of each of its K inputs. */
  readonly squares: ReadonlyMap<string, Float64Array>;
  readonly tokens: number;
}

export interface CalibrationRun {
  readonly onProgress?: ((block: string, done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs windows of the text through the checkpoint block by block and collects the sums of squares.
 *
 * Memory: one block in full precision with the Gram matrices of its inputs, plus windows x context x hidden f32 values. Deterministic for a
 * deterministic backend.
 * @throws DuobitError `TEXT_TOO_SHORT`, `QUANTIZE_OPTION`, `CALIBRATION_NOT_FINITE`, `ABORTED`
 */
export async function calibrate(
  checkpoint: Checkpoint,
  backend: Backend,
  options: CalibrationOptions,
  run: CalibrationRun = {},
): Promise<Calibration> {
  const { architecture } = checkpoint;
  const windows = cutWindows(checkpoint, await createTokenizer(checkpoint), { maxWindows: 16, ...options });
  const context = windows[0]!.length;

  const stream = await embedWindows(checkpoint, backend, windows, run.signal);
  const squares = new Map<string, Float64Array>();
  const total = architecture.blockCount * windows.length;
  for (let block = 0; block < architecture.blockCount; block++) {
    const plan = buildPlan(checkpoint, { section: { block }, statistics: 'gram' });
    const program = await backend.prepare(plan, (name) => readChecked(checkpoint, name), {
      capacity: context,
      maxRows: Math.min(stream.maxRows, context),
    });
    try {
      for (const [index, window] of stream.windows.entries()) {
        await pause(run.signal);
        run.onProgress?.(`block ${block}`, block * windows.length + index, total);
        await runRows(window, stream.hiddenSize, async (part, rows, position) => {
          await program.write(SLOTS.residual, part);
          await program.run({ rows, position, logits: 'none' });
          part.set(await program.read(SLOTS.residual));
        });
      }
      const diagonals = new Map<string, Float64Array>();
      for (const { name, kind, block: owner } of listTensors(architecture)) {
        if (kind !== 'linear' || owner !== block) continue;
        const slot = statisticsSlot(name);
        const sums = diagonals.get(slot) ?? diagonalOf(await program.read(slot));
        diagonals.set(slot, sums);
        const broken = sums.findIndex((sum) => !Number.isFinite(sum));
        if (broken >= 0) {
          throw new DuobitError(
            'CALIBRATION_NOT_FINITE',
            `input ${broken} of the layer has sum of squares ${sums[broken]} on the calibration text`,
            {
              source: checkpoint.name,
              where: name,
              remedy: 'Check the checkpoint for overflowing or broken weights',
            },
          );
        }
        squares.set(name, sums);
      }
    } finally {
      await program.dispose();
    }
  }
  run.onProgress?.('done', total, total);
  return { squares, tokens: windows.length * context };
}

/** The diagonal of a row-major square matrix. */
function diagonalOf(matrix: Float32Array): Float64Array {
  const side = Math.sqrt(matrix.length);
  return Float64Array.from({ length: side }, (_, k) => matrix[k * (side + 1)]!);
}

/**
 * Importance of a column from its sum of squares: h_k = d_k + 1 % of the mean of d (the damping usual for
 * Hessians), so that a column the text never excites still counts a little. All ones when nothing was excited.
 */
export function importanceOf(squares: Float64Array): Float64Array {
  let mean = 0;
  for (const sum of squares) mean += sum / squares.length;
  if (mean === 0) return new Float64Array(squares.length).fill(1);
  return squares.map((sum) => sum + 0.01 * mean);
}
