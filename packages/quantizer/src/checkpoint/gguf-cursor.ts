// Reads the little-endian fields of a GGUF header from front to back through a window of the file. Every length is
// compared with what the file still holds before anything is allocated for it.
import { type ByteSource, DuobitError } from '@duobit/format';

const WINDOW_BYTES = 1024 * 1024;
/** Longest string taken: chat templates reach some 100 KB, a token a few hundred bytes. */
const MAX_STRING_BYTES = 16 * 1024 * 1024;

export class GgufCursor {
  readonly source: ByteSource;
  /** Offset in the file of the next field. */
  offset = 0;
  #window = new DataView(new ArrayBuffer(0));
  #windowStart = 0;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(source: ByteSource) {
    this.source = source;
  }

  get remaining(): number {
    return this.source.size - this.offset;
  }

  fail(code: string, message: string, where: string = `byte ${this.offset}`, cause?: unknown): DuobitError {
    return new DuobitError(code, message, {
      source: this.source.name,
      where,
      remedy: 'Download the file again and compare its size and hash with the original',
      cause,
    });
  }

  /** Position in the window of the next `length` bytes, which are consumed. */
  async #take(length: number, what: string): Promise<number> {
    if (length > this.remaining) {
      throw this.fail('GGUF_TRUNCATED', `${what} needs ${length} bytes, the file has ${this.remaining} left`);
    }
    let position = this.offset - this.#windowStart;
    if (position + length > this.#window.byteLength) {
      const bytes = await this.source.read(
        this.offset,
        Math.min(this.remaining, Math.max(length, WINDOW_BYTES)),
      );
      this.#window = new DataView(bytes.buffer);
      this.#windowStart = this.offset;
      position = 0;
    }
    this.offset += length;
    return position;
  }

  async bytes(length: number, what: string): Promise<Uint8Array> {
    const position = await this.#take(length, what);
    return new Uint8Array(this.#window.buffer, position, length);
  }

  async u8(what: string): Promise<number> {
    const position = await this.#take(1, what);
    return this.#window.getUint8(position);
  }
  async i8(what: string): Promise<number> {
    const position = await this.#take(1, what);
    return this.#window.getInt8(position);
  }
  async u16(what: string): Promise<number> {
    const position = await this.#take(2, what);
    return this.#window.getUint16(position, true);
  }
  async i16(what: string): Promise<number> {
    const position = await this.#take(2, what);
    return this.#window.getInt16(position, true);
  }
  async u32(what: string): Promise<number> {
    const position = await this.#take(4, what);
    return this.#window.getUint32(position, true);
  }
  async i32(what: string): Promise<number> {
    const position = await this.#take(4, what);
    return this.#window.getInt32(position, true);
  }
  async f32(what: string): Promise<number> {
    const position = await this.#take(4, what);
    return this.#window.getFloat32(position, true);
  }
  async f64(what: string): Promise<number> {
    const position = await this.#take(8, what);
    return this.#window.getFloat64(position, true);
  }
  async u64(what: string): Promise<bigint> {
    const position = await this.#take(8, what);
    return this.#window.getBigUint64(position, true);
  }
  async i64(what: string): Promise<bigint> {
    const position = await this.#take(8, what);
    return this.#window.getBigInt64(position, true);
  }

  /** A u64 that counts things of at least `unitBytes` bytes each, which must fit into the rest of the file. */
  async count(what: string, unitBytes: number, max: number): Promise<number> {
    const value = await this.u64(what);
    const fits = Math.floor(this.remaining / unitBytes);
    if (value > BigInt(max) || value > BigInt(fits)) {
      const limit =
        value > BigInt(max) ? `at most ${max} are read` : `the rest of the file has room for ${fits}`;
      throw this.fail('GGUF_COUNT', `${what} is ${value}; ${limit}`, `byte ${this.offset - 8}`);
    }
    return Number(value);
  }

  async string(what: string): Promise<string> {
    const length = await this.count(`the length of ${what}`, 1, MAX_STRING_BYTES);
    const at = this.offset;
    const bytes = await this.bytes(length, what);
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw this.fail('GGUF_INVALID', `${what} is not UTF-8`, `byte ${at}`, cause);
    }
  }
}
