// The local hub's two servers. The hub speaks the API, the storage takes and gives large files at addresses that only it can make.
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HubApi } from './api.ts';
import { Exchange, type HubFault, type HubRequest } from './listener.ts';
import { Repository, sha256Hex } from './repository.ts';
import { Storage } from './storage.ts';

export interface HubServerOptions {
  /** What each token may do; default: `hf_write` everything, `hf_read` only read. */
  readonly tokens?: Readonly<Record<string, 'write' | 'read'>>;
  /** Uploads of more bytes are cut in parts of this size; default: none are. */
  readonly partBytes?: number;
}

export interface HubServer {
  /** Of the hub, without a slash at its end. */
  readonly url: string;
  /** Of the host that has the large files. */
  readonly storageUrl: string;
  /** By `user/name`. */
  readonly repositories: Map<string, Repository>;
  /** By SHA-256: what was uploaded whole. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
  /** All so far, in order. */
  readonly requests: HubRequest[];
  /** Asked about every request before it is answered. */
  fault: (request: HubRequest) => HubFault;
  /** Of each body; null: no limit. */
  bytesPerSecond: number | null;
  /** Adds a repository with these files. */
  add(id: string, files: Readonly<Record<string, Uint8Array | string>>, isPrivate?: boolean): Repository;
  /** A new commit with these files, the rest as it was. */
  replace(repository: Repository, files: Readonly<Record<string, Uint8Array | string>>): void;
  /** Bytes of bodies that the storage sent. */
  bytesSent(): number;
  close(): Promise<void>;
}

const TOKENS = { hf_write: 'write', hf_read: 'read' } as const;

/** On two free ports of 127.0.0.1. */
export async function startHubServer({
  tokens = TOKENS,
  partBytes,
}: HubServerOptions = {}): Promise<HubServer> {
  const repositories = new Map<string, Repository>();
  const requests: HubRequest[] = [];
  const storage = new Storage(randomUUID(), partBytes ?? null);
  const api = new HubApi(repositories, storage, tokens);
  const listen = async (host: HubRequest['host'], answer: (exchange: Exchange) => Promise<void>) => {
    const server = createServer((request, response) => {
      const { method = 'GET', url = '/', headers } = request;
      const record: HubRequest = {
        host,
        method,
        path: url,
        authorization: headers.authorization ?? null,
        range: headers.range ?? null,
        received: 0,
        sent: 0,
      };
      requests.push(record);
      const fault = hub.fault(record);
      const exchange = new Exchange(request, response, record, fault, hub.bytesPerSecond);
      if (fault && 'reset' in fault) response.destroy();
      else if (fault && 'status' in fault)
        exchange.json({ error: fault.error ?? 'as the test wants' }, fault.status, fault.headers);
      else answer(exchange).catch((error: unknown) => response.destroy(error as Error));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
  };
  const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const storageServer = await listen('storage', (exchange) => storage.answer(exchange));
  const hubServer = await listen('hub', (exchange) => api.answer(exchange));
  storage.url = addressOf(storageServer);
  const hub: HubServer = {
    url: addressOf(hubServer),
    storageUrl: storage.url,
    repositories,
    objects: storage.objects,
    requests,
    fault: () => null,
    bytesPerSecond: null,
    add(id, files, isPrivate = false) {
      const repository = new Repository(id, isPrivate);
      repositories.set(id, repository);
      hub.replace(repository, files);
      return repository;
    },
    replace(repository, files) {
      for (const bytes of Object.values(files))
        if (typeof bytes !== 'string') storage.objects.set(sha256Hex(bytes), bytes);
      repository.put(files);
    },
    bytesSent: () =>
      requests.filter(({ host }) => host === 'storage').reduce((sum, { sent }) => sum + sent, 0),
    async close() {
      for (const server of [hubServer, storageServer]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
  return hub;
}
