// Whole validation: the header's rules, then every byte of data, in one pass over the file in bounded memory.
import { LIMITS } from './generated/limits.ts';
import { readManifest } from './header-read.ts';
import type { Manifest, Segment } from './manifest.ts';
import { listRegions, type Region } from './places.ts';
import { checkPlaneValues } from './plane-values.ts';
import { alignUp } from './preamble.ts';
import { type Problem, ProblemList, REMEDY_DAMAGED } from './problems.ts';
import { sha256, toHex } from './sha256.ts';
import type { ByteSource } from './source.ts';
import { checkTokenizer } from './tokenizer-check.ts';

export interface ValidateOptions {
  /** Read all data too: hashes, padding, values. Default true. */
  readonly deep?: boolean;
  /** Problems kept; default 100. */
  readonly maxProblems?: number;
  /** Called after each chunk, with bytes of segments. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface ValidationReport {
  readonly ok: boolean;
  readonly problems: readonly Problem[];
  /** Problems found beyond `maxProblems`. */
  readonly dropped: number;
  /** Null when the header could not be understood. Not to be run from unless `ok`. */
  readonly manifest: Manifest | null;
}

/**
 * Finds as many problems as it can. Bad input, an unreadable source included, gives problems, never a throw.
 */
export async function validateContainer(
  source: ByteSource,
  options: ValidateOptions = {},
): Promise<ValidationReport> {
  const list = new ProblemList(options.maxProblems ?? 100);
  let manifest: Manifest | null = null;
  try {
    manifest = await readManifest(source, list.report);
    if (manifest && (options.deep ?? true)) {
      await new DataValidator(source, manifest, list, options.onProgress).run();
      await checkTokenizer(source, manifest, list.report);
    }
  } catch (error) {
    list.reportError(error, source.name);
  }
  return { ok: list.problems.length === 0, problems: list.problems, dropped: list.dropped, manifest };
}

class DataValidator {
  readonly #source: ByteSource;
  readonly #manifest: Manifest;
  readonly #list: ProblemList;
  readonly #onProgress: ValidateOptions['onProgress'];
  /** Values are only looked at where the header says right what they are. */
  readonly #headerIsRight: boolean;
  /** Planes with a value problem already: one report each is enough. */
  readonly #reported = new Set<string>();

  constructor(
    source: ByteSource,
    manifest: Manifest,
    list: ProblemList,
    onProgress: ValidateOptions['onProgress'],
  ) {
    this.#source = source;
    this.#manifest = manifest;
    this.#list = list;
    this.#onProgress = onProgress;
    this.#headerIsRight = list.problems.length === 0;
  }

  async run(): Promise<void> {
    const regions = listRegions(this.#manifest);
    const total = this.#manifest.segments.reduce((sum, segment) => sum + segment.length, 0);
    let done = 0;
    let previousEnd: number | null = null;
    for (const [index, segment] of this.#manifest.segments.entries()) {
      const end = segment.offset + segment.length;
      // What does not lie in the file is reported already.
      if (end > this.#source.size) continue;
      if (previousEnd !== null) await this.#checkGap(previousEnd, segment);
      previousEnd = end;
      await this.#checkSegment(segment, regions[index]!, (bytes) => {
        done += bytes;
        this.#onProgress?.(done, total);
      });
      if (this.#list.full) return;
    }
  }

  /** Padding between two segments; a wrong amount of it is reported already. */
  async #checkGap(start: number, segment: Segment): Promise<void> {
    if (alignUp(start, LIMITS.segmentAlignment) !== segment.offset) return;
    const padding = await this.#source.read(start, segment.offset - start);
    if (padding.some((byte) => byte !== 0)) {
      const where = `padding before segment ${segment.name}`;
      this.#list.report('PADDING_NONZERO', where, 'padding between segments is not zero');
    }
  }

  async #checkSegment(
    segment: Segment,
    regions: readonly Region[],
    advance: (bytes: number) => void,
  ): Promise<void> {
    const chunks = Math.ceil(segment.length / LIMITS.chunkBytes);
    const readChunk = (chunk: number) => {
      const start = chunk * LIMITS.chunkBytes;
      const reading = this.#source.read(
        segment.offset + start,
        Math.min(LIMITS.chunkBytes, segment.length - start),
      );
      // It is awaited one turn later; a failure must not count as unhandled until then.
      reading.catch(() => {});
      return reading;
    };
    let first = 0;
    // The next chunk is read while this one is hashed.
    let pending = readChunk(0);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const bytes = await pending;
      if (chunk + 1 < chunks) pending = readChunk(chunk + 1);
      const hash = toHex(await sha256(bytes));
      const start = chunk * LIMITS.chunkBytes;
      if (hash !== segment.chunkHashes[chunk]) {
        const from = segment.offset + start;
        const where = `segment ${segment.name}, chunk ${chunk}, file bytes ${from} to ${from + bytes.length - 1}`;
        const message = `the chunk's SHA-256 is ${hash}, but the header says ${segment.chunkHashes[chunk]}`;
        this.#list.report('CHUNK_HASH', where, message, REMEDY_DAMAGED);
      }
      first = this.#checkChunk(segment, regions, first, bytes, start);
      advance(bytes.length);
      if (this.#list.full) {
        await pending.catch(() => {});
        return;
      }
    }
  }

  /** Checks values and padding of one chunk. Returns the first region that the next chunk can touch. */
  #checkChunk(
    segment: Segment,
    regions: readonly Region[],
    first: number,
    bytes: Uint8Array,
    start: number,
  ): number {
    const end = start + bytes.length;
    let at = start;
    let index = first;
    for (; index < regions.length && regions[index]!.offset < end; index++) {
      const region = regions[index]!;
      this.#checkPadding(segment, bytes.subarray(at - start, Math.max(at, region.offset) - start), at);
      const from = Math.max(start, region.offset);
      const to = Math.min(end, region.offset + region.length);
      if (region.tensor && to > from)
        this.#checkValues(region, bytes.subarray(from - start, to - start), from);
      at = Math.max(at, to);
      if (region.offset + region.length > end) return index;
    }
    this.#checkPadding(segment, bytes.subarray(at - start), at);
    return index;
  }

  #checkPadding(segment: Segment, bytes: Uint8Array, at: number): void {
    if (bytes.every((byte) => byte === 0)) return;
    const where = `segment ${segment.name}, from byte ${at}`;
    this.#list.report('PADDING_NONZERO', where, `${bytes.length} bytes between planes are not all zero`);
  }

  #checkValues(region: Region, bytes: Uint8Array, from: number): void {
    if (!this.#headerIsRight || this.#reported.has(region.where)) return;
    const problem = checkPlaneValues(region.tensor!, region.role, bytes, from - region.offset);
    if (!problem) return;
    this.#reported.add(region.where);
    this.#list.report(problem.code, region.where, problem.message);
  }
}
