// The one way bytes come in: anything with a size that can read a range. Offsets are plain numbers up to
// 2^53 - 1; nothing here or behind it may use bitwise operators on them.

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
  close(): Promise<void>;
}
