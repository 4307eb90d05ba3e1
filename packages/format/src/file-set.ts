// The files of one container: its own, and its data files, each opened when the first byte of it is wanted.
import { DuobitError } from './errors.ts';
import type { DataFile, Manifest } from './manifest.ts';
import type { ChunkSource } from './segment-reader.ts';
import type { ByteSource } from './source.ts';

/** Opens a data file by its name. @throws DuobitError, `SOURCE_MISSING` when there is none */
export type OpenDataFile = (name: string) => Promise<ByteSource>;

/** Options of `openContainer`. */
export interface OpenOptions {
  /** Where data files are found; default: beside the source, where it can open such. */
  readonly openDataFile?: OpenDataFile | undefined;
  /**
   * What chunks come from instead of the files themselves: a cache, say. It is given the files, 0 the container's own and i its data
   * file i - 1, opened when it first asks for one; the container closes both.
   */
  readonly chunks?:
    | ((manifest: Manifest, files: (file: number) => Promise<ByteSource>) => ChunkSource)
    | undefined;
}

const REMEDY = 'Put all files of the model into one folder, under the names they had';

export class FileSet {
  readonly #source: ByteSource;
  readonly #dataFiles: readonly DataFile[];
  readonly #open: OpenDataFile | undefined;
  readonly #opened = new Map<number, Promise<ByteSource>>();
  #closed = false;

  constructor(source: ByteSource, dataFiles: readonly DataFile[], options: OpenOptions) {
    this.#source = source;
    this.#dataFiles = dataFiles;
    this.#open = options.openDataFile ?? source.openBeside?.bind(source);
  }

  /**
   * The container's own file for 0, data file i - 1 for i.
   * @throws DuobitError `DATA_FILE_MISSING`, `DATA_FILE_LENGTH`, `SOURCE_CLOSED`, or what opening throws
   */
  async get(file: number): Promise<ByteSource> {
    if (file === 0) return this.#source;
    const known = this.#opened.get(file);
    if (known) return known;
    const opening = this.#openFile(this.#dataFiles[file - 1]!);
    this.#opened.set(file, opening);
    // What failed may succeed later.
    opening.catch(() => this.#opened.delete(file));
    return opening;
  }

  /** Closes the data files; the source is its owner's. */
  async close(): Promise<void> {
    this.#closed = true;
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    for (const opening of opened) await opening.then((source) => source.close()).catch(() => {});
  }

  async #openFile({ name, length }: DataFile): Promise<ByteSource> {
    const facts = { source: this.#source.name, where: `data file ${name}`, remedy: REMEDY };
    if (this.#closed) throw new DuobitError('SOURCE_CLOSED', 'the container is closed already', facts);
    if (!this.#open) {
      throw new DuobitError('DATA_FILE_MISSING', 'nothing says where to find data files', {
        ...facts,
        remedy: 'Open the container with the option openDataFile',
      });
    }
    const source = await this.#open(name).catch((error: unknown) => {
      if (!(error instanceof DuobitError)) throw error;
      if (error.code === 'SOURCE_MISSING') {
        throw new DuobitError('DATA_FILE_MISSING', `the data file ${name} is not there`, {
          ...facts,
          cause: error,
        });
      }
      if (error.code === 'SOURCE_EMPTY') throw wrongLength(0, length, facts);
      throw error;
    });
    if (source.size === length) return source;
    await source.close();
    throw wrongLength(source.size, length, facts);
  }
}

function wrongLength(found: number, expected: number, facts: object): DuobitError {
  const message = `the data file has ${found} bytes, but the header says ${expected}`;
  return new DuobitError('DATA_FILE_LENGTH', message, {
    ...facts,
    remedy: 'Copy or download the data file again; files of two models may be mixed',
  });
}
