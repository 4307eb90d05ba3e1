// A container's file whose header is in memory; a connection is made when anything behind it is wanted.
import { type ByteSource, DuobitError, type OnBytes, readInto } from '@duobit/format';

export class HeadedSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #header: Uint8Array;
  readonly #connect: () => Promise<ByteSource>;
  #connection: Promise<ByteSource> | null;
  #closed = false;

  /**
   * @param connection the whole file, where it is open; then this source's to close
   * @param connect opens it; tried again after it failed
   */
  constructor(
    name: string,
    size: number,
    header: Uint8Array,
    connection: ByteSource | null,
    connect: () => Promise<ByteSource>,
  ) {
    this.name = name;
    this.size = size;
    this.#header = header;
    this.#connection = connection && Promise.resolve(connection);
    this.#connect = connect;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (offset + length > this.#header.length) return (await this.#open()).read(offset, length);
    return this.#header.slice(offset, offset + length) as Uint8Array<ArrayBuffer>;
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    if (offset + target.length > this.#header.length) return readInto(await this.#open(), offset, target);
    target.set(this.#header.subarray(offset, offset + target.length));
  }

  async stream(offset: number, length: number, onBytes: OnBytes): Promise<void> {
    const source = await this.#open();
    await source.stream!(offset, length, onBytes);
  }

  async openBeside(name: string): Promise<ByteSource> {
    const source = await this.#open();
    return source.openBeside!(name);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connection?.then((source) => source.close()).catch(() => {});
  }

  #open(): Promise<ByteSource> {
    if (this.#closed)
      return Promise.reject(
        new DuobitError('SOURCE_CLOSED', 'the source is closed already', { source: this.name }),
      );
    this.#connection ??= this.#connect().catch((error: unknown) => {
      this.#connection = null;
      throw error;
    });
    return this.#connection;
  }
}
