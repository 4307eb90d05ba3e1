// Options of `quantize`, their defaults and their checks.
import { type ByteSink, DuobitError } from '@duobit/format';
import type { CalibrationOptions } from './stages/calibration.ts';

export type EmbeddingFormat = 'q8' | 'q4' | 'f16';
export type GroupSize = 32 | 64 | 128 | 256;

export interface QuantizeProgress {
  readonly phase: 'hash' | 'calibrate' | 'quantize' | 'write';
  /** Tensor, block or file being worked on. */
  readonly tensor: string;
  /** Work units of this phase: weights for 'quantize', window passes for 'calibrate', 1 for the others. */
  readonly done: number;
  readonly total: number;
}

export interface QuantizeOptions {
  /** Embedding and head: int8 in groups of 64 ('q8', the default), int4 in groups of 32 ('q4'), or f16. */
  readonly embedding?: EmbeddingFormat;
  /** Columns that share four levels. Default 128. */
  readonly groupSize?: GroupSize;
  /** Store mu (four free levels; 2.5 bits a weight at 128) or not (symmetric levels; 2.25). Default true. */
  readonly offsets?: boolean;
  /** Text whose activations weight the error of each column; without it all columns count the same. */
  readonly calibration?: CalibrationOptions;
  /** Default 'duobit <version>'. */
  readonly producer?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly onProgress?: (progress: QuantizeProgress) => void;
  readonly signal?: AbortSignal;
  /** Where the container's bytes go. Default: a temporary file beside `outPath`, renamed over it at the end. */
  readonly openSink?: (path: string) => Promise<ByteSink>;
}

export interface ResolvedOptions {
  readonly embedding: EmbeddingFormat;
  readonly groupSize: GroupSize;
  readonly offsets: boolean;
  readonly producer: string;
}

/** Version written into containers; a test keeps it equal to package.json. */
export const VERSION = '0.1.0';

/** @throws DuobitError `QUANTIZE_OPTION` for a value outside its range. */
export function resolveOptions(options: QuantizeOptions): ResolvedOptions {
  const { embedding = 'q8', groupSize = 128, offsets = true, producer = `duobit ${VERSION}` } = options;
  if (!['q8', 'q4', 'f16'].includes(embedding)) {
    throw badOption('embedding', `is '${embedding}'`, "Use 'q8', 'q4' or 'f16'");
  }
  if (![32, 64, 128, 256].includes(groupSize)) {
    throw badOption('groupSize', `is ${groupSize}`, 'Use 32, 64, 128 or 256');
  }
  return { embedding, groupSize, offsets, producer };
}

export function badOption(name: string, fact: string, remedy: string): DuobitError {
  return new DuobitError('QUANTIZE_OPTION', `option ${name} ${fact}`, { where: name, remedy });
}
