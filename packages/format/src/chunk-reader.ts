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
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The padding before the segment, when this is its first chunk; bytes right before the chunk in its file. */
  readonly gap: Uint8Array<ArrayBuffer>;
}

interface Job extends Omit<DataChunk, 'bytes' | 'gap'> {
  readonly file: number;
  /** In the file. */
  readonly offset: number;
  readonly length: number;
  readonly gapLength: number;
}

/** Chunks that are read while the caller works on one. */
const READ_AHEAD = 2;

/**
 * Reads in three buffers of one chunk each: what it gives is good until the next is asked for. Segments that do not lie
 * in their file, or begin inside one before, are left out: no byte is read twice.
 * @throws DuobitError what the sources throw; a data file that cannot be had is left out when `onMissing` returns
 */
export async function* readChunks(
  manifest: Manifest,
  files: FileSet,
  onMissing: (error: DuobitError) => void,
): AsyncGenerator<DataChunk> {
  const sources = await openAll(manifest, files, onMissing);
  const jobs = listJobs(manifest, sources);
  // The chunk is at a fixed place, so that its words are aligned whatever the gap is.
  const largest = Math.min(LIMITS.chunkBytes, Math.max(0, ...manifest.segments.map(({ length }) => length)));
  const buffers = Array.from(
    { length: READ_AHEAD + 1 },
    () => new Uint8Array(LIMITS.segmentAlignment + largest),
  );
  const pending: Promise<DataChunk>[] = [];
  let started = 0;
  const startNext = (): void => {
    const { value: job } = jobs.next();
    if (!job) return;
    const reading = readJob(job, sources.get(job.file)!, buffers[started++ % buffers.length]!);
    // It is awaited some turns later; a failure must not count as unhandled until then.
    reading.catch(() => {});
    pending.push(reading);
  };
  for (let i = 0; i < READ_AHEAD; i++) startNext();
  for (let reading = pending.shift(); reading; reading = pending.shift()) {
    const current = await reading;
    // Into the buffer of the chunk before this one, which the caller is done with.
    startNext();
    yield current;
  }
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

async function readJob(job: Job, source: ByteSource, buffer: Uint8Array<ArrayBuffer>): Promise<DataChunk> {
  const { segment, chunk, start, offset, length, gapLength } = job;
  const begin = LIMITS.segmentAlignment;
  await readInto(source, offset - gapLength, buffer.subarray(begin - gapLength, begin + length));
  const gap = buffer.subarray(begin - gapLength, begin);
  return { segment, chunk, start, bytes: buffer.subarray(begin, begin + length), gap };
}
