// Hashes are right whoever makes them: the other thread, or this one before that is up, while it works, and once it is dead.
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
  postMessage(bytes: Uint8Array) {
    this.requests.push(bytes);
  }
  ref() {
    this.isReferenced = true;
  }
  unref() {
    this.isReferenced = false;
  }
}

/** A fresh module whose threads are made by `Worker`. */
async function load(Worker: unknown) {
  vi.resetModules();
  const builtin = process.getBuiltinModule;
  vi.spyOn(process, 'getBuiltinModule').mockImplementation(((id: string) =>
    id === 'node:worker_threads' ? { Worker } : builtin(id)) as typeof builtin);
  return import('./hash-worker.ts');
}

async function loadFake() {
  const workers: FakeWorker[] = [];
  const { getHasher } = await load(
    class extends FakeWorker {
      constructor() {
        super();
        workers.push(this);
      }
    },
  );
  return { getHasher, workers };
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

  it('is for much data, one user at a time, and keeps the process only while it is waited for', async () => {
    const { getHasher, workers } = await loadFake();
    getHasher(1000).release();
    getHasher(60 * 2 ** 20).release();
    expect(workers).toEqual([]);
    const hasher = getHasher(60 * 2 ** 20);
    const [worker] = workers;
    expect(getHasher(MUCH).allocate(1).buffer).toBeInstanceOf(ArrayBuffer);
    const bytes = hasher.allocate(100);
    expect(bytes.buffer).toBeInstanceOf(SharedArrayBuffer);

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
