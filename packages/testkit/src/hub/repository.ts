// One repository of the local hub: commits, each a whole table of files, and branches that name them.
import { createHash } from 'node:crypto';

export interface RepositoryFile {
  /** SHA-256 of the bytes where they lie in the large file storage; null for a file in the repository itself. */
  readonly lfs: string | null;
  readonly bytes: Uint8Array;
}

export const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What git calls a file of these bytes. */
export const gitHash = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

export class Repository {
  readonly id: string;
  readonly isPrivate: boolean;
  isGated = false;
  /** By name; values are commits. */
  readonly branches = new Map<string, string>();
  readonly #commits = new Map<string, ReadonlyMap<string, RepositoryFile>>();
  /** Titles of all commits, in order. */
  readonly titles: string[] = [];

  constructor(id: string, isPrivate: boolean) {
    this.id = id;
    this.isPrivate = isPrivate;
    this.commit('main', 'initial commit', new Map([['.gitattributes', plain('*.bin filter=lfs\n')]]));
  }

  /** Undefined: no such branch or commit. */
  resolve(revision: string): string | undefined {
    if (revision === 'HEAD') return this.branches.get('main');
    return this.branches.get(revision) ?? (this.#commits.has(revision) ? revision : undefined);
  }

  files(commit: string): ReadonlyMap<string, RepositoryFile> {
    return this.#commits.get(commit) ?? new Map();
  }

  /** The current files of a branch as bytes. */
  read(path: string, branch = 'main'): Uint8Array | undefined {
    return this.files(this.branches.get(branch) ?? '').get(path)?.bytes;
  }

  /** Adds files directly, as if they had been uploaded. */
  put(files: Readonly<Record<string, Uint8Array | string>>, branch = 'main'): string {
    const table = new Map(this.files(this.branches.get(branch) ?? ''));
    for (const [path, content] of Object.entries(files))
      table.set(
        path,
        typeof content === 'string' ? plain(content) : { lfs: sha256Hex(content), bytes: content },
      );
    return this.commit(branch, 'put', table);
  }

  commit(branch: string, title: string, table: ReadonlyMap<string, RepositoryFile>): string {
    const id = createHash('sha1').update(`${this.id} ${title} ${this.#commits.size}`).digest('hex');
    this.#commits.set(id, table);
    this.branches.set(branch, id);
    this.titles.push(title);
    return id;
  }
}

export function plain(text: string | Uint8Array): RepositoryFile {
  return { lfs: null, bytes: typeof text === 'string' ? new TextEncoder().encode(text) : text };
}
