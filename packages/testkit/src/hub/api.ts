// The hub's API of models: https://huggingface.co/docs/hub/api, Git LFS's batch API, and the commit endpoint.
import type { Exchange } from './listener.ts';
import { gitHash, plain, Repository, type RepositoryFile } from './repository.ts';
import type { Storage } from './storage.ts';

type Role = 'write' | 'read';
/** Entries that one page of a list of files has. */
const PAGE = 2;

export class HubApi {
  readonly #repositories: Map<string, Repository>;
  readonly #storage: Storage;
  readonly #tokens: Readonly<Record<string, Role>>;

  constructor(
    repositories: Map<string, Repository>,
    storage: Storage,
    tokens: Readonly<Record<string, Role>>,
  ) {
    this.#repositories = repositories;
    this.#storage = storage;
    this.#tokens = tokens;
  }

  async answer(exchange: Exchange): Promise<void> {
    const { path, record } = exchange;
    const role = this.#roleOf(exchange);
    if (role === undefined) return exchange.fail(401, 'Invalid credentials in Authorization header');
    const writes = record.method === 'POST' && !path.includes('/paths-info/');
    if (writes && role === null) return exchange.fail(401, 'Invalid username or password.');
    if (writes && role !== 'write') return exchange.fail(403, 'this token may only read');
    if (path === 'api/whoami-v2') {
      if (role === null) exchange.fail(401, 'Invalid username or password.');
      else exchange.json({ type: 'user', id: '1', name: 'user', orgs: [], auth: { type: 'access_token' } });
      return;
    }
    if (path === 'api/repos/create') return this.#create(exchange);
    const [, id = '', rest = ''] =
      /^(?:api\/models\/)?([^/]+\/[^/]+?)(?:\.git)?(?:\/(.*))?$/.exec(path) ?? [];
    const repository = this.#repositories.get(id);
    // What is private does not exist for those who may not see it.
    if (!repository || (repository.isPrivate && role === null))
      return exchange.fail(role === null ? 401 : 404, 'Repository not found', 'RepoNotFound');
    if (rest === 'info/lfs/objects/batch') return this.#batch(exchange);
    const [verb = '', revision = 'main', ...file] = rest.split('/');
    if (verb === 'branch') {
      await exchange.body();
      repository.branches.set(revision, repository.branches.get('main')!);
      return exchange.json({});
    }
    const name = decodeURIComponent(revision);
    const commit = repository.resolve(name);
    if (!commit) return exchange.fail(404, `Invalid rev id: ${name}`, 'RevisionNotFound');
    if (verb === 'resolve')
      return this.#resolve(exchange, repository, commit, decodeURIComponent(file.join('/')), role);
    if (verb === '' || verb === 'revision') return this.#describe(exchange, repository, commit);
    if (verb === 'tree') return this.#list(exchange, repository, commit);
    if (verb === 'preupload') return this.#preupload(exchange);
    if (verb === 'commit') return this.#commit(exchange, repository, name);
    exchange.fail(404, 'no such address');
  }

  /** null without a token, undefined for one that is not valid. */
  #roleOf({ record: { authorization } }: Exchange): Role | null | undefined {
    return authorization === null ? null : this.#tokens[authorization.replace(/^Bearer /, '')];
  }

  async #json<T>(exchange: Exchange): Promise<T | null> {
    const body = await exchange.body();
    return body && (JSON.parse(new TextDecoder().decode(body)) as T);
  }

  async #create(exchange: Exchange): Promise<void> {
    const asked = await this.#json<{ name: string; organization: string; visibility?: string }>(exchange);
    if (!asked) return;
    const id = `${asked.organization}/${asked.name}`;
    if (this.#repositories.has(id)) return exchange.fail(409, 'You already created this model repo');
    this.#repositories.set(id, new Repository(id, asked.visibility === 'private'));
    exchange.json({ url: `http://${exchange.request.headers.host}/${id}`, name: id, id });
  }

  #describe(exchange: Exchange, repository: Repository, commit: string): void {
    exchange.json({
      _id: '1',
      id: repository.id,
      sha: commit,
      private: repository.isPrivate,
      gated: repository.isGated ? 'auto' : false,
      downloads: 0,
      likes: 0,
      lastModified: '2026-01-01T00:00:00.000Z',
      siblings: [...repository.files(commit).keys()].map((rfilename) => ({ rfilename })),
    });
  }

  #list(exchange: Exchange, repository: Repository, commit: string): void {
    const from = Number(exchange.url.searchParams.get('cursor') ?? 0);
    const entries = [...repository.files(commit)];
    const next = new URL(exchange.url.href);
    next.host = exchange.request.headers.host!;
    next.searchParams.set('cursor', String(from + PAGE));
    exchange.json(
      entries.slice(from, from + PAGE).map(([path, { lfs, bytes }]) => ({
        type: 'file',
        oid: lfs ? '0'.repeat(40) : gitHash(bytes),
        size: bytes.length,
        path,
        ...(lfs && { lfs: { oid: lfs, size: bytes.length, pointerSize: 134 } }),
      })),
      200,
      from + PAGE < entries.length ? { Link: `<${next.href}>; rel="next"` } : {},
    );
  }

  async #resolve(
    exchange: Exchange,
    repository: Repository,
    commit: string,
    path: string,
    role: Role | null,
  ): Promise<void> {
    if (repository.isGated && role !== 'write')
      return exchange.fail(
        role === null ? 401 : 403,
        `Access to model ${repository.id} is restricted.`,
        'GatedRepo',
      );
    const file = repository.files(commit).get(path);
    if (!file) return exchange.fail(404, 'Entry not found', 'EntryNotFound');
    if (file.lfs === null) return exchange.send(file.bytes, { ETag: `"${commit}"`, 'X-Repo-Commit': commit });
    exchange.response
      .writeHead(302, {
        Location: this.#storage.downloadUrl(file.lfs),
        'X-Repo-Commit': commit,
        'X-Linked-Etag': `"${file.lfs}"`,
        'X-Linked-Size': file.bytes.length,
      })
      .end();
  }

  /** The hub decides by the repository's attributes, size and content; here texts by their names are plain. */
  async #preupload(exchange: Exchange): Promise<void> {
    const asked = await this.#json<{ files: { path: string; size: number; sample: string }[] }>(exchange);
    if (!asked) return;
    exchange.json({
      files: asked.files.map(({ path }) => ({
        path,
        uploadMode: /\.(md|txt|json|sig)$|^[A-Z0-9]+$/.test(path) ? 'regular' : 'lfs',
      })),
    });
  }

  async #batch(exchange: Exchange): Promise<void> {
    const asked = await this.#json<{ transfers: string[]; objects: { oid: string; size: number }[] }>(
      exchange,
    );
    if (!asked) return;
    const started = asked.objects.map(({ oid, size }) => ({
      oid,
      size,
      ...(this.#storage.objects.has(oid) ? null : this.#storage.startUpload(oid, size)),
    }));
    exchange.json({
      transfer: started.some(({ transfer }) => transfer === 'multipart') ? 'multipart' : 'basic',
      objects: started.map(({ oid, size, upload }) => ({
        oid,
        size,
        ...(upload && { actions: { upload } }),
      })),
    });
  }

  async #commit(exchange: Exchange, repository: Repository, branch: string): Promise<void> {
    const body = await exchange.body();
    if (!body) return;
    const table = new Map<string, RepositoryFile>(repository.files(repository.branches.get(branch)!));
    let title = '';
    for (const line of new TextDecoder().decode(body).split('\n')) {
      const { key, value } = JSON.parse(line) as { key: string; value: Record<string, string> };
      if (key === 'header') {
        title = value.summary!;
        const parent = value.parentCommit;
        if (parent !== undefined && parent !== repository.branches.get(branch))
          return exchange.fail(412, 'A commit has happened since. Please refresh and try again.');
      } else if (key === 'file') table.set(value.path!, plain(Buffer.from(value.content!, 'base64')));
      else if (key === 'deletedFile') table.delete(value.path!);
      else if (key === 'lfsFile') {
        const bytes = this.#storage.objects.get(value.oid!);
        if (!bytes) return exchange.fail(422, 'a large file was not uploaded');
        table.set(value.path!, { lfs: value.oid!, bytes });
      }
    }
    const commit = repository.commit(branch, title, table);
    exchange.json({ success: true, commitOid: commit, commitUrl: `${repository.id}/commit/${commit}` });
  }
}
