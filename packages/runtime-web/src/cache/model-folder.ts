// The folder of one model: its header, a note about it, and each chunk in a file of its own. A chunk is there when its file has the
// chunk's length, so what a crash cuts off does not count; whether the bytes are right, its hash in the header tells.
/// <reference lib="dom.asynciterable" />
import { readFile, writeFile } from './files.ts';

/** What is known about a model without reading it. */
export interface ModelNote {
  /** Without query, which may hold credentials. */
  readonly url: string;
  /** SHA-256 of the whole URL. */
  readonly address: string;
  readonly headerBytes: number;
  readonly fileLength: number;
  /** All chunks of all files. */
  readonly chunks: number;
  /** Of chunks and header. */
  readonly totalBytes: number;
  /** Milliseconds since 1970. */
  readonly lastUsed: number;
}

const NOTE = 'note.json';
const HEADER = 'header';
const CHUNK_NAME = /^\d+$/;

export class ModelFolder {
  /** The model's header hash, hex, which is also the folder's name. */
  readonly id: string;
  readonly #parent: FileSystemDirectoryHandle;
  readonly #folder: FileSystemDirectoryHandle;

  constructor(id: string, parent: FileSystemDirectoryHandle, folder: FileSystemDirectoryHandle) {
    this.id = id;
    this.#parent = parent;
    this.#folder = folder;
  }

  /** @returns null where there is none that can be understood */
  async readNote(): Promise<ModelNote | null> {
    const bytes = await readFile(this.#folder, NOTE);
    try {
      const note = JSON.parse(new TextDecoder().decode(bytes ?? new Uint8Array(0)));
      return typeof note.address === 'string' && Number.isSafeInteger(note.chunks) ? note : null;
    } catch {
      return null;
    }
  }

  writeNote(note: ModelNote): Promise<void> {
    return this.#write(NOTE, new TextEncoder().encode(JSON.stringify(note)));
  }

  readHeader(length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    return readFile(this.#folder, HEADER, length);
  }

  writeHeader(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#write(HEADER, bytes);
  }

  /** Numbers of chunks that have a file, whatever its length; none where another tab has removed the folder. */
  async listChunks(): Promise<Set<number>> {
    const numbers = new Set<number>();
    try {
      for await (const name of this.#folder.keys()) if (CHUNK_NAME.test(name)) numbers.add(Number(name));
    } catch {
      numbers.clear();
    }
    return numbers;
  }

  readChunk(number: number, length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    return readFile(this.#folder, String(number), length);
  }

  writeChunk(number: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#write(String(number), bytes);
  }

  /** Bytes in files of chunks and the header; files that come and go meanwhile do not count. */
  async measure(): Promise<number> {
    const sizes: Promise<number>[] = [];
    const sizeOf = (file: FileSystemFileHandle) =>
      file.getFile().then(
        ({ size }) => size,
        () => 0,
      );
    try {
      for await (const [name, handle] of this.#folder.entries()) {
        if (handle.kind === 'file' && (name === HEADER || CHUNK_NAME.test(name)))
          sizes.push(sizeOf(handle as FileSystemFileHandle));
      }
    } catch {
      return 0;
    }
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  async #write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await writeFile(this.#folder, name, bytes);
    } catch (error) {
      // Another tab is writing the same.
      if ((error as DOMException).name !== 'NoModificationAllowedError') throw error;
    }
  }

  /** Removes the folder and all in it. @throws DOMException, `NotFoundError` when it is gone already */
  remove(): Promise<void> {
    return this.#parent.removeEntry(this.id, { recursive: true });
  }
}
