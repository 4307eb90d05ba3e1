// SHA-256 on one other thread, where there is Node: of memory that both threads share, so that whoever reads much looks
// at the bytes here while they are hashed there. Elsewhere, and until the thread is up, the caller's thread hashes.
import { sha256 } from './sha256.ts';

/** Bytes after which a process gets the thread: to start it takes as long as to hash about so many. */
const START_BYTES = 96 * 2 ** 20;
/** Less at once is not worth the way there. */
const MIN_BYTES = 8 * 2 ** 20;

export interface Hasher {
  /** Memory, of any content, that both threads see. */
  allocate(length: number): Uint8Array;
  /** 32 bytes. What lies in memory of `allocate` must stay as it is until the hash has come. */
  hash(bytes: Uint8Array): Promise<Uint8Array>;
  /** Ends its use, and that of its memory. */
  release(): void;
}

const HERE: Hasher = { allocate: (length) => new Uint8Array(length), hash: sha256, release() {} };

/** The thread's code, as text: bundlers then leave it as it is. It answers in the order of the requests. */
const CODE = `
  const { createHash } = require('node:crypto');
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', (bytes) => {
    parentPort.postMessage(new Uint8Array(createHash('sha256').update(bytes).digest()));
  });
  parentPort.postMessage('up');
`;

interface Request {
  readonly bytes: Uint8Array;
  readonly resolve: (hash: Uint8Array | Promise<Uint8Array>) => void;
}

type Threads = typeof import('node:worker_threads');

class HashWorker implements Hasher {
  readonly #worker: InstanceType<Threads['Worker']>;
  readonly #waiting: Request[] = [];
  /** Kept, as the other thread would forget what it saw of it only long after it has been let go here. */
  readonly #memory: Uint8Array[] = [];
  #allocated = 0;
  #up = false;
  /** Somebody uses it: the memory is for one at a time. */
  inUse = false;

  /** @throws whatever keeps Node from starting a thread */
  constructor({ Worker }: Threads) {
    this.#worker = new Worker(CODE, { eval: true, execArgv: [] });
    this.#worker.on('message', (message: 'up' | Uint8Array) => {
      if (message === 'up') this.#up = true;
      else this.#settle(message);
    });
    this.#worker.on('error', () => this.#end());
    this.#worker.on('exit', () => this.#end());
    this.#worker.unref();
  }

  allocate(length: number): Uint8Array {
    const index = this.#allocated++;
    const kept = this.#memory[index];
    if (kept && kept.length >= length) return kept.subarray(0, length);
    const memory = new Uint8Array(new SharedArrayBuffer(length));
    this.#memory[index] = memory;
    return memory;
  }

  hash(bytes: Uint8Array): Promise<Uint8Array> {
    // While that thread is at work, this one takes its share.
    if (!this.#up || this.#waiting.length > 0) return sha256(bytes);
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, resolve });
      // The thread keeps the process alive only while somebody waits for it.
      this.#worker.ref();
      this.#worker.postMessage(bytes);
    });
  }

  release(): void {
    this.#allocated = 0;
    this.inUse = false;
  }

  #settle(hash: Uint8Array): void {
    const { resolve } = this.#waiting.shift()!;
    if (this.#waiting.length === 0) this.#worker.unref();
    resolve(hash);
  }

  /** What waits is hashed here. */
  #end(): void {
    this.#up = false;
    for (const { bytes, resolve } of this.#waiting.splice(0)) resolve(sha256(bytes));
  }
}

/** Kept for the life of the process; null where none can be started. */
let worker: HashWorker | null | undefined;
/** Of all requests so far. */
let totalBytes = 0;

function startWorker(): HashWorker | null {
  const threads = globalThis.process?.getBuiltinModule?.('node:worker_threads');
  try {
    return threads ? new HashWorker(threads) : null;
  } catch {
    return null;
  }
}

/** For about `total` bytes in all; to be released. */
export function getHasher(total: number): Hasher {
  totalBytes += total;
  if (total < MIN_BYTES || totalBytes < START_BYTES) return HERE;
  if (worker === undefined) worker = startWorker();
  if (!worker || worker.inUse) return HERE;
  worker.inUse = true;
  return worker;
}
