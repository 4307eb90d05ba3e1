// Publishing to a repository of a Hugging Face hub, through its own library: one commit with all that has changed.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { DuobitError } from '@duobit/format';
import type { Network } from '@duobit/runtime-node';
import {
  type CommitOperation,
  commitIter,
  createBranch,
  createRepo,
  listFiles,
  modelInfo,
  whoAmI,
} from '@huggingface/hub';
import type { Context } from '../context.ts';
import { isDataFileOf } from '../parts.ts';
import { createProgress } from '../progress.ts';
import { CARD_MARK } from './card.ts';
import { createHubFetch } from './hub-network.ts';
import type { PublishedFile } from './model.ts';

export interface HubTarget {
  readonly repo: string;
  /** Branch; made when it does not exist. */
  readonly revision: string;
  readonly isPrivate: boolean;
  /** Replaces a card that somebody has written. */
  readonly force: boolean;
}

/** What there is before. */
export interface HubState {
  readonly hasRepo: boolean;
  readonly hasBranch: boolean;
  /** Hashes of files at the top by their paths: SHA-256 of large files, that of git (`gitHash`) of others; null for unknown. */
  readonly files: ReadonlyMap<string, string | null>;
  readonly card: string | null;
}

/** What a commit will do. */
export interface HubPlan {
  readonly createRepo: boolean;
  readonly createBranch: boolean;
  /** To be uploaded. */
  readonly add: readonly PublishedFile[];
  /** In the repository as they are. */
  readonly same: readonly string[];
  /** Data files of an earlier version that nothing names any more. */
  readonly remove: readonly string[];
  /** Somebody's own, which stays. */
  readonly keptCard: boolean;
}

export interface Published {
  /** null: there was nothing to change. */
  readonly commit: string | null;
  readonly url: string;
}

const CARD = 'README.md';

export class Hub {
  readonly #context: Context;
  readonly #network: Network;
  readonly #target: HubTarget;
  readonly #fetch: typeof fetch;
  readonly #token: string;

  /** @throws DuobitError `HUB_TOKEN` */
  constructor(context: Context, network: Network, target: HubTarget) {
    const { token } = network;
    if (token === null || !token.startsWith('hf_')) {
      const message = token === null ? 'publishing needs a token' : 'the token does not begin with hf_';
      throw new DuobitError('HUB_TOKEN', message, {
        where: 'HF_TOKEN',
        remedy:
          'Make a token that may write, in the settings of the hub, and set HF_TOKEN, or run `hf auth login`',
      });
    }
    this.#context = context;
    this.#network = network;
    this.#target = target;
    this.#token = token;
    this.#fetch = createHubFetch(network, context.signal);
  }

  get url(): string {
    return `${this.#network.endpoint}/${this.#target.repo}`;
  }

  get #shared() {
    return { hubUrl: this.#network.endpoint, accessToken: this.#token, fetch: this.#fetch };
  }

  /**
   * Looks at the repository and changes nothing, before anything else takes time.
   * @throws DuobitError as `createHubFetch`, `HUB_ANSWER`
   */
  async look(): Promise<HubState> {
    return this.#asking(async () => {
      // A token that is no good is told of here, and not as a repository that is not there.
      await whoAmI(this.#shared);
      const { repo, revision } = this.#target;
      const hasRepo = (await found(() => modelInfo({ ...this.#shared, name: repo }))) !== null;
      const files = hasRepo ? await found(() => this.#list(revision)) : null;
      const card = files?.has(CARD) ? await this.#readCard(revision) : null;
      return { hasRepo, hasBranch: files !== null, files: files ?? new Map(), card };
    });
  }

  /** What the model of this file name is loaded by once it is there. */
  address(state: HubState, name: string): string {
    const { repo, revision } = this.#target;
    const others = [...state.files.keys()].some((path) => path.endsWith('.duo') && path !== name);
    return `hf:${repo}${revision === 'main' ? '' : `@${encodeURIComponent(revision)}`}${others ? `/${name}` : ''}`;
  }

  async plan(
    { hasRepo, hasBranch, files: there, card }: HubState,
    name: string,
    files: readonly PublishedFile[],
  ): Promise<HubPlan> {
    const { revision, force } = this.#target;
    const keptCard = card !== null && !card.includes(CARD_MARK) && !force;
    const own = files.filter((file) => file.name !== CARD || !keptCard);
    const same: string[] = [];
    for (const file of own) {
      const hash = there.get(file.name);
      const isGit = hash?.length === 40;
      if (hash && hash === (isGit ? await gitHash(file) : file.sha256)) same.push(file.name);
    }
    const names = new Set(files.map((file) => file.name));
    return {
      createRepo: !hasRepo,
      createBranch: !hasBranch && revision !== 'main',
      add: own.filter((file) => !same.includes(file.name)),
      same,
      remove: [...there.keys()].filter((path) => isDataFileOf(name, path) && !names.has(path)),
      keptCard,
    };
  }

  async #list(revision: string): Promise<Map<string, string | null>> {
    const entries = new Map<string, string | null>();
    const { repo } = this.#target;
    for await (const { path, type, lfs, oid } of listFiles({
      ...this.#shared,
      repo,
      revision: encodeURIComponent(revision),
    }))
      if (type === 'file') entries.set(path, lfs?.oid ?? oid ?? null);
    return entries;
  }

  async #readCard(revision: string): Promise<string> {
    const url = `${this.url}/resolve/${encodeURIComponent(revision)}/${CARD}`;
    return (await this.#fetch(url, {})).text();
  }

  /** @throws DuobitError as `createHubFetch`, `HUB_ANSWER`, `ABORTED`; run again, it uploads what is missing */
  async publish(plan: HubPlan, title: string): Promise<Published> {
    return this.#asking(async () => {
      const { repo, revision, isPrivate } = this.#target;
      // Somebody else may have made it just now: the library takes that for no success.
      if (plan.createRepo)
        await exists(
          createRepo({ ...this.#shared, repo, ...(isPrivate && { visibility: 'private' as const }) }),
        );
      if (plan.createBranch) await createBranch({ ...this.#shared, repo, branch: revision, overwrite: true });
      const operations: CommitOperation[] = [
        ...plan.add.map(({ name, content }) => ({
          operation: 'addOrUpdate' as const,
          path: name,
          content: 'path' in content ? pathToFileURL(content.path) : new Blob([content.text]),
        })),
        ...plan.remove.map((path) => ({ operation: 'delete' as const, path })),
      ];
      if (operations.length === 0) return { commit: null, url: this.url };
      const commit = await this.#commit(operations, plan, title);
      return { commit, url: this.url };
    });
  }

  async #commit(operations: CommitOperation[], plan: HubPlan, title: string): Promise<string> {
    const { repo, revision } = this.#target;
    const sizes = new Map(plan.add.map(({ name, bytes }) => [name, bytes]));
    const total = plan.add.reduce((sum, { bytes }) => sum + bytes, 0);
    const shares = { hashing: new Map<string, number>(), uploading: new Map<string, number>() };
    const progress = createProgress(this.#context.io, { lines: { hash: 0, upload: 10 } });
    try {
      const events = commitIter({
        ...this.#shared,
        repo,
        branch: revision,
        title,
        operations,
        abortSignal: this.#context.signal,
      });
      for (;;) {
        const { done, value } = await events.next();
        if (done) {
          progress.update('upload', total, total);
          return value?.commit.oid ?? '';
        }
        if (value.event !== 'fileProgress' || value.state === 'error') continue;
        const known = shares[value.state];
        known.set(value.path, Math.max(known.get(value.path) ?? 0, value.progress));
        const bytes = [...known].reduce((sum, [path, share]) => sum + share * (sizes.get(path) ?? 0), 0);
        progress.update(value.state === 'hashing' ? 'hash' : 'upload', Math.floor(bytes), total, value.path);
      }
    } finally {
      progress.stop();
    }
  }

  /** Our errors pass; the library's own are about answers that it did not expect. */
  async #asking<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (this.#context.signal.aborted) throw new DuobitError('ABORTED', 'stopped by the user');
      if (error instanceof DuobitError || (error instanceof Error && 'syscall' in error)) throw error;
      throw new DuobitError('HUB_ANSWER', (error as Error).message.replace(/[?][^\s]*/g, ''), {
        source: this.url,
        remedy: 'Check the address of the hub (--endpoint, HF_ENDPOINT), and run the command again',
        cause: error,
      });
    }
  }
}

/** What git calls a file of these bytes. */
async function gitHash({ bytes, content }: PublishedFile): Promise<string> {
  const hash = createHash('sha1').update(`blob ${bytes}\0`);
  if ('text' in content) return hash.update(content.text).digest('hex');
  for await (const piece of createReadStream(content.path)) hash.update(piece);
  return hash.digest('hex');
}

/** null where the hub has no such thing. */
async function found<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof DuobitError && error.code === 'HUB_NOT_FOUND') return null;
    throw error;
  }
}

async function exists(making: Promise<unknown>): Promise<void> {
  try {
    await making;
  } catch (error) {
    if (!(error instanceof Error && 'statusCode' in error && error.statusCode === 409)) throw error;
  }
}
