// All chunks of a model in the order of its files, which is the order of first use, numbered through.
import { LIMITS } from './generated/limits.ts';
import type { Manifest } from './manifest.ts';

/** Where a chunk lies and what its hash is. */
export interface ChunkPlace {
  readonly number: number;
  /** Index in `Manifest.segments`. */
  readonly segment: number;
  /** Index in the segment. */
  readonly chunk: number;
  /** 0: the container's own; i: data file i - 1. */
  readonly file: number;
  /** In the file. */
  readonly offset: number;
  readonly length: number;
  /** Bytes of padding between what is before it in its file and the chunk. */
  readonly gap: number;
}

/** All chunks of a container, in the order of its files. */
export class ChunkPlaces {
  /** The header with the padding behind it. */
  readonly headerBytes: number;
  readonly all: readonly ChunkPlace[];
  /** Of the chunks of each segment, the number of the first. */
  readonly #firsts: readonly number[];

  constructor(manifest: Manifest) {
    const all: ChunkPlace[] = [];
    const firsts: number[] = [];
    const { headerLength, fileLength } = manifest;
    this.headerBytes = Math.min(
      fileLength,
      LIMITS.segmentAlignment * Math.ceil(headerLength / LIMITS.segmentAlignment),
    );
    let [file, end] = [0, this.headerBytes];
    for (const [segment, { file: own, offset: start, length: size }] of manifest.segments.entries()) {
      firsts.push(all.length);
      if (own !== file) [file, end] = [own, 0];
      for (let at = 0; at < size; at += LIMITS.chunkBytes) {
        const [offset, length] = [start + at, Math.min(LIMITS.chunkBytes, size - at)];
        const chunk = at / LIMITS.chunkBytes;
        all.push({ number: all.length, segment, chunk, file, offset, length, gap: offset - end });
        end = offset + length;
      }
    }
    this.all = all;
    this.#firsts = firsts;
  }

  /** A chunk by its number in its segment. */
  get(segment: number, chunk: number): ChunkPlace {
    return this.all[this.#firsts[segment]! + chunk]!;
  }

  /** The longest run of chunks of one file, one behind the other, that begins with the first wanted one from `from` on. */
  nextRun(from: number, wanted: ReadonlySet<number>): readonly ChunkPlace[] {
    let first = from;
    while (first < this.all.length && !wanted.has(first)) first++;
    let end = first;
    while (end < this.all.length && wanted.has(end) && this.all[end]!.file === this.all[first]!.file) end++;
    return this.all.slice(first, end);
  }
}
