// A map of a container, byte by byte: what each run of bytes is, in file order, with no gap and no overlap. For
// people who write readers, for damaged files, and for the dump in docs/format.md.
import { annotateHeader, annotatePreamble, type Claim, type ClaimKind } from './annotate-header.ts';
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import { readManifest } from './header-read.ts';
import type { Manifest } from './manifest.ts';
import { listRegions } from './places.ts';
import { HASH_BYTES, HASH_OFFSET, parsePreamble } from './preamble.ts';
import { ProblemList, throwProblems } from './problems.ts';
import { sha256, toHex } from './sha256.ts';
import type { ByteSource } from './source.ts';
import { verifyHeader } from './verifier.ts';

/** One run of bytes, and what it is. */
export interface Annotation {
  /** From the start of the file. */
  readonly offset: number;
  readonly length: number;
  /** 'padding' is zero bytes that the format asks for; 'unknown' is whatever nothing in the file names. */
  readonly kind: ClaimKind | 'padding' | 'unknown';
  /** What the bytes belong to: a path in the header, `segment block.0, tensor …, plane sign`; empty when unknown. */
  readonly where: string;
  readonly meaning: string;
  /** The first bytes, at most 16. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Options of `annotateContainer`. */
export interface AnnotateOptions {
  /** Only runs that share a byte with [start, end). */
  readonly start?: number;
  readonly end?: number;
  /** Name of a data file that `source` is; its header file is `headerSource`. */
  readonly dataFile?: { readonly name: string; readonly headerSource: ByteSource };
}

const BYTES_SHOWN = 16;
const GAP_PIECE = 65_536;

/**
 * Names every byte of a file once, in order. A header that can be walked is enough: a wrong hash or a broken rule
 * makes some bytes 'unknown', or cuts runs that overlap, but stops nothing.
 * @throws DuobitError what the preamble or the header's structure is refused for, `DATA_FILE_UNKNOWN`, or what the
 *   source throws
 */
export async function* annotateContainer(
  source: ByteSource,
  options: AnnotateOptions = {},
): AsyncGenerator<Annotation, void> {
  const { start = 0, end = source.size, dataFile } = options;
  const { header, claims: headerClaims, manifest } = await readHeader(dataFile?.headerSource ?? source);
  const file = dataFile ? findDataFile(manifest, dataFile) : 0;
  const claims = [...(dataFile ? [] : headerClaims), ...(manifest ? claimData(manifest, file) : [])];
  // Longer runs first: of two that begin together, the shorter is inside and cannot be shown.
  claims.sort((a, b) => a.offset - b.offset || b.length - a.length);
  const gaps = new GapReader(source, dataFile ? 0 : header.length);
  const readStart = async (offset: number, length: number) =>
    !dataFile && offset + length <= header.length
      ? header.slice(offset, offset + length)
      : source.read(offset, length);
  let at = 0;
  for (const claim of [...claims, null]) {
    const next = Math.min(claim?.offset ?? source.size, source.size);
    for (const [from, to] of gaps.cut(at, next)) {
      if (to > start && from < end) yield await gaps.describe(from, to, claim?.kind ?? null);
    }
    at = Math.max(at, next);
    if (!claim || at >= end) return;
    const claimEnd = Math.min(claim.offset + claim.length, source.size);
    const length = claimEnd - at;
    if (length <= 0) continue;
    if (claimEnd > start) {
      yield {
        offset: at,
        length,
        kind: claim.kind,
        where: claim.where,
        meaning: length < claim.length ? `${claim.meaning} (in part: overlap or end of file)` : claim.meaning,
        bytes: await readStart(at, Math.min(BYTES_SHOWN, length)),
      };
    }
    at = claimEnd;
  }
}

interface HeaderClaims {
  readonly header: Uint8Array<ArrayBuffer>;
  readonly claims: Claim[];
  readonly manifest: Manifest | null;
}

async function readHeader(source: ByteSource): Promise<HeaderClaims> {
  const report = throwProblems(source.name);
  if (source.size < LIMITS.preambleBytes) {
    // Says how short it is.
    await readManifest(source, report);
  }
  const list = new ProblemList(1);
  const preamble = parsePreamble(await source.read(0, LIMITS.preambleBytes), source.size, list.report);
  if (!preamble) {
    const { code, where, message, remedy } = list.problems[0]!;
    throw new DuobitError(code, message, { source: source.name, where, remedy });
  }
  const header = await source.read(0, preamble.headerLength);
  try {
    verifyHeader(header, { allowUnknownFields: true });
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    report(error.code, error.where ?? 'header', error.message, error.remedy);
  }
  const manifest = await readManifest(source, new ProblemList(0).report);
  const claims = [...annotatePreamble(header), ...annotateHeader(header)];
  return { header, claims: await markHash(header, preamble.headerSha256, claims), manifest };
}

/** Says at the hash field whether the hash is right. */
async function markHash(
  header: Uint8Array<ArrayBuffer>,
  stored: Uint8Array,
  claims: readonly Claim[],
): Promise<Claim[]> {
  const zeroed = header.slice().fill(0, HASH_OFFSET, HASH_OFFSET + HASH_BYTES);
  const right = toHex(await sha256(zeroed)) === toHex(stored);
  return claims.map((claim) =>
    claim.offset === HASH_OFFSET
      ? { ...claim, meaning: `${claim.meaning}: ${right ? 'right' : 'WRONG'}` }
      : claim,
  );
}

/** 1 for the first data file. */
function findDataFile(manifest: Manifest | null, file: Required<AnnotateOptions>['dataFile']): number {
  const index = manifest?.dataFiles.findIndex(({ name }) => name === file.name) ?? -1;
  if (index === -1) {
    const names = manifest?.dataFiles.map(({ name }) => name).join(', ');
    throw new DuobitError('DATA_FILE_UNKNOWN', `the model has no data file ${file.name}`, {
      source: file.headerSource.name,
      remedy: names ? `Give one of ${names}` : 'The model is one file: leave the data file out',
    });
  }
  return index + 1;
}

function claimData(manifest: Manifest, file: number): Claim[] {
  return listRegions(manifest).flatMap((regions, index) => {
    const segment = manifest.segments[index]!;
    if (segment.file !== file) return [];
    return regions.map(({ offset, length, tensor, role, where }): Claim => {
      const what = tensor
        ? `plane ${role} of ${tensor.name}, ${tensor.encoding.kind} [${tensor.shape.join(', ')}]`
        : `asset ${role}`;
      return {
        offset: segment.offset + offset,
        length,
        kind: tensor ? 'plane' : 'asset',
        where: `segment ${segment.name}, ${where}`,
        meaning: `${what}, byte ${offset} of segment ${segment.name}`,
      };
    });
  });
}

/** Bytes that nothing names: padding as long as they are zero. */
class GapReader {
  readonly #source: ByteSource;
  readonly #headerLength: number;

  constructor(source: ByteSource, headerLength: number) {
    this.#source = source;
    this.#headerLength = headerLength;
  }

  /** The gap in parts that lie inside the header or behind it. */
  cut(from: number, to: number): [number, number][] {
    const inside = Math.min(to, this.#headerLength);
    const parts: [number, number][] = [
      [from, inside],
      [Math.max(from, inside), to],
    ];
    return parts.filter(([start, end]) => start < end);
  }

  /** `next` is what comes after the gap; null at the end of the file. */
  async describe(from: number, to: number, next: ClaimKind | null): Promise<Annotation> {
    const zero = await this.#isZero(from, to);
    const purpose =
      from < this.#headerLength
        ? 'zeros for alignment'
        : next === null
          ? 'zeros at the end'
          : `zeros up to the next ${next}`;
    return {
      offset: from,
      length: to - from,
      kind: zero ? 'padding' : 'unknown',
      where: '',
      meaning: zero ? purpose : 'nothing in the file names these bytes',
      bytes: await this.#source.read(from, Math.min(BYTES_SHOWN, to - from)),
    };
  }

  async #isZero(from: number, to: number): Promise<boolean> {
    for (let at = from; at < to; at += GAP_PIECE) {
      const piece = await this.#source.read(at, Math.min(GAP_PIECE, to - at));
      for (const byte of piece) if (byte !== 0) return false;
    }
    return true;
  }
}
