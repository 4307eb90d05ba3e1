// Hashes are right whoever makes them: other threads, or this one before those are up, while they work, and once they are dead.
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import * as threads from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';

const MUCH = 2 ** 30;
const digest = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());

/** Stands for the other thread: answers when told to. */
class FakeWorker extends EventEmitter {
  readonly requests: Uint8Array[] = [];
  isReferenced = true;
  isTerminated = false;
  postMessage(bytes: Uint8Array) {
    this.requests.push(bytes);
  }
  ref() {
    this.isReferenced = true;
  }
  unref() {
    this.isReferenced = false;
  }
  async terminate() {
    this.isTerminated = true;
    this.emit('exit', 1);
  }
}

/** A fresh module whose threads are made by `Worker`. */
async function load(Worker: unknown, processors = 1) {
  vi.resetModules();
  const builtin = process.getBuiltinModule;
  const replaced: Record<string, unknown> = {
    'node:worker_threads': { Worker },
    'node:os': { availableParallelism: () => processors },
  };
  vi.spyOn(process, 'getBuiltinModule').mockImplementation(
    ((id: string) => replaced[id] ?? builtin(id)) as typeof builtin,
  );
  return import('./hash-threads.ts');
}

async function loadFake(processors?: number) {
  const workers: FakeWorker[] = [];
  const loaded = await load(
    class extends FakeWorker {
      constructor() {
        super();
        workers.push(this);
      }
    },
    processors,
  );
  return { ...loaded, workers };
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

describe('hashing on another thread', () => {
  it('gives what this thread gives, in shared memory that is used again', async () => {
    const made: threads.Worker[] = [];
    const { getHasher } = await load(
      class extends threads.Worker {
        constructor(...options: ConstructorParameters<typeof threads.Worker>) {
          super(...options);
          made.push(this);
        }
      },
    );
    const hasher = getHasher(MUCH);
    const memory = [hasher.allocate(5_000_000), hasher.allocate(1000)];
    const [worker] = made;
    const posted = vi.spyOn(worker!, 'postMessage');
    for (let round = 0; posted.mock.calls.length < 3; round++) {
      for (const bytes of memory) bytes.fill(round);
      const hashes = await Promise.all(memory.map((bytes) => hasher.hash(bytes.subarray(7))));
      expect(hashes).toEqual(memory.map((bytes) => digest(bytes.subarray(7))));
      await new Promise(setImmediate);
    }
    hasher.release();
    expect(getHasher(MUCH).allocate(5_000_000).buffer).toBe(memory[0]!.buffer);
    await worker!.terminate();
    expect(await hasher.hash(memory[0]!)).toEqual(digest(memory[0]!));
  });

  it('is for much data, one piece at a time, and keeps the process only while it is waited for', async () => {
    const { getHasher, workers } = await loadFake();
    getHasher(1000).release();
    getHasher(60 * 2 ** 20).release();
    expect(workers).toEqual([]);
    const hasher = getHasher(60 * 2 ** 20);
    const [worker] = workers;
    expect(getHasher(1000).allocate(1).buffer).toBeInstanceOf(ArrayBuffer);
    const bytes = hasher.allocate(100);
    expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(getHasher(MUCH).allocate(100).buffer).not.toBe(bytes.buffer);

    expect(await hasher.hash(bytes)).toEqual(digest(bytes));
    worker!.emit('message', 'up');
    expect(worker!).toMatchObject({ requests: [], isReferenced: false });
    const there = hasher.hash(bytes);
    expect(worker!).toMatchObject({ requests: [bytes], isReferenced: true });
    expect(await hasher.hash(bytes)).toEqual(digest(bytes));
    expect(worker!.requests).toHaveLength(1);
    worker!.emit('message', new Uint8Array([1, 2, 3]));
    expect(await there).toEqual(new Uint8Array([1, 2, 3]));
    expect(worker!.isReferenced).toBe(false);

    const lost = hasher.hash(bytes);
    worker!.emit('error', new Error('out of memory'));
    worker!.emit('exit', 1);
    expect(await lost).toEqual(digest(bytes));
    expect(await hasher.hash(bytes)).toEqual(digest(bytes));
    expect([workers.length, worker!.requests.length]).toEqual([1, 2]);
  });

  it('is done here where no thread can be started', async () => {
    const { getHasher } = await load(
      class {
        constructor() {
          throw new Error('not permitted');
        }
      },
    );
    for (let i = 0; i < 2; i++) {
      const bytes = getHasher(MUCH).allocate(10);
      expect(bytes.buffer).toBeInstanceOf(ArrayBuffer);
      expect(await getHasher(MUCH).hash(bytes)).toEqual(digest(bytes));
    }
  });
});

describe('hashing for those that read', () => {
  it('is done here for little, and where no thread can be started', async () => {
    const { getReadingHasher, workers } = await loadFake();
    expect([getReadingHasher(95 * 2 ** 20), workers.length]).toEqual([null, 0]);
    expect(getReadingHasher(2 ** 20)).not.toBeNull();
    const none = await load(
      class {
        constructor() {
          throw new Error('not permitted');
        }
      },
    );
    expect(none.getReadingHasher(MUCH)).toBeNull();
  });

  it('shares memory for so much that it will start threads, where there are any', async () => {
    const { createReadingBuffer, workers } = await loadFake();
    const [less, much] = [95 * 2 ** 20, 96 * 2 ** 20].map(createReadingBuffer);
    expect([less, much, workers]).toEqual([expect.any(ArrayBuffer), expect.any(SharedArrayBuffer), []]);
    vi.stubGlobal('process', undefined);
    const alone = createReadingBuffer(96 * 2 ** 20);
    vi.unstubAllGlobals();
    expect(alone).toBeInstanceOf(ArrayBuffer);
  });

  it('goes to the thread with the least work, at most four of them, and lends memory to so many at once', async () => {
    const { createReadingBuffer, getReadingHasher, workers } = await loadFake(16);
    const { hash, lanes, lend } = getReadingHasher(MUCH)!;
    expect([workers.length, lanes]).toEqual([4, 8]);
    const bytes = new Uint8Array(createReadingBuffer(10));
    expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(await hash(bytes)).toEqual(digest(bytes));
    for (const worker of workers.slice(1)) worker.emit('message', 'up');

    const memory = new Set<ArrayBufferLike>();
    let begun = 0;
    const all = Array.from({ length: 12 }, (_, i) =>
      lend(10, (lent) => {
        begun += 1;
        memory.add(lent.buffer);
        return hash(lent.fill(i));
      }),
    );
    await new Promise(setImmediate);
    expect([begun, memory.size, ...workers.map(({ requests }) => requests.length)]).toEqual([
      8, 8, 0, 3, 3, 2,
    ]);
    for (let done = 0; done < 12; ) {
      for (const worker of workers)
        for (const request of worker.requests.splice(0)) {
          worker.emit('message', digest(request));
          done += 1;
        }
      await new Promise(setImmediate);
    }
    const expected = Array.from({ length: 12 }, (_, i) => digest(new Uint8Array(10).fill(i)));
    expect(await Promise.all(all)).toEqual(expected);
    expect([begun, memory.size]).toEqual([12, 8]);
    expect(workers.every(({ isReferenced }) => !isReferenced)).toBe(true);
  });

  it('gives memory back when its use fails, and goes on when a thread has died', async () => {
    const { getReadingHasher, workers } = await loadFake(2);
    const { hash, lanes, lend } = getReadingHasher(MUCH)!;
    for (let i = 0; i < 2 * lanes; i++)
      await expect(lend(10, () => Promise.reject(new Error(`no ${i}`)))).rejects.toThrow(`no ${i}`);
    for (const worker of workers) worker.emit('message', 'up');
    const hashed = lend(10, (lent) => hash(lent.fill(7)));
    for (const worker of workers) worker.emit('exit', 1);
    expect(await hashed).toEqual(digest(new Uint8Array(10).fill(7)));
    expect(await lend(10, (lent) => hash(lent.fill(8)))).toEqual(digest(new Uint8Array(10).fill(8)));
  });

  it('ends when nothing has been asked for some time, but not before, and begins again for much', async () => {
    vi.useFakeTimers();
    try {
      const { createReadingBuffer, getReadingHasher, workers } = await loadFake(2);
      const first = getReadingHasher(MUCH)!;
      const memory = new Uint8Array(createReadingBuffer(10));
      for (const worker of workers) worker.emit('message', 'up');
      const hashed = first.hash(memory);
      await vi.advanceTimersByTimeAsync(60_000);
      expect(getReadingHasher(1)).toBe(first);
      workers[0]!.emit('message', digest(memory));
      expect(await hashed).toEqual(digest(memory));
      await vi.advanceTimersByTimeAsync(1500);
      expect(getReadingHasher(1)).toBe(first);
      await vi.advanceTimersByTimeAsync(1500);
      expect(workers.map(({ isTerminated }) => isTerminated)).toEqual([false, false]);
      await vi.advanceTimersByTimeAsync(1500);
      expect([getReadingHasher(1), ...workers.map(({ isTerminated }) => isTerminated)]).toEqual([
        null,
        true,
        true,
      ]);
      expect(createReadingBuffer(10)).toBeInstanceOf(ArrayBuffer);
      expect(await first.hash(memory)).toEqual(digest(memory));
      expect([getReadingHasher(MUCH) === first, workers.length]).toEqual([false, 4]);
    } finally {
      vi.useRealTimers();
    }
  });
});
