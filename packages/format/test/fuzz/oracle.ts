// What must hold for any bytes at all: a reader refuses them with a documented code, or what it gives is what they
// say. Works without the reader's own checks: hashes and places are computed again here.
import { createHash } from 'node:crypto';
import {
  type ByteSource,
  type Container,
  DuobitError,
  decodeTensor,
  elementCount,
  LIMITS,
  type Manifest,
  openContainer,
  type Segment,
  toHex,
  type ValidationReport,
  validateContainer,
} from '@duobit/format';
import { HASH_BYTES, HASH_OFFSET } from '../../src/preamble.ts';
import type { GoodFile } from './good-files.ts';
import type { Arena } from './mutate.ts';

/** A broken promise of the reader: what the fuzzer looks for. */
export class FuzzFailure extends Error {}

/** How a case ended. */
export interface Outcome {
  /** The code of opening or of reading, or 'accepted'; null when it was not opened. */
  readonly opened: string | null;
  /** Every code of validation; null when it was not validated. */
  readonly codes: readonly string[] | null;
}

/** Reads one case may make, and bytes as a multiple of the file: what stands in for a limit of time. */
const MOST_READS = 400;
const MOST_BYTES_FACTOR = 24;

/** Bytes on either side of what a read gives, in the same buffer; a multiple of every alignment. */
const GUARD_BYTES = 1024;

/**
 * Gives each range in a larger buffer, so that a reader that looks past what it asked for sees the guard bytes there.
 * Counts, so that a reader that never ends is stopped.
 */
class GuardedSource implements ByteSource {
  readonly name = 'mutant';
  readonly size: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #guard: number;
  #reads = 0;
  #bytesRead = 0;

  constructor(bytes: Uint8Array<ArrayBuffer>, guard: number) {
    this.#bytes = bytes;
    this.#guard = guard;
    this.size = bytes.length;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0)) {
      throw new FuzzFailure(`read of ${length} bytes at ${offset}`);
    }
    // A reader knows the size, so it has no reason to ask for more.
    if (offset + length > this.size) throw new FuzzFailure(`read of ${length} at ${offset} of ${this.size}`);
    this.#reads += 1;
    this.#bytesRead += length;
    if (this.#reads > MOST_READS || this.#bytesRead > MOST_BYTES_FACTOR * (this.size + 4096)) {
      throw new FuzzFailure(`${this.#reads} reads of ${this.#bytesRead} bytes in one case`);
    }
    const guarded = new Uint8Array(length + 2 * GUARD_BYTES);
    guarded.fill(this.#guard, 0, GUARD_BYTES);
    guarded.set(this.#bytes.subarray(offset, offset + length), GUARD_BYTES);
    guarded.fill(this.#guard, GUARD_BYTES + length);
    return guarded.subarray(GUARD_BYTES, GUARD_BYTES + length);
  }

  async close(): Promise<void> {}
}

export interface CheckOptions {
  /** The good file that was damaged. */
  readonly file: GoodFile;
  /** Every code that docs/errors.md lists. */
  readonly knownCodes: ReadonlySet<string>;
  /** Whether these bytes are known to be as a writer made them. */
  readonly pristine: boolean;
  /** Whether a hash is known to be wrong, so that nothing may accept the whole. */
  readonly mustRefuse: boolean;
  /** Both readers; or one of them, and the other only where that one accepts. */
  readonly readers: 'both' | 'open' | 'validate';
  /** Run a second time with other guard bytes, and compare. */
  readonly twice: boolean;
}

/** Runs the readers over what the arena holds. @throws FuzzFailure, or whatever a reader should not have thrown */
export async function checkCase(arena: Arena, options: CheckOptions): Promise<Outcome> {
  const first = await runReaders(arena.bytes, 0xa5, options);
  if (options.twice || first.outcome.codes?.length === 0) {
    const second = await runReaders(arena.bytes, 0x5a, options);
    if (first.fingerprint() !== second.fingerprint()) {
      throw new FuzzFailure('the result depends on bytes outside the file');
    }
  }
  return first.outcome;
}

interface Run {
  readonly outcome: Outcome;
  /** Everything that came out, as text. */
  readonly fingerprint: () => string;
}

async function runReaders(
  bytes: Uint8Array<ArrayBuffer>,
  guard: number,
  options: CheckOptions,
): Promise<Run> {
  const { knownCodes, readers } = options;
  const beside = openBeside(options.file, guard);
  const report = readers === 'open' ? null : await validateContainer(new GuardedSource(bytes, guard), beside);
  if (report) {
    checkReport(report, knownCodes);
    if (report.ok && options.mustRefuse)
      throw new FuzzFailure('accepted, though a hash or a length is wrong');
    if (!report.ok && options.pristine) throw new FuzzFailure(`a good file: ${report.problems[0]?.code}`);
    if (report.ok) checkHashes(bytes, options.file, report.manifest!);
  }
  const hashes: string[] = [];
  const whole = readers === 'both' || report?.ok === true;
  const opened =
    readers === 'validate' && !whole ? null : await openAndRead(bytes, guard, report, options, hashes);
  if (report?.ok && opened !== 'accepted') throw new FuzzFailure(`valid, but reading gives ${opened}`);
  if (options.mustRefuse && opened === 'accepted' && !report)
    throw new FuzzFailure('read without a complaint');
  const codes = report ? [...new Set(report.problems.map(({ code }) => code))] : null;
  return { outcome: { opened, codes }, fingerprint: () => JSON.stringify([report, opened, hashes]) };
}

/** Opens the file and reads all there is. Returns the code of the first refusal, or 'accepted'. */
async function openAndRead(
  bytes: Uint8Array<ArrayBuffer>,
  guard: number,
  report: ValidationReport | null,
  { knownCodes, readers, file }: CheckOptions,
  hashes: string[],
): Promise<string> {
  let container: Container | null = null;
  const code = await codeOf(knownCodes, async () => {
    container = await openContainer(new GuardedSource(bytes, guard), openBeside(file, guard));
  });
  // Both read the header by the same rules, so the first problem is the one that opening throws.
  if (report && code !== 'accepted' && report.problems[0]?.code !== code) {
    throw new FuzzFailure(`opening gives ${code}, validation first ${report.problems[0]?.code}`);
  }
  if (!container) return code;
  const open: Container = container;
  return codeOf(knownCodes, () => readEverything(open, bytes, file, hashes, readers === 'open'));
}

function checkReport(report: ValidationReport, knownCodes: ReadonlySet<string>): void {
  if (report.ok !== (report.problems.length === 0)) throw new FuzzFailure('ok and problems disagree');
  if (report.ok && !report.manifest) throw new FuzzFailure('ok without a manifest');
  for (const { code, where, message, remedy } of report.problems) {
    checkCode(code, knownCodes);
    if (!where || !message || !remedy) throw new FuzzFailure(`${code} lacks a place, a message or a remedy`);
    if (message.length + where.length > 4000)
      throw new FuzzFailure(`${code} has a message of ${message.length}`);
  }
}

function checkCode(code: string, knownCodes: ReadonlySet<string>): void {
  if (code === 'INTERNAL' || !knownCodes.has(code)) throw new FuzzFailure(`undocumented code ${code}`);
}

async function codeOf(knownCodes: ReadonlySet<string>, run: () => Promise<void>): Promise<string> {
  try {
    await run();
    return 'accepted';
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    checkCode(error.code, knownCodes);
    if (!error.remedy) throw new FuzzFailure(`${error.code} lacks a remedy`);
    return error.code;
  }
}

/** Reads all tensors and assets; every array is exactly the file's bytes at its place. */
async function readEverything(
  container: Container,
  bytes: Uint8Array<ArrayBuffer>,
  file: GoodFile,
  hashes: string[],
  stopEarly: boolean,
): Promise<void> {
  const { manifest } = container;
  const expectBytes = (got: Uint8Array, place: { segment: number; offset: number; length: number }) => {
    const segment = manifest.segments[place.segment]!;
    const from = segment.offset + place.offset;
    const expected = listFiles(bytes, file, manifest)[segment.file]!.subarray(from, from + place.length);
    if (got.byteOffset !== 0 || got.buffer.byteLength !== place.length || got.length !== place.length) {
      throw new FuzzFailure(
        `an array of ${got.length} bytes at ${got.byteOffset} of ${got.buffer.byteLength}`,
      );
    }
    if (Buffer.compare(got, expected) !== 0) throw new FuzzFailure('an array is not what the file has there');
  };
  // Damage in one tensor hides nothing in the next: all are read, and the first refusal counts.
  let refusal: unknown;
  const refuse = (error: unknown) => {
    if (stopEarly || !(error instanceof DuobitError)) throw error;
    refusal ??= error;
  };
  for (const { role, ...place } of manifest.assets) {
    if (role.startsWith('unknown-')) continue;
    try {
      const asset = await container.readAsset(role as Parameters<Container['readAsset']>[0]);
      if (!asset) throw new FuzzFailure(`asset ${role} is listed, but not found`);
      expectBytes(asset, place);
    } catch (error) {
      refuse(error);
    }
  }
  for (const name of container.tensorNames) {
    const info = container.tensorInfo(name);
    if (info.encoding.kind === 'unknown') continue;
    try {
      const tensor = await container.readTensor(name);
      for (const plane of info.planes) {
        expectBytes(tensor.planes[plane.role as keyof typeof tensor.planes]!, plane);
      }
      const values = decodeTensor(tensor);
      if (values.length !== elementCount(info.shape))
        throw new FuzzFailure(`${name}: ${values.length} values`);
      hashes.push(digest(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));
    } catch (error) {
      refuse(error);
    }
  }
  await container.close();
  if (refusal) throw refusal;
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The bytes of the container's own file and of its data files, in the order of the manifest. */
function listFiles(
  bytes: Uint8Array<ArrayBuffer>,
  file: GoodFile,
  manifest: Manifest,
): Uint8Array<ArrayBuffer>[] {
  return [bytes, ...manifest.dataFiles.map(({ name }) => file.beside.get(name) ?? new Uint8Array(0))];
}

/** How the readers find data files: with guards, like the mutant, and none but those there are. */
function openBeside(
  { beside }: GoodFile,
  guard: number,
): { openDataFile: (name: string) => Promise<ByteSource> } {
  return {
    async openDataFile(name) {
      const bytes = beside.get(name);
      if (bytes) return new GuardedSource(bytes, guard);
      throw new DuobitError('SOURCE_MISSING', 'there is no such file', {
        source: name,
        remedy: 'Check the path',
      });
    },
  };
}

/** An accepted file, looked at anew: every hash is right, every byte belongs to something, the rest is zero. */
function checkHashes(bytes: Uint8Array<ArrayBuffer>, file: GoodFile, manifest: Manifest): void {
  const fail = (what: string): never => {
    throw new FuzzFailure(`accepted, but ${what}`);
  };
  const header = bytes.slice(0, manifest.headerLength);
  const stored = toHex(header.subarray(HASH_OFFSET, HASH_OFFSET + HASH_BYTES));
  header.fill(0, HASH_OFFSET, HASH_OFFSET + HASH_BYTES);
  if (digest(header) !== stored || manifest.headerSha256 !== stored) fail('the header hash is wrong');
  if (manifest.fileLength !== bytes.length) fail('the file has another length');
  for (const [i, content] of listFiles(bytes, file, manifest).entries()) {
    const dataFile = manifest.dataFiles[i - 1];
    if (dataFile && (dataFile.length !== content.length || dataFile.sha256 !== digest(content))) {
      fail('a data file has another length or hash');
    }
    checkFile(
      content,
      i === 0 ? manifest.headerLength : 0,
      manifest.segments.filter((s) => s.file === i),
      fail,
    );
  }
  if (manifest.segments.some((segment) => segment.file > manifest.dataFiles.length))
    fail('a file does not exist');
  checkPlaces(manifest, fail);
}

/** The segments of one file, from byte `end` on: nothing between them, nothing behind them, all hashes right. */
function checkFile(
  bytes: Uint8Array<ArrayBuffer>,
  end: number,
  segments: readonly Segment[],
  fail: (what: string) => never,
): void {
  for (const segment of segments) {
    if (segment.offset < end || segment.offset % LIMITS.segmentAlignment !== 0) fail('segments overlap');
    if (bytes.subarray(end, segment.offset).some((byte) => byte !== 0)) fail(`bytes lie behind ${end}`);
    end = segment.offset + segment.length;
    for (const [i, hash] of segment.chunkHashes.entries()) {
      const start = segment.offset + i * LIMITS.chunkBytes;
      const chunk = bytes.subarray(start, Math.min(end, start + LIMITS.chunkBytes));
      if (digest(chunk) !== hash) fail('a chunk hash is wrong');
    }
    if (segment.chunkHashes.length !== Math.ceil(segment.length / LIMITS.chunkBytes))
      fail('chunks are missing');
  }
  // A header file whose weights are all elsewhere ends with its padding.
  const rest = bytes.subarray(end);
  if (segments.length > 0 ? rest.length > 0 : rest.some((byte) => byte !== 0))
    fail('bytes lie behind the end');
}

/** No two planes or assets share a byte, and none leaves its segment. */
function checkPlaces(manifest: Manifest, fail: (what: string) => never): void {
  const places = [...manifest.assets, ...manifest.tensors.flatMap((tensor) => tensor.planes)].map(
    ({ segment, offset, length }) => ({ segment, offset, end: offset + length }),
  );
  places.sort((a, b) => a.segment - b.segment || a.offset - b.offset);
  for (const [i, place] of places.entries()) {
    const segment = manifest.segments[place.segment] ?? fail('a segment does not exist');
    if (place.end > segment.length || place.end <= place.offset) fail('a plane leaves its segment');
    const next = places[i + 1];
    if (next?.segment === place.segment && next.offset < place.end) fail('planes overlap');
  }
}
