// SHA-256 of ranges of open files on one other thread, which reads them into memory of its own: a validation hashes there
// what it looks at here. The thread starts with the first request, serves all files of the process, and keeps no
// process alive.
import { Worker } from 'node:worker_threads';

interface Request {
  readonly id: number;
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
}

interface Reply {
  readonly id: number;
  /** Null when not all bytes could be read. */
  readonly hash: Uint8Array<ArrayBuffer> | null;
}

/** All of the thread's code; as its text is what the thread gets, it uses nothing from outside. */
function serve(): void {
  const { createHash } = process.getBuiltinModule('node:crypto');
  const { readSync } = process.getBuiltinModule('node:fs');
  const port = process.getBuiltinModule('node:worker_threads').parentPort!;
  let memory = new Uint8Array(0);
  const hashRange = ({ fd, offset, length }: Request): Uint8Array | null => {
    if (memory.length < length) memory = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const count = readSync(fd, memory, done, length - done, offset + done);
      if (count === 0) return null;
      done += count;
    }
    return new Uint8Array(createHash('sha256').update(memory.subarray(0, length)).digest());
  };
  port.on('message', (request: Request) => {
    let hash: Uint8Array | null = null;
    try {
      hash = hashRange(request);
    } catch {
      // The other thread reads the range too, and says what is wrong with it.
    }
    port.postMessage({ id: request.id, hash });
  });
}

type Settle = (hash: Uint8Array<ArrayBuffer> | null) => void;

class HashThread {
  readonly #worker = new Worker(`(${serve})()`, { eval: true });
  readonly #waiting = new Map<number, Settle>();
  #lastId = 0;
  #failed = false;

  constructor() {
    this.#worker.on('message', ({ id, hash }: Reply) => this.#settle(id, hash));
    this.#worker.on('error', () => this.#fail());
    this.#worker.on('exit', () => this.#fail());
    this.#worker.unref();
  }

  hashRange(fd: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#failed) return Promise.resolve(null);
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, resolve);
      // While somebody waits for it, the process must not end.
      this.#worker.ref();
      this.#worker.postMessage({ id, fd, offset, length } satisfies Request);
    });
  }

  #settle(id: number, hash: Uint8Array<ArrayBuffer> | null): void {
    const settle = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
    settle?.(hash);
  }

  #fail(): void {
    this.#failed = true;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, null);
  }
}

let thread: HashThread | null = null;

/** @returns null when it could not be had there, for whatever reason; the file must stay open until then */
export function hashRangeOnThread(
  fd: number,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  thread ??= new HashThread();
  return thread.hashRange(fd, offset, length);
}
