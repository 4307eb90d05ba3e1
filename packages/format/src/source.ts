// The one way bytes come in: anything with a size that can read a range. Offsets are plain numbers up to
// 2^53 - 1; nothing here or behind it may use bitwise operators on them.

/** Told of bytes as they are read. */
export type OnBytes = (bytes: Uint8Array) => void | Promise<void>;

/** Random access to immutable bytes. Safe to call concurrently. */
export interface ByteSource {
  /** What the source is, for messages: a path or a URL. */
  readonly name: string;
  /** Total length in bytes. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes from `offset` into an array that owns its buffer (never a view into a pool).
   * @throws DuobitError `SOURCE_TRUNCATED` when the range does not lie inside the source, `SOURCE_IO` on failure.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Like `read`, but fills `target`: whoever reads much needs no new memory each time. Use `readInto` below.
   * `target` may lie in shared memory.
   */
  readInto?(offset: number, target: Uint8Array): Promise<void>;
  /**
   * Reads a range of any length in order, piece by piece and with one request where there are requests. What `onBytes` returns is
   * waited for before more is read; its pieces are good until then. What it throws ends the reading and is thrown on.
   */
  stream?(offset: number, length: number, onBytes: OnBytes): Promise<void>;
  /**
   * Opens another file in the same place, for the data files of a model in several. `name` is a plain file name.
   * @throws DuobitError as opening a source does
   */
  openBeside?(name: string): Promise<ByteSource>;
  /** Closes the file or connection. */
  close(): Promise<void>;
}

/** Fills `target` from `offset` of any source. @throws DuobitError as `ByteSource.read` */
export async function readInto(source: ByteSource, offset: number, target: Uint8Array): Promise<void> {
  if (source.readInto) await source.readInto(offset, target);
  else target.set(await source.read(offset, target.length));
}
