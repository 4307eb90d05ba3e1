// The fixed 128 bytes at the start: enough to know what to read next. docs/format.md, "Preamble".
import { KNOWN_INCOMPATIBLE } from './features.ts';
import { LIMITS } from './generated/limits.ts';
import { REMEDY_DAMAGED, REMEDY_UPDATE, type Report } from './problems.ts';

/** Not ASCII, then the name, then line ends that a text-mode transfer would change. */
export const MAGIC: readonly number[] = [0x89, 0x44, 0x55, 0x4f, 0x0d, 0x0a, 0x1a, 0x0a];
export const FILE_IDENTIFIER = 'DUO1';

/** Bytes between the FlatBuffers identifier and the rest of the FlatBuffer. */
export const EXTENSION_BYTES = 120;
export const HASH_OFFSET = 56;
export const HASH_BYTES = 32;
const RESERVED_OFFSET = 88;

export interface Preamble {
  readonly major: number;
  readonly minor: number;
  readonly headerLength: number;
  readonly segmentBase: number;
  readonly fileLength: number;
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly headerSha256: Uint8Array<ArrayBuffer>;
}

/** The first multiple of `alignment` that is not below `offset`; exact up to 2^53. */
export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

export const bitsToFeatures = (bits: readonly number[]): bigint =>
  bits.reduce((features, bit) => features | (1n << BigInt(bit)), 0n);

/** Numbers of the set bits, ascending. */
export function featuresToBits(features: bigint): number[] {
  return Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (features >> BigInt(bit)) & 1n);
}

/** Writes bytes 8 to 127; the hash is left zero. */
export function writeExtension(
  header: Uint8Array<ArrayBuffer>,
  fields: Pick<Preamble, 'minor' | 'segmentBase' | 'fileLength' | 'incompatible' | 'compatible'>,
): void {
  const view = new DataView(header.buffer, header.byteOffset);
  header.set(MAGIC, 8);
  view.setUint16(16, LIMITS.formatMajor, true);
  view.setUint16(18, fields.minor, true);
  view.setUint32(20, header.length, true);
  view.setBigUint64(24, BigInt(fields.segmentBase), true);
  view.setBigUint64(32, BigInt(fields.fileLength), true);
  view.setBigUint64(40, fields.incompatible, true);
  view.setBigUint64(48, fields.compatible, true);
}

const LFS_POINTER = 'a Git LFS pointer';

/** What the bytes look like instead, for people who picked the wrong file. */
function guessKind(bytes: Uint8Array): string {
  const start = String.fromCharCode(...bytes.subarray(0, 4));
  if (start === 'GGUF') return 'a GGUF file';
  if (start === 'PK\u0003\u0004') return 'a ZIP archive';
  if (bytes[8] === 0x7b) return 'a safetensors file';
  if (start.trimStart().startsWith('<')) return 'an HTML or XML page';
  if (start.startsWith('vers')) return LFS_POINTER;
  if (start.slice(1) === 'ELF') return 'a program';
  return 'something else';
}

/** Parses the preamble. Returns null, with the reason reported, when nothing behind it can be trusted. */
export function parsePreamble(bytes: Uint8Array<ArrayBuffer>, size: number, report: Report): Preamble | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const identifier = String.fromCharCode(...bytes.subarray(4, 8));
  if (identifier !== FILE_IDENTIFIER || MAGIC.some((byte, i) => bytes[8 + i] !== byte)) {
    const stripped = identifier === FILE_IDENTIFIER && bytes[8] === 0x89;
    const kind = guessKind(bytes);
    report(
      'CONTAINER_MAGIC',
      'bytes 4 to 15',
      stripped
        ? 'the magic number was changed, as a transfer in text mode does'
        : `this is not a Duobit container; it looks like ${kind}`,
      stripped
        ? 'Transfer the file again in binary mode'
        : kind === LFS_POINTER
          ? 'Fetch the file that it stands for: `git lfs pull`'
          : 'Give a .duo file made by `duobit quantize`',
    );
    return null;
  }
  const major = view.getUint16(16, true);
  const minor = view.getUint16(18, true);
  if (major !== LIMITS.formatMajor) {
    const message = `the format version is ${major}.${minor}; this release reads version ${LIMITS.formatMajor}`;
    report('VERSION_UNSUPPORTED', 'bytes 16 to 19', message, REMEDY_UPDATE);
    return null;
  }
  const incompatible = view.getBigUint64(40, true);
  if ((incompatible & ~KNOWN_INCOMPATIBLE) !== 0n) {
    const message = `the file needs features 0x${incompatible.toString(16)} that this release does not know`;
    report('FEATURE_UNSUPPORTED', 'bytes 40 to 47', message, REMEDY_UPDATE);
    return null;
  }
  if (bytes.subarray(RESERVED_OFFSET, LIMITS.preambleBytes).some((byte) => byte !== 0)) {
    report('PREAMBLE_RESERVED', 'bytes 88 to 127', 'reserved bytes are not zero', REMEDY_DAMAGED);
  }
  const headerLength = view.getUint32(20, true);
  if (headerLength <= LIMITS.preambleBytes || headerLength > LIMITS.maxHeaderBytes) {
    const bounds = `${LIMITS.preambleBytes + 1}..${LIMITS.maxHeaderBytes}`;
    report(
      'HEADER_LENGTH',
      'bytes 20 to 23',
      `the header length is ${headerLength}, outside ${bounds}`,
      REMEDY_DAMAGED,
    );
    return null;
  }
  if (headerLength > size) {
    const message = `the file has ${size} bytes, but its header alone has ${headerLength}`;
    report('FILE_TRUNCATED', 'file length', message, REMEDY_DAMAGED);
    return null;
  }
  const expectedBase = alignUp(headerLength, LIMITS.segmentAlignment);
  const segmentBase = view.getBigUint64(24, true);
  if (segmentBase !== BigInt(expectedBase)) {
    const message = `the segment base is ${segmentBase}, but a header of ${headerLength} bytes needs ${expectedBase}`;
    report('SEGMENT_BASE', 'bytes 24 to 31', message, REMEDY_DAMAGED);
  }
  const fileLength = view.getBigUint64(32, true);
  if (fileLength > BigInt(size)) {
    const message = `the file has ${size} bytes, but says that it has ${fileLength}`;
    report('FILE_TRUNCATED', 'file length', message, REMEDY_DAMAGED);
  } else if (fileLength < BigInt(size)) {
    const message = `the file has ${size} bytes, but says that it has only ${fileLength}`;
    report('FILE_TRAILING', 'file length', message, REMEDY_DAMAGED);
  }
  return {
    major,
    minor,
    headerLength,
    segmentBase: expectedBase,
    fileLength: fileLength <= BigInt(LIMITS.maxFileBytes) ? Number(fileLength) : size,
    incompatible,
    compatible: view.getBigUint64(48, true),
    headerSha256: bytes.slice(HASH_OFFSET, HASH_OFFSET + HASH_BYTES),
  };
}
