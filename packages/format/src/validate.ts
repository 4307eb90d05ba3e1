// Whole validation: the header's rules, then every byte of data, in one pass over the files in bounded memory.
import { checkCanonicalHeader, checkCanonicalOrder } from './canonical.ts';
import { type DataChunk, readChunks } from './chunk-reader.ts';
import { FileSet, type OpenOptions } from './file-set.ts';
import { LIMITS } from './generated/limits.ts';
import { getHasher, type Hasher } from './hash-threads.ts';
import { type HeaderRead, readHeader } from './header-read.ts';
import type { Manifest } from './manifest.ts';
import { listRegions, type Region } from './places.ts';
import { checkPlaneRelations } from './plane-relations.ts';
import { checkPlaneValues, isZero } from './plane-values.ts';
import { type Problem, ProblemList, REMEDY_DAMAGED, type Report } from './problems.ts';
import { toHex } from './sha256.ts';
import { canStreamSha256, createSha256, type Sha256Stream } from './sha256-stream.ts';
import type { ByteSource } from './source.ts';
import { checkTokenizer } from './tokenizer-check.ts';

/** Options of `validateContainer`. */
export interface ValidateOptions extends OpenOptions {
  /** Read all data too: hashes, padding, values. Default true. */
  readonly deep?: boolean;
  /** Check too that the file is in canonical form. Default false. */
  readonly canonical?: boolean;
  /** Problems kept; default 100. */
  readonly maxProblems?: number;
  /** Called after each chunk, with bytes of segments. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** What `validateContainer` found. */
export interface ValidationReport {
  readonly ok: boolean;
  readonly problems: readonly Problem[];
  /** Problems found beyond `maxProblems`. */
  readonly dropped: number;
  /** What was passed over or could not be checked, as sentences. */
  readonly notes: readonly string[];
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
  const notes: string[] = [];
  let read: HeaderRead | null = null;
  let files: FileSet | null = null;
  try {
    read = await readHeader(source, list.report);
    if (read) {
      const { manifest } = read;
      if (manifest.compatibleFeatures.length > 0) {
        notes.push(
          `compatible features ${manifest.compatibleFeatures.join(', ')} are not known and were ignored`,
        );
      }
      const headerIsRight = list.problems.length === 0;
      if (options.canonical) checkCanonical(read, list, notes);
      files = new FileSet(source, manifest.dataFiles, options);
      if (options.deep ?? true) {
        const validator = new DataValidator(manifest, files, list, notes, headerIsRight, options.onProgress);
        await validator.run().finally(() => validator.release());
      }
    }
  } catch (error) {
    list.reportError(error, source.name);
  } finally {
    await files?.close();
  }
  const { problems, dropped } = list;
  return { ok: problems.length === 0, problems, dropped, notes, manifest: read?.manifest ?? null };
}

function checkCanonical({ manifest, header }: HeaderRead, list: ProblemList, notes: string[]): void {
  const { major, minor } = manifest.formatVersion;
  if (list.problems.length > 0) {
    notes.push('canonical form was not checked, as the header has problems');
  } else if (minor > LIMITS.formatMinor) {
    notes.push(`canonical form was not checked: version ${major}.${minor} is newer than this release`);
  } else {
    checkCanonicalHeader(manifest, header, list.report);
    checkCanonicalOrder(manifest, list.report);
  }
}

class DataValidator {
  readonly #manifest: Manifest;
  readonly #files: FileSet;
  readonly #list: ProblemList;
  readonly #notes: string[];
  readonly #onProgress: ValidateOptions['onProgress'];
  /** Values and padding are only looked at where the header says right what is where. */
  readonly #headerIsRight: boolean;
  readonly #regions: readonly Region[][];
  readonly #totalBytes: number;
  readonly #hasher: Hasher;
  /** Planes with a value problem already: one report each is enough. */
  readonly #reported = new Set<Region>();
  /** Whole-file hash of the data file that is being read. */
  #fileHash: { readonly file: number; readonly stream: Sha256Stream } | null = null;
  /** First region of the current segment that the next chunk can touch. */
  #nextRegion = 0;

  constructor(
    manifest: Manifest,
    files: FileSet,
    list: ProblemList,
    notes: string[],
    headerIsRight: boolean,
    onProgress: ValidateOptions['onProgress'],
  ) {
    this.#manifest = manifest;
    this.#files = files;
    this.#list = list;
    this.#notes = notes;
    this.#onProgress = onProgress;
    this.#headerIsRight = headerIsRight;
    this.#regions = listRegions(manifest);
    this.#totalBytes = manifest.segments.reduce((sum, segment) => sum + segment.length, 0);
    this.#hasher = getHasher(headerIsRight ? this.#totalBytes : 0);
  }

  async run(): Promise<void> {
    const { dataFiles } = this.#manifest;
    if (dataFiles.length > 0 && !canStreamSha256()) {
      this.#notes.push('whole hashes of data files were not checked here; those of their chunks were');
    }
    let complete = true;
    const missing = (error: unknown) => {
      complete = false;
      this.#list.reportError(error, 'data files');
    };
    let done = 0;
    let previous: Inspection | null = null;
    for await (const data of readChunks(this.#manifest, this.#files, missing, (length) =>
      this.#hasher.allocate(length),
    )) {
      // Where hashing is done elsewhere, this chunk is looked at while the one before is hashed, whose memory is then
      // still what it was.
      const inspection = this.#inspect(data);
      if (previous) await this.#conclude(previous);
      previous = inspection;
      done += data.bytes.length;
      this.#onProgress?.(done, this.#totalBytes);
      if (this.#list.full) break;
    }
    const late: Inspection = { hashes: [], found: [] };
    this.#endFileHash(late);
    if (!this.#list.full)
      await checkTokenizer(this.#manifest, this.#files, (...problem) => late.found.push(problem));
    if (previous) await this.#conclude(previous);
    await this.#conclude(late);
    if (this.#headerIsRight && complete && !this.#list.full) await this.#checkRelations();
  }

  release(): void {
    this.#hasher.release();
  }

  /** Looks at all bytes and begins their hash before it returns. */
  #inspect(data: DataChunk): Inspection {
    const { segment: index, chunk, start, bytes, gap } = data;
    const segment = this.#manifest.segments[index]!;
    const inspection: Inspection = { hashes: [], found: [] };
    const report: Report = (...problem) => inspection.found.push(problem);
    if (this.#fileHash?.file !== segment.file) {
      this.#endFileHash(inspection);
      const wanted = segment.file > 0 && this.#headerIsRight && canStreamSha256();
      this.#fileHash = wanted ? { file: segment.file, stream: createSha256() } : null;
    }
    const from = segment.offset + start;
    inspection.hashes.push({
      code: 'CHUNK_HASH',
      what: 'the chunk',
      where: `segment ${segment.name}, chunk ${chunk}, file bytes ${from} to ${from + bytes.length - 1}`,
      expected: segment.chunkHashes[chunk]!,
      hash: settleLater(this.#hasher.hash(bytes)),
    });
    this.#fileHash?.stream.update(gap);
    this.#fileHash?.stream.update(bytes);
    if (!this.#headerIsRight) return inspection;
    if (!isZero(gap)) {
      const where = `padding before segment ${segment.name}`;
      report('PADDING_NONZERO', where, 'padding between segments is not zero');
    }
    if (chunk === 0) this.#nextRegion = 0;
    this.#checkRegions(this.#regions[index]!, segment.name, bytes, start, report);
    return inspection;
  }

  #endFileHash({ hashes }: Inspection): void {
    if (!this.#fileHash) return;
    const { file, stream } = this.#fileHash;
    const { name, sha256 } = this.#manifest.dataFiles[file - 1]!;
    const hash = settleLater(stream.digest());
    hashes.push({
      code: 'DATA_FILE_HASH',
      what: 'the file',
      where: `data file ${name}`,
      expected: sha256,
      hash,
    });
    this.#fileHash = null;
  }

  async #conclude({ hashes, found }: Inspection): Promise<void> {
    for (const { code, what, where, expected, hash } of hashes) {
      const actual = toHex(await hash);
      const message = `${what}'s SHA-256 is ${actual}, but the header says ${expected}`;
      if (actual !== expected) this.#list.report(code, where, message, REMEDY_DAMAGED);
    }
    for (const problem of found) this.#list.report(...problem);
  }

  /** Checks values and padding of one chunk, from the first region on that it can touch. */
  #checkRegions(
    regions: readonly Region[],
    segment: string,
    bytes: Uint8Array,
    start: number,
    report: Report,
  ): void {
    const end = start + bytes.length;
    let at = start;
    const checkPadding = (to: number): void => {
      const padding = bytes.subarray(at - start, Math.max(at, to) - start);
      if (isZero(padding)) return;
      const message = `${padding.length} bytes between planes are not all zero`;
      report('PADDING_NONZERO', `segment ${segment}, from byte ${at}`, message);
    };
    for (; this.#nextRegion < regions.length; this.#nextRegion++) {
      const region = regions[this.#nextRegion]!;
      if (region.offset >= end) break;
      checkPadding(region.offset);
      const from = Math.max(start, region.offset);
      const to = Math.min(end, region.offset + region.length);
      if (to > from) this.#checkValues(region, bytes.subarray(from - start, to - start), from, report);
      at = Math.max(at, to);
      if (region.offset + region.length > end) return;
    }
    checkPadding(end);
  }

  #checkValues(region: Region, bytes: Uint8Array, from: number, report: Report): void {
    if (!region.tensor || this.#reported.has(region)) return;
    const problem = checkPlaneValues(region.tensor, region.role, bytes, from - region.offset);
    if (!problem) return;
    this.#reported.add(region);
    report(problem.code, region.where, problem.message);
  }

  /**
   * What planes say of each other is looked at in a pass of its own, as they do not lie side by side; only in tensors
   * whose values are right.
   */
  async #checkRelations(): Promise<void> {
    const faulty = new Set([...this.#reported].map((region) => region.tensor));
    for (const tensor of this.#manifest.tensors) {
      if (faulty.has(tensor)) continue;
      const problem = await checkPlaneRelations(tensor, async (role, offset, length) => {
        const plane = tensor.planes.find((candidate) => candidate.role === role)!;
        const segment = this.#manifest.segments[plane.segment]!;
        const source = await this.#files.get(segment.file);
        return source.read(segment.offset + plane.offset + offset, length);
      });
      if (!problem) continue;
      this.#list.report(problem.code, `tensor ${tensor.name}, plane ${problem.role}`, problem.message);
    }
  }
}

/** What was found in a chunk. Its hashes may still be under way; what they say is reported first. */
interface Inspection {
  readonly hashes: {
    readonly code: string;
    readonly what: string;
    readonly where: string;
    readonly expected: string;
    readonly hash: Promise<Uint8Array>;
  }[];
  readonly found: Parameters<Report>[];
}

/** A failure of a promise that is awaited only later must not count as unhandled until then. */
function settleLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
