// A file as a source: positional reads, so any number of them may run at once.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DuobitError } from './errors.ts';
import { requireRange } from './memory-source.ts';
import type { ByteSource } from './source.ts';

/** One read call takes less than 2 GiB. */
const MOST_PER_READ = 1 << 30;

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function openFailure(path: string, error: unknown): DuobitError {
  const facts = { source: path, cause: error };
  switch (systemCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new DuobitError('SOURCE_MISSING', 'there is no such file', {
        ...facts,
        remedy: 'Check the path',
      });
    case 'EACCES':
    case 'EPERM':
      return new DuobitError('SOURCE_PERMISSION', 'the file may not be read', {
        ...facts,
        remedy: 'Change its permissions, or run as its owner',
      });
    case 'EISDIR':
      return new DuobitError('SOURCE_IS_DIRECTORY', 'this is a folder, not a file', {
        ...facts,
        remedy: 'Give the path of a file in it',
      });
    default:
      return ioFailure(path, error);
  }
}

function ioFailure(path: string, error: unknown): DuobitError {
  return new DuobitError('SOURCE_IO', `reading failed: ${error instanceof Error ? error.message : error}`, {
    source: path,
    remedy: 'Check the disk and the path, then try again',
    cause: error,
  });
}

/**
 * Opens a regular file that is not empty.
 * @throws DuobitError `SOURCE_MISSING`, `SOURCE_IS_DIRECTORY`, `SOURCE_NOT_A_FILE`, `SOURCE_EMPTY`,
 *   `SOURCE_PERMISSION`, `SOURCE_IO`
 */
export async function createFileSource(path: string): Promise<ByteSource> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw openFailure(path, error);
  }
  try {
    const stat = await handle.stat();
    if (stat.isDirectory())
      throw openFailure(path, Object.assign(new Error('is a directory'), { code: 'EISDIR' }));
    if (!stat.isFile()) {
      throw new DuobitError('SOURCE_NOT_A_FILE', 'this is a pipe, socket or device', {
        source: path,
        remedy: 'Copy the data to a regular file first',
      });
    }
    if (stat.size === 0) {
      throw new DuobitError('SOURCE_EMPTY', 'the file is empty', {
        source: path,
        remedy: 'Download or make the file again',
      });
    }
    return new FileSource(path, stat.size, handle);
  } catch (error) {
    await handle.close();
    throw error instanceof DuobitError ? error : openFailure(path, error);
  }
}

class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #handle: FileHandle;
  #closed = false;

  constructor(name: string, size: number, handle: FileHandle) {
    this.name = name;
    this.size = size;
    this.#handle = handle;
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    requireRange(this.name, this.size, offset, length);
    const bytes = this.#allocate(length);
    await this.readInto(offset, bytes);
    return bytes;
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    const { length } = target;
    requireRange(this.name, this.size, offset, length);
    if (this.#closed)
      throw new DuobitError('SOURCE_CLOSED', 'the file is closed already', { source: this.name });
    for (let done = 0; done < length; ) {
      const wanted = Math.min(MOST_PER_READ, length - done);
      const { bytesRead } = await this.#handle
        .read(target, done, wanted, offset + done)
        .catch((error: unknown) => {
          throw ioFailure(this.name, error);
        });
      if (bytesRead === 0) {
        throw new DuobitError(
          'SOURCE_TRUNCATED',
          `the file became shorter than ${this.size} bytes while in use`,
          {
            source: this.name,
            remedy: 'Do not change the file while it is read',
          },
        );
      }
      done += bytesRead;
    }
  }

  openBeside(name: string): Promise<ByteSource> {
    return createFileSource(join(dirname(this.name), name));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }

  #allocate(length: number): Uint8Array<ArrayBuffer> {
    try {
      return new Uint8Array(length);
    } catch (error) {
      throw new DuobitError('SOURCE_TOO_LARGE', `${length} bytes at once do not fit in memory`, {
        source: this.name,
        remedy: 'Use a machine with more memory',
        cause: error,
      });
    }
  }
}
