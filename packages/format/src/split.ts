// A container in one file <-> one in several. Only the header is made anew: every segment is copied as it is, after its
// hashes were checked, so that a container that was split and merged is the same bytes again.
import { checkCanonicalHeader, toHeaderContent } from './canonical.ts';
import { readChunks } from './chunk-reader.ts';
import { DuobitError } from './errors.ts';
import { FileSet, type OpenOptions } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import { encodeHeader, type HeaderContent, type StoredSegment } from './header-encode.ts';
import { readHeader } from './header-read.ts';
import type { Manifest } from './manifest.ts';
import { checkLayout } from './places.ts';
import { isZero } from './plane-values.ts';
import { alignUp, HASH_OFFSET } from './preamble.ts';
import { REMEDY_DAMAGED, REMEDY_UPDATE, throwProblems } from './problems.ts';
import { checkManifest } from './rules.ts';
import { sha256, toHex } from './sha256.ts';
import { createSha256, type Sha256Stream } from './sha256-stream.ts';
import type { ByteSink } from './sink.ts';
import type { ByteSource } from './source.ts';
import type { ContainerSummary } from './writer.ts';

/** Options of `mergeContainer`. */
export interface MergeOptions extends OpenOptions {
  /** Called after each chunk, with bytes of segments. What it throws ends the work. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** Options of `splitContainer`. */
export interface SplitOptions extends MergeOptions {
  readonly maxDataFileBytes: number;
  /** Name of data file `index` of `count`, counted from 1. */
  readonly dataFileName: (index: number, count: number) => string;
}

/** Opens the sink of a data file, or for null that of the header file. */
export type OpenSink = (dataFileName: string | null) => Promise<ByteSink>;

/**
 * Writes a header file with the assets, and data files with the weights, as many segments in each as fit. In memory are
 * three chunks. The header file is finished last; on any failure all sinks are aborted. The source stays open.
 * @throws DuobitError `DATA_FILE_TOO_SMALL` when a segment alone is larger than a file may be, `CANONICAL_HEADER` when
 *   the header could not be restored, `DATA_FILE_NAME`, `LIMIT_EXCEEDED`, any code of docs/format.md, "Validation",
 *   steps 1 to 5, `CHUNK_HASH`, `PADDING_NONZERO`, or what sources and sinks throw
 */
export async function splitContainer(
  source: ByteSource,
  openSink: OpenSink,
  options: SplitOptions,
): Promise<ContainerSummary> {
  const manifest = await readRestorable(source);
  const files = assignFiles(manifest, options.maxDataFileBytes, source.name);
  const count = files.at(-1)!;
  if (count > LIMITS.maxDataFiles) {
    const message = `there would be ${count} data files; at most ${LIMITS.maxDataFiles} are allowed`;
    throw new DuobitError('LIMIT_EXCEEDED', message, { source: source.name, remedy: 'Allow larger files' });
  }
  const names = Array.from({ length: count }, (_, i) => options.dataFileName(i + 1, count));
  return copyContainer(source, manifest, files, names, openSink, options);
}

/**
 * Writes one file from a header file and its data files. On any failure the sink is aborted. The source stays open.
 * @throws DuobitError `CANONICAL_HEADER`, `DATA_FILE_MISSING`, `DATA_FILE_LENGTH` and others as `splitContainer`
 */
export async function mergeContainer(
  source: ByteSource,
  sink: ByteSink,
  options: MergeOptions = {},
): Promise<ContainerSummary> {
  try {
    const manifest = await readRestorable(source);
    const files = manifest.segments.map(() => 0);
    return await copyContainer(source, manifest, files, [], async () => sink, options);
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** A manifest that says everything its header says, so that nothing is lost when the header is made anew. */
async function readRestorable(source: ByteSource): Promise<Manifest> {
  const report = throwProblems(source.name);
  const read = await readHeader(source, report);
  // Unreachable: what is missing was reported, and reporting throws.
  if (!read)
    throw new DuobitError('INTERNAL', 'a header was refused without a reason', { source: source.name });
  const { major, minor } = read.manifest.formatVersion;
  if (minor > LIMITS.formatMinor) {
    const message = `the header is of version ${major}.${minor} and may hold what this release does not know`;
    report('CANONICAL_HEADER', 'header', message, REMEDY_UPDATE);
  }
  checkCanonicalHeader(read.manifest, read.header, report);
  return read.manifest;
}

/** The file of every segment: 0 for the first ones without weights, then as many in each data file as fit. */
function assignFiles(manifest: Manifest, most: number, source: string): number[] {
  const largest = manifest.segments.reduce((most, { length }) => Math.max(most, length), 0);
  if (!(most >= largest)) {
    const message = `a data file may have ${most} bytes, but a segment has ${largest} and is never cut`;
    throw new DuobitError('DATA_FILE_TOO_SMALL', message, {
      source,
      remedy: `Allow files of ${largest} bytes or more`,
    });
  }
  let firstWithWeights = manifest.segments.length;
  for (const { planes } of manifest.tensors) {
    for (const { segment } of planes) firstWithWeights = Math.min(firstWithWeights, segment);
  }
  let file = 0;
  let end = 0;
  return manifest.segments.map(({ length }, index) => {
    if (index < firstWithWeights) return 0;
    const begin = alignUp(end, LIMITS.segmentAlignment);
    if (file === 0 || begin + length > most) {
      file += 1;
      end = length;
    } else end = begin + length;
    return file;
  });
}

interface Target {
  readonly sink: ByteSink;
  readonly hash: Sha256Stream;
  /** Bytes of segments and their padding so far. */
  end: number;
}

async function copyContainer(
  source: ByteSource,
  manifest: Manifest,
  files: readonly number[],
  names: readonly string[],
  openSink: OpenSink,
  options: MergeOptions,
): Promise<ContainerSummary> {
  const plan = planFiles(manifest, files, names, source.name);
  const input = new FileSet(source, manifest.dataFiles, options);
  const targets: Target[] = [];
  const open = async (name: string | null) => {
    targets.push({ sink: await openSink(name), hash: createSha256(), end: 0 });
  };
  try {
    await open(null);
    for (const name of names) await open(name);
    await copySegments(manifest, input, plan, targets, options);
    const dataFiles: HeaderContent['dataFiles'][number][] = [];
    for (const [i, file] of plan.content.dataFiles.entries()) {
      dataFiles.push({ ...file, sha256: toHex(await targets[i + 1]!.hash.digest()) });
    }
    const { segmentBase, fileLength, headerLength } = plan;
    const header = encodeHeader({ ...plan.content, dataFiles }, segmentBase, fileLength);
    const hash = await sha256(header);
    header.set(hash, HASH_OFFSET);
    const [own, ...others] = targets;
    await own!.sink.write(0, header);
    await own!.sink.write(headerLength, new Uint8Array(segmentBase - headerLength));
    for (const { sink } of others) await sink.finish();
    await own!.sink.finish();
    return { fileLength, headerLength, headerSha256: toHex(hash) };
  } catch (error) {
    for (const { sink } of targets) await sink.abort();
    throw error;
  } finally {
    await input.close();
  }
}

interface FilePlan {
  /** Hashes of data files are zero yet; the header's length does not depend on them. */
  readonly content: HeaderContent;
  readonly headerLength: number;
  readonly segmentBase: number;
  readonly fileLength: number;
}

function planFiles(
  manifest: Manifest,
  files: readonly number[],
  names: readonly string[],
  source: string,
): FilePlan {
  const ends = [0, ...names.map(() => 0)];
  const segments = toHeaderContent(manifest).segments.map((segment, i): StoredSegment => {
    const file = files[i]!;
    const offset = alignUp(ends[file]!, LIMITS.segmentAlignment);
    ends[file] = offset + segment.length;
    return { ...segment, file, offset };
  });
  const dataFiles = names.map((name, i) => ({ name, length: ends[i + 1]!, sha256: '0'.repeat(64) }));
  const content = { ...toHeaderContent(manifest), segments, dataFiles };
  const headerLength = encodeHeader(content, 0, 0).length;
  const segmentBase = alignUp(headerLength, LIMITS.segmentAlignment);
  const fileLength = segmentBase + ends[0]!;
  const planned: Manifest = {
    ...manifest,
    dataFiles,
    headerLength,
    fileLength,
    segments: segments.map((segment, i) => ({
      ...manifest.segments[i]!,
      file: segment.file,
      offset: segment.file === 0 ? segmentBase + segment.offset : segment.offset,
    })),
  };
  checkManifest(planned, throwProblems(source));
  checkLayout(planned, segmentBase, throwProblems(source));
  return { content, headerLength, segmentBase, fileLength };
}

async function copySegments(
  manifest: Manifest,
  input: FileSet,
  { content, segmentBase }: FilePlan,
  targets: readonly Target[],
  { onProgress }: MergeOptions,
): Promise<void> {
  const total = manifest.segments.reduce((sum, segment) => sum + segment.length, 0);
  const rethrow = (error: DuobitError): never => {
    throw error;
  };
  let done = 0;
  for await (const { segment: index, chunk, start, bytes, gap } of readChunks(manifest, input, rethrow)) {
    const { name, chunkHashes } = manifest.segments[index]!;
    const where = `segment ${name}, chunk ${chunk}`;
    const report = throwProblems((await input.get(manifest.segments[index]!.file)).name);
    const hash = toHex(await sha256(bytes));
    if (hash !== chunkHashes[chunk]) {
      const message = `the chunk's SHA-256 is ${hash}, but the header says ${chunkHashes[chunk]}`;
      report('CHUNK_HASH', where, message, REMEDY_DAMAGED);
    }
    if (!isZero(gap)) {
      report('PADDING_NONZERO', `padding before ${where}`, 'padding between segments is not zero');
    }
    const { file, offset } = content.segments[index]!;
    const target = targets[file]!;
    const base = file === 0 ? segmentBase : 0;
    const padding = new Uint8Array(offset + start - target.end);
    for (const part of [padding, bytes]) {
      if (part.length === 0) continue;
      await target.sink.write(base + target.end, part);
      if (file > 0) target.hash.update(part);
      target.end += part.length;
    }
    done += bytes.length;
    onProgress?.(done, total);
  }
}
