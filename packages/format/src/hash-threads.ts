// SHA-256 on other threads, where there is Node: of memory that all threads share, so that whoever reads much looks at the
// bytes here, or reads more, while they are hashed there. Elsewhere, and until the threads are up, the caller's thread hashes.
import { sha256 } from './sha256.ts';

/** Bytes after which a process gets threads: to start one takes as long as to hash about so many. */
const START_BYTES = 96 * 2 ** 20;
/** Less at once is not worth the way there. */
const MIN_BYTES = 8 * 2 ** 20;
/** More than these, and the thread that takes their results is what is waited for. */
const MOST_THREADS = 4;
/** Chunks under way for each thread: one is read while another is hashed. */
const LANES = 2;
/** Milliseconds without work after which threads end. */
const IDLE_TIME = 2000;

/** A thread's code, as text: bundlers then leave it as it is. It answers in the order of the requests. */
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

class HashThread {
  readonly #worker: InstanceType<Threads['Worker']>;
  readonly #waiting: Request[] = [];
  /** False too once it has ended. */
  isUp = false;

  /** @throws whatever keeps Node from starting a thread */
  constructor({ Worker }: Threads) {
    this.#worker = new Worker(CODE, { eval: true, execArgv: [] });
    this.#worker.on('message', (message: 'up' | Uint8Array) => {
      if (message === 'up') this.isUp = true;
      else this.#settle(message);
    });
    this.#worker.on('error', () => this.#end());
    this.#worker.on('exit', () => this.#end());
    this.#worker.unref();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  hash(bytes: Uint8Array): Promise<Uint8Array> {
    endWhenIdle();
    return new Promise((resolve) => {
      this.#waiting.push({ bytes, resolve });
      // The thread keeps the process alive only while somebody waits for it.
      this.#worker.ref();
      this.#worker.postMessage(bytes);
    });
  }

  #settle(hash: Uint8Array): void {
    const { resolve } = this.#waiting.shift()!;
    if (this.#waiting.length === 0) this.#worker.unref();
    resolve(hash);
  }

  /** What waits is hashed here. */
  #end(): void {
    this.isUp = false;
    for (const { bytes, resolve } of this.#waiting.splice(0)) resolve(sha256(bytes));
  }

  end(): void {
    this.isUp = false;
    void this.#worker.terminate();
  }
}

/** Of the process. */
let threads: HashThread[] = [];
/** Of all requests since threads ended last. */
let totalBytes = 0;
/** Shared memory that nobody uses. Kept, as the other threads would forget what they saw of it only when they end. */
let idleMemory: Uint8Array[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Called with every use: after some time without one the threads end, and what memory nobody has goes. */
function endWhenIdle(): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (threads.some(({ waiting }) => waiting > 0)) return endWhenIdle();
    for (const thread of threads) thread.end();
    threads = [];
    readingHasher = undefined;
    idleMemory = [];
    totalBytes = 0;
  }, IDLE_TIME);
  timer.unref();
}

const findWorkers = (): Threads | undefined => globalThis.process?.getBuiltinModule?.('node:worker_threads');

/** At least one and at most `count`, for `total` bytes more; null while that is not worth it, and where none can be started. */
function getThreads(total: number, count: number): readonly HashThread[] | null {
  totalBytes += total;
  const workers = findWorkers();
  if (!workers || totalBytes < START_BYTES) return null;
  try {
    while (threads.length < count) threads.push(new HashThread(workers));
  } catch {
    // With those that there are.
  }
  endWhenIdle();
  return threads.length > 0 ? threads : null;
}

function takeMemory(length: number): Uint8Array {
  const index = idleMemory.findIndex((memory) => memory.length >= length);
  const [kept] = index < 0 ? [] : idleMemory.splice(index, 1);
  return kept ?? new Uint8Array(new SharedArrayBuffer(length));
}

const giveMemory = (memory: Uint8Array): void => void idleMemory.push(memory);

/** For one that looks at all bytes besides: this thread takes its share of the hashing, too. */
export interface Hasher {
  /** Memory, of any content, that all threads see. */
  allocate(length: number): Uint8Array;
  /** 32 bytes. What lies in memory of `allocate` must stay as it is until the hash has come. */
  hash(bytes: Uint8Array): Promise<Uint8Array>;
  /** Ends its use, and that of its memory. */
  release(): void;
}

const HERE: Hasher = { allocate: (length) => new Uint8Array(length), hash: sha256, release() {} };

/** For about `total` bytes in all; to be released. */
export function getHasher(total: number): Hasher {
  const thread = total < MIN_BYTES ? undefined : getThreads(total, 1)?.[0];
  if (!thread) return HERE;
  const taken: Uint8Array[] = [];
  return {
    allocate(length) {
      const memory = takeMemory(length);
      taken.push(memory);
      return memory.subarray(0, length);
    },
    hash: (bytes) => (thread.isUp && thread.waiting === 0 ? thread.hash(bytes) : sha256(bytes)),
    release() {
      for (const memory of taken.splice(0)) giveMemory(memory);
    },
  };
}

/** For those that only read: the other threads do all hashing. */
export interface ReadingHasher {
  /** Chunks that are worth having under way at once, and the most that memory is lent for. */
  readonly lanes: number;
  /** 32 bytes, of memory that all threads see; it must stay as it is until then. */
  hash(bytes: Uint8Array): Promise<Uint8Array>;
  /** Memory that all threads see, of any content, to be given back. */
  take(length: number): Uint8Array;
  give(memory: Uint8Array): void;
  /** Lends such memory until `use` is done; waits while much is lent. */
  lend<T>(length: number, use: (memory: Uint8Array) => Promise<T>): Promise<T>;
}

let readingHasher: ReadingHasher | undefined;

/** For `total` bytes more; null where the caller had better hash them itself. The same for all. */
export function getReadingHasher(total: number): ReadingHasher | null {
  const system = globalThis.process?.getBuiltinModule?.('node:os');
  const all = getThreads(total, Math.min(MOST_THREADS, system?.availableParallelism() ?? 0));
  if (!all) return null;
  readingHasher ??= createReadingHasher(all);
  return readingHasher;
}

/**
 * Memory to read much into: shared with the threads, if there are any or so much will start them, so that they hash where it is. As far as
 * types go it is an ordinary buffer, as no reader of weights asks what it is.
 */
export function createReadingBuffer(length: number): ArrayBuffer {
  if (threads.length === 0 && (length < START_BYTES || !findWorkers())) return new ArrayBuffer(length);
  return new SharedArrayBuffer(length) as unknown as ArrayBuffer;
}

export const isShared = ({ buffer }: Uint8Array): boolean =>
  typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer;

function createReadingHasher(all: readonly HashThread[]): ReadingHasher {
  const lanes = LANES * all.length;
  let lent = 0;
  const waiting: (() => void)[] = [];
  return {
    lanes,
    take: takeMemory,
    give: giveMemory,
    hash(bytes) {
      const up = all.filter(({ isUp }) => isUp);
      if (up.length === 0) return sha256(bytes);
      return up.reduce((least, thread) => (thread.waiting < least.waiting ? thread : least)).hash(bytes);
    },
    async lend(length, use) {
      // Whoever ends wakes one that waits, whose turn it then is.
      if (lent === lanes) await new Promise<void>((resolve) => waiting.push(resolve));
      else lent += 1;
      const memory = takeMemory(length);
      try {
        return await use(memory.subarray(0, length));
      } finally {
        giveMemory(memory);
        const next = waiting.shift();
        if (next) next();
        else lent -= 1;
      }
    },
  };
}
