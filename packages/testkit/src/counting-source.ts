// A byte source that counts what is read, to show that nothing is fetched twice or without need.
import type { ByteSource } from '@duobit/format';

export class CountingSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  /** Every read so far: where and how much. */
  readonly reads: { readonly offset: number; readonly length: number }[] = [];
  closed = false;
  readonly #inner: ByteSource;

  constructor(inner: ByteSource) {
    this.#inner = inner;
    this.name = inner.name;
    this.size = inner.size;
  }

  /** Bytes read so far, those read twice counted twice. */
  get bytesRead(): number {
    return this.reads.reduce((sum, { length }) => sum + length, 0);
  }

  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    this.reads.push({ offset, length });
    return this.#inner.read(offset, length);
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.#inner.close();
  }
}
