// The header of a safetensors file (https://github.com/huggingface/safetensors, "Format"): u64 length, JSON, data.
// Everything it claims is checked against the file before anything is read by it.
import { type ByteSource, DuobitError } from '@duobit/format';
import { findDuplicateKey, isObject, type JsonObject } from './strict-json.ts';

/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_DIMENSIONS = 16;

/** Bits of one element. Types below a byte must still fill whole bytes. */
const DTYPE_BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  readonly length: number;
}

const DOWNLOAD_AGAIN = 'Download the file again and compare its size and hash with the original';

/**
 * Reads and checks the header.
 * @throws DuobitError `SAFETENSORS_TRUNCATED`, `SAFETENSORS_HEADER_TOO_LARGE`, `SAFETENSORS_HEADER_INVALID`,
 * `SAFETENSORS_DUPLICATE_KEY`, `SAFETENSORS_DTYPE_UNKNOWN`, `SAFETENSORS_SIZE_MISMATCH`, `SAFETENSORS_LAYOUT`
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<Map<string, SafetensorsEntry>> {
  const fail = (code: string, message: string, where?: string, cause?: unknown): DuobitError =>
    new DuobitError(code, message, { source: source.name, where, remedy: DOWNLOAD_AGAIN, cause });
  if (source.size < 8) {
    throw fail(
      'SAFETENSORS_TRUNCATED',
      `the file has ${source.size} bytes, fewer than the 8 of a header length`,
    );
  }
  const prefix = await source.read(0, 8);
  const claimed = new DataView(prefix.buffer).getBigUint64(0, true);
  if (claimed > BigInt(MAX_HEADER_BYTES)) {
    throw fail(
      'SAFETENSORS_HEADER_TOO_LARGE',
      `the header claims ${claimed} bytes; the format allows ${MAX_HEADER_BYTES}. Either this is no safetensors file or it is damaged`,
      'bytes 0 to 7',
    );
  }
  const headerLength = Number(claimed);
  if (headerLength > source.size - 8) {
    throw fail(
      'SAFETENSORS_TRUNCATED',
      `the header claims ${headerLength} bytes, the file has ${source.size - 8} after its length`,
      'bytes 0 to 7',
    );
  }
  const header = parseHeader(await source.read(8, headerLength), fail);
  const base = 8 + headerLength;
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      if (!isObject(value) || !Object.values(value).every((item) => typeof item === 'string')) {
        throw fail('SAFETENSORS_HEADER_INVALID', 'metadata must map strings to strings', name);
      }
    } else {
      entries.set(name, checkEntry(name, value, base, fail));
    }
  }
  checkLayout([...entries.values()], base, source.size, fail);
  return entries;
}

type Fail = (code: string, message: string, where?: string, cause?: unknown) => DuobitError;

function parseHeader(bytes: Uint8Array, fail: Fail): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw fail(
      'SAFETENSORS_HEADER_INVALID',
      `the header of ${bytes.length} bytes is not JSON`,
      'header',
      cause,
    );
  }
  if (!isObject(value) || !text.startsWith('{')) {
    throw fail(
      'SAFETENSORS_HEADER_INVALID',
      'the header is not a JSON object from its first byte on',
      'header',
    );
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) {
    throw fail(
      'SAFETENSORS_DUPLICATE_KEY',
      `the header has the key ${JSON.stringify(duplicate)} twice`,
      'header',
    );
  }
  return value;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function checkEntry(name: string, value: unknown, base: number, fail: Fail): SafetensorsEntry {
  if (!isObject(value)) throw fail('SAFETENSORS_HEADER_INVALID', 'the entry is not an object', name);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string') throw fail('SAFETENSORS_HEADER_INVALID', 'the entry has no dtype', name);
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isCount)) {
    throw fail(
      'SAFETENSORS_HEADER_INVALID',
      `shape is not a list of at most ${MAX_DIMENSIONS} whole numbers from 0`,
      name,
    );
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail('SAFETENSORS_HEADER_INVALID', 'data_offsets is not a pair of whole numbers from 0', name);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) {
    throw fail('SAFETENSORS_LAYOUT', `the data ends at ${end}, before its begin at ${begin}`, name);
  }
  const bits = Object.hasOwn(DTYPE_BITS, dtype) ? DTYPE_BITS[dtype] : undefined;
  if (bits === undefined) {
    throw fail('SAFETENSORS_DTYPE_UNKNOWN', `dtype ${JSON.stringify(dtype)} is not known`, name);
  }
  const needed = shape.reduce((product: bigint, size) => product * BigInt(size), BigInt(bits));
  if (needed !== 8n * BigInt(end - begin)) {
    throw fail(
      'SAFETENSORS_SIZE_MISMATCH',
      `shape [${shape.join(', ')}] of ${dtype} needs ${Number(needed) / 8} bytes, data_offsets give ${end - begin}`,
      name,
    );
  }
  return { name, dtype, shape, offset: base + begin, length: end - begin };
}

function checkLayout(entries: SafetensorsEntry[], base: number, fileSize: number, fail: Fail): void {
  entries.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = base;
  for (const { name, offset, length } of entries) {
    if (offset !== end) {
      const what =
        offset > end ? `a hole of ${offset - end} bytes before` : `an overlap of ${end - offset} bytes in`;
      throw fail('SAFETENSORS_LAYOUT', `${what} this tensor`, name);
    }
    end = offset + length;
    if (end > fileSize) {
      throw fail(
        'SAFETENSORS_TRUNCATED',
        `the tensor ends at byte ${end}, the file has ${fileSize} bytes`,
        name,
      );
    }
  }
  if (end !== fileSize) {
    throw fail('SAFETENSORS_LAYOUT', `the last tensor ends at byte ${end}, the file has ${fileSize} bytes`);
  }
}
