// Requests of @huggingface/hub: repeated where that may help, refused in our words, and counted as their bodies are sent.
import { setTimeout as sleep } from 'node:timers/promises';
import { DuobitError, describeHubStatus } from '@duobit/format';
import type { Network } from '@duobit/runtime-node';

const ATTEMPTS = 5;
const FIRST_DELAY_MS = 500;
const MOST_DELAY_MS = 60_000;

/** What the library adds to requests whose progress it wants to tell. */
interface ProgressHint {
  readonly progressHint?: {
    readonly progressCallback: (progress: number) => void;
    readonly part?: number;
    readonly numParts?: number;
  };
}

/**
 * `fetch` for the library. Its bodies are texts and Blobs, which can be sent again; a commit is not, as it may have been made though
 * the answer was lost.
 * @throws from its calls: DuobitError `HTTP_NETWORK`, `HTTP_STATUS`, `HTTP_UNAUTHORIZED`, `HTTP_FORBIDDEN`, `HUB_NOT_FOUND`, …
 */
export function createHubFetch(network: Network, signal: AbortSignal): typeof fetch {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const name = url.origin + url.pathname;
    const isCommit = /\/commit\/[^/]+$/.test(url.pathname);
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) throw new DuobitError('ABORTED', 'stopped by the user', { source: name });
      const last = attempt === ATTEMPTS;
      let wait = FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + 0.5 * Math.random());
      try {
        const response = await network.fetch(url.href, {
          ...init,
          body: countedBody(init) ?? null,
          // The library ends its other requests when one fails.
          signal: init.signal ? AbortSignal.any([signal, init.signal]) : signal,
        });
        if (response.ok || response.status === 409) return response;
        const isTransient = response.status === 429 || response.status >= 500;
        if (!isTransient || last) throw await refusal(response, name);
        await response.body?.cancel();
        wait = retryAfter(response.headers) ?? wait;
      } catch (error) {
        if (error instanceof DuobitError) throw error;
        if (signal.aborted) continue;
        if (init.signal?.aborted || isCommit || last) throw unreachable(error, name, isCommit);
      }
      await sleep(Math.min(wait, MOST_DELAY_MS), undefined, { signal }).catch(() => {});
    }
  };
}

function retryAfter(headers: Headers): number | null {
  const text = headers.get('Retry-After');
  return text !== null && /^\d{1,5}$/.test(text) ? Number(text) * 1000 : null;
}

async function refusal(response: Response, source: string): Promise<DuobitError> {
  const known = describeHubStatus(response.status, response.headers);
  if (known) return new DuobitError(known.code, known.message, { source, remedy: known.remedy });
  const body: unknown = await response.json().catch(() => null);
  const { error } = { ...Object(body) } as { error?: unknown };
  const said = typeof error === 'string' ? `: ${error.replace(/\s+/g, ' ').slice(0, 300)}` : '';
  return new DuobitError('HTTP_STATUS', `the server answered with status ${response.status}${said}`, {
    source,
    remedy: 'Run the command again: what was uploaded stays. If it stays so, look at the hub’s status page',
  });
}

function unreachable(error: unknown, source: string, isCommit: boolean): DuobitError {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
  const message = isCommit ? `no answer to the commit, which may have been made: ${reason}` : reason;
  return new DuobitError('HTTP_NETWORK', message, {
    source,
    remedy: 'Check the connection and run the command again: what was uploaded stays',
    cause: error,
  });
}

/** Of the parts of a file that is uploaded in parts, by what is told of it. */
const partsSent = new WeakMap<(progress: number) => void, number[]>();

function countedBody(init: RequestInit & ProgressHint): RequestInit['body'] {
  const { body = null, progressHint } = init;
  if (!progressHint || !(body instanceof Blob) || body.size === 0) return body;
  const { progressCallback, part = 0, numParts = 1 } = progressHint;
  const parts = partsSent.get(progressCallback) ?? Array.from({ length: numParts }, () => 0);
  partsSent.set(progressCallback, parts);
  parts[part] = 0;
  return new CountedBlob(body, (bytes) => {
    parts[part] = bytes / body.size;
    progressCallback(parts.reduce((sum, share) => sum + share, 0) / numParts);
  });
}

/** A Blob that tells how much of it was read, and is otherwise the one given, which may read a file as it goes. */
class CountedBlob extends Blob {
  readonly #blob: Blob;
  readonly #onBytes: (bytes: number) => void;

  constructor(blob: Blob, onBytes: (bytes: number) => void) {
    super();
    this.#blob = blob;
    this.#onBytes = onBytes;
  }

  override get size(): number {
    return this.#blob.size;
  }

  override stream(): ReturnType<Blob['stream']> {
    let bytes = 0;
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform: (piece, controller) => {
        bytes += piece.length;
        this.#onBytes(bytes);
        controller.enqueue(piece);
      },
    });
    return this.#blob.stream().pipeThrough(count);
  }
}
