// Source -> manifest, in the order of docs/format.md, "Validation": preamble, hash, structure, meaning, places.

import { DuobitError } from './errors.ts';
import { listFeatureMismatches } from './features.ts';
import { LIMITS } from './generated/limits.ts';
import { decodeHeader } from './header-decode.ts';

import type { Manifest } from './manifest.ts';
import { checkLayout } from './places.ts';
import { isZero } from './plane-values.ts';
import { HASH_BYTES, HASH_OFFSET, parsePreamble } from './preamble.ts';
import { REMEDY_DAMAGED, type Report } from './problems.ts';
import { checkManifest } from './rules.ts';
import { sha256, toHex } from './sha256.ts';
import type { ByteSource } from './source.ts';
import { verifyHeader } from './verifier.ts';

/**
 * Reads and checks everything before the first segment: two reads, at most 8 MiB + 16 KiB.
 * @returns null when the header cannot be understood; every reason is reported.
 * @throws DuobitError what the source throws, and `HASH_UNAVAILABLE`
 */
export async function readManifest(source: ByteSource, report: Report): Promise<Manifest | null> {
  return (await readHeader(source, report))?.manifest ?? null;
}

/** What the first 128 bytes claim about a container: enough to find a copy of it, to be believed once the header was hashed. */
export interface Identity {
  readonly headerSha256: string;
  /** Bytes before the first segment. */
  readonly headerBytes: number;
  readonly fileLength: number;
}

/** @returns null where these bytes begin no container that this release reads. @throws what the source throws */
export async function readIdentity(source: ByteSource): Promise<Identity | null> {
  if (source.size < LIMITS.preambleBytes) return null;
  const preamble = parsePreamble(await source.read(0, LIMITS.preambleBytes), source.size, () => {});
  if (!preamble) return null;
  const { headerSha256, segmentBase, fileLength } = preamble;
  return { headerSha256: toHex(headerSha256), headerBytes: segmentBase, fileLength };
}

export interface HeaderRead {
  readonly manifest: Manifest;
  /** The header's bytes with the hash field zero. */
  readonly header: Uint8Array<ArrayBuffer>;
}

/** As `readManifest`. */
export async function readHeader(source: ByteSource, report: Report): Promise<HeaderRead | null> {
  if (source.size < LIMITS.preambleBytes) {
    const message = `the file has ${source.size} bytes; a container has at least ${LIMITS.preambleBytes}`;
    report('FILE_TOO_SHORT', 'file length', message, REMEDY_DAMAGED);
    return null;
  }
  const start = await source.read(0, LIMITS.preambleBytes);
  const preamble = parsePreamble(start, source.size, report);
  if (!preamble) return null;

  const { headerLength, segmentBase } = preamble;
  const bytes = await source.read(0, Math.min(segmentBase, source.size));
  if (!isZero(bytes.subarray(headerLength))) {
    report('PADDING_NONZERO', 'padding after the header', 'bytes between header and segments are not zero');
  }
  // Nothing else is in this memory but the padding, so no accessor can leak what is none of the file's.
  const header = bytes.subarray(0, headerLength);
  header.fill(0, HASH_OFFSET, HASH_OFFSET + HASH_BYTES);
  const hash = toHex(await sha256(header));
  if (hash !== toHex(preamble.headerSha256)) {
    const message = `the header's SHA-256 is ${hash}, but the file says ${toHex(preamble.headerSha256)}`;
    report('HEADER_HASH', 'header', message, REMEDY_DAMAGED);
  }
  try {
    verifyHeader(header, { allowUnknownFields: preamble.minor > LIMITS.formatMinor });
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    report(error.code, error.where ?? 'header', error.message, error.remedy);
    return null;
  }
  const manifest = decodeHeader(header, preamble, source.size, report);
  if (!manifest) return null;
  for (const message of listFeatureMismatches(preamble.incompatible, manifest))
    report('FEATURE_MISMATCH', 'bytes 40 to 47', message);
  checkManifest(manifest, report);
  checkLayout(manifest, segmentBase, report);
  return { manifest: freezeDeeply(manifest), header };
}

function freezeDeeply<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) freezeDeeply(part);
  return Object.freeze(value);
}
