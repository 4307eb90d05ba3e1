// Which tokens a calibration sees: documents tokenized one by one, joined, and cut into windows.
import { createRandom, type Tokenizer } from '@duobit/core';
import { DuobitError, sha256, toHex } from '@duobit/format';
import { badOption } from '../bad-option.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

/** The text that layers are fitted to, and how much of it. */
export interface CalibrationOptions {
  /** Plain text, or documents of it; tokenized with the checkpoint's own tokenizer, without special tokens, and joined. */
  readonly text: string | readonly string[];
  /** Tokens in a window, at most the model's context length. Default 512. */
  readonly context?: number;
  /** Most windows used. Default 128. */
  readonly maxWindows?: number;
  /** Absent, windows are spread evenly over the text; a whole number draws them at random, the same for the same number. */
  readonly seed?: number;
}

export const DEFAULT_WINDOWS = 128;

/** @throws DuobitError `QUANTIZE_OPTION` */
export function resolveContext(
  checkpoint: Pick<Checkpoint, 'architecture'>,
  options: CalibrationOptions,
): number {
  const { contextLength } = checkpoint.architecture;
  const context = options.context ?? Math.min(512, contextLength);
  if (!Number.isInteger(context) || context < 1 || context > contextLength)
    throw badOption(
      'calibration.context',
      `is ${context}`,
      `Use 1 to ${contextLength}, the model's context length`,
    );
  const { maxWindows = DEFAULT_WINDOWS, seed = 0 } = options;
  if (!Number.isInteger(maxWindows) || maxWindows < 1)
    throw badOption('calibration.maxWindows', `is ${maxWindows}`, 'Use a whole number above 0');
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw badOption('calibration.seed', `is ${seed}`, 'Use a whole number, 0 or more');
  return context;
}

/**
 * Windows of `context` consecutive tokens.
 * @throws DuobitError `TEXT_TOO_SHORT` when there is not one whole window; `QUANTIZE_OPTION`
 */
export function cutWindows(
  checkpoint: Pick<Checkpoint, 'architecture' | 'name'>,
  tokenizer: Pick<Tokenizer, 'encode'>,
  options: CalibrationOptions,
): Int32Array[] {
  const context = resolveContext(checkpoint, options);
  const { text, maxWindows = DEFAULT_WINDOWS, seed } = options;
  const documents = typeof text === 'string' ? [text] : text;
  const tokens = documents.flatMap((document) => tokenizer.encode(document, { bos: false }));
  const available = Math.floor(tokens.length / context);
  if (available === 0)
    throw new DuobitError(
      'TEXT_TOO_SHORT',
      `the calibration text has ${tokens.length} tokens, one window needs ${context}`,
      {
        source: checkpoint.name,
        where: 'calibration',
        remedy: 'Give a longer text or a shorter window',
      },
    );
  const used = Math.min(available, maxWindows);
  const chosen =
    seed === undefined
      ? Array.from({ length: used }, (_, i) => Math.floor((i * available) / used))
      : drawWithout(available, used, seed);
  return chosen.map((index) => Int32Array.from(tokens.slice(index * context, (index + 1) * context)));
}

/** SHA-256 of the windows' tokens, 32-bit little-endian: what a result depends on of the calibration text. */
export async function hashWindows(windows: readonly Int32Array[]): Promise<string> {
  const bytes = new DataView(new ArrayBuffer(4 * windows.reduce((sum, window) => sum + window.length, 0)));
  let at = 0;
  for (const window of windows) for (const token of window) bytes.setInt32(4 * at++, token, true);
  return toHex(await sha256(new Uint8Array(bytes.buffer)));
}

/** `count` of 0 … total - 1, drawn without replacement, ascending. */
function drawWithout(total: number, count: number, seed: number): number[] {
  const random = createRandom(seed);
  const all = Array.from({ length: total }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(random() * (total - i));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, count).sort((a, b) => a - b);
}
