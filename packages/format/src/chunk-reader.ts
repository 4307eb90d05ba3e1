// All data of a container in file order, chunk by chunk, the next ones being read while the caller works on this one.
import { DuobitError } from './errors.ts';
import type { FileSet } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import type { Manifest } from './manifest.ts';
import { alignUp } from './preamble.ts';
import { isDataFileName } from './rules.ts';
import { type ByteSource, readInto } from './source.ts';

export interface DataChunk {
  /** Index in `Manifest.segments`. */
  readonly segment: number;
  readonly chunk: number;
  /** Of the chunk in its segment. */
  readonly start: number;
  readonly bytes: Uint8Array;
  /** The padding before the segment, when this is its first chunk; bytes right before the chunk in its file. */
  readonly gap: Uint8Array;
}

interface Job extends Omit<DataChunk, 'bytes' | 'gap'> {
  readonly file: number;
  /** In the file. */
  readonly offset: number;
  readonly length: number;
  readonly gapLength: number;
}

/** Reads that are under way while the caller works on what came. */
const READ_AHEAD = 2;

/** Buffers with what came last, and what came before. */
const KEPT = 2;

/**
 * Reads in four buffers of one chunk's size each: what it gives is good until the next but one is asked for. Small
 * chunks that lie together are read together. Segments that do not lie in their file, or begin inside one before, are
 * left out: no byte is read twice.
 * @throws DuobitError what the sources throw; a data file that cannot be had is left out when `onMissing` returns
 */
export async function* readChunks(
  manifest: Manifest,
  files: FileSet,
  onMissing: (error: DuobitError) => void,
  allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): AsyncGenerator<DataChunk> {
  const sources = await openAll(manifest, files, onMissing);
  const capacity = Math.min(LIMITS.chunkBytes, measureData(manifest));
  const groups = groupJobs(listJobs(manifest, sources), capacity);
  // The first chunk is at a fixed place, so that the words of all are aligned whatever the gap is.
  const buffers = Array.from({ length: READ_AHEAD + KEPT }, () =>
    allocate(LIMITS.segmentAlignment + capacity),
  );
  const pending: Promise<DataChunk[]>[] = [];
  let started = 0;
  const startNext = (): void => {
    const { value: group } = groups.next();
    if (!group) return;
    const reading = readGroup(group, sources.get(group[0].file)!, buffers[started++ % buffers.length]!);
    // It is awaited some turns later; a failure must not count as unhandled until then.
    reading.catch(() => {});
    pending.push(reading);
  };
  for (let i = 0; i < READ_AHEAD; i++) startNext();
  try {
    for (let reading = pending.shift(); reading; reading = pending.shift()) {
      const chunks = await reading;
      // Into the oldest buffer, which the caller is done with.
      startNext();
      yield* chunks;
    }
  } finally {
    // The memory is the caller's again.
    await Promise.allSettled(pending);
  }
}

/** Bytes of all segments with the padding before them, at most. */
function measureData({ segments }: Manifest): number {
  return segments.reduce((sum, { length }) => sum + length + LIMITS.segmentAlignment, 0);
}

async function openAll(
  manifest: Manifest,
  files: FileSet,
  onMissing: (error: DuobitError) => void,
): Promise<ReadonlyMap<number, ByteSource>> {
  const sources = new Map<number, ByteSource>();
  for (let file = 0; file <= manifest.dataFiles.length; file++) {
    // A name that is none is reported already, and must not be looked for.
    if (file > 0 && !isDataFileName(manifest.dataFiles[file - 1]!.name)) continue;
    try {
      sources.set(file, await files.get(file));
    } catch (error) {
      if (!(error instanceof DuobitError)) throw error;
      onMissing(error);
    }
  }
  return sources;
}

function* listJobs(
  { segments }: Manifest,
  sources: ReadonlyMap<number, ByteSource>,
): Generator<Job, undefined> {
  /** Of what was read so far, by file. */
  const ends = new Map<number, number>();
  for (const [index, { file, offset, length }] of segments.entries()) {
    const size = sources.get(file)?.size ?? 0;
    const end = ends.get(file) ?? offset;
    if (length > size || offset > size - length || offset < end) continue;
    ends.set(file, offset + length);
    const gap = alignUp(end, LIMITS.segmentAlignment) === offset ? offset - end : 0;
    for (let start = 0; start < length; start += LIMITS.chunkBytes) {
      yield {
        segment: index,
        chunk: start / LIMITS.chunkBytes,
        start,
        file,
        offset: offset + start,
        length: Math.min(LIMITS.chunkBytes, length - start),
        gapLength: start === 0 ? gap : 0,
      };
    }
  }
}

/** One or more jobs that lie one after the other in one file. */
type Group = [Job, ...Job[]];

function* groupJobs(jobs: Iterable<Job>, capacity: number): Generator<Group, undefined> {
  let group: Group | null = null;
  for (const job of jobs) {
    const last = group?.at(-1);
    const joins =
      group &&
      last?.file === job.file &&
      last.offset + last.length === job.offset - job.gapLength &&
      job.offset + job.length - group[0].offset <= capacity;
    if (group && joins) {
      group.push(job);
    } else {
      if (group) yield group;
      group = [job];
    }
  }
  if (group) yield group;
}

async function readGroup(group: Group, source: ByteSource, buffer: Uint8Array): Promise<DataChunk[]> {
  const [first] = group;
  const last = group.at(-1)!;
  /** From places in the file to places in the buffer. */
  const shift = LIMITS.segmentAlignment - first.offset;
  const begin = first.offset - first.gapLength;
  await readInto(source, begin, buffer.subarray(begin + shift, last.offset + last.length + shift));
  return group.map(({ segment, chunk, start, offset, length, gapLength }) => {
    const at = offset + shift;
    const gap = buffer.subarray(at - gapLength, at);
    return { segment, chunk, start, bytes: buffer.subarray(at, at + length), gap };
  });
}
