// Helper threads of the wasm backend: workers of Node or of the browser that run the kernel module's `serve` on a shared
// memory. They help with one program at a time and are called to another when that one runs.
import { LEAVING_WORD, TURN_WORD } from './table.ts';

/** What helpers need of a program. */
export interface Served {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

interface Helper {
  post(message: unknown): void;
  end(): Promise<void>;
}

/** Starts a worker; `onLost` is told when it could not start or has died. */
type Spawn = (source: string, onReady: () => void, onLost: () => void) => Helper;

/** Longest time for workers to start, and for a unit of work: beyond it a thread counts as lost. */
const START_MS = 10_000;
const LOST_MS = 60_000;

/**
 * Time that a browser's worker is given to be gone. Chromium 156 leaves a worker that is terminated while one of its own workers
 * ends, with both of their threads and all their memory: 48 of 200 at once, none of 200 after 10 ms, on a busy machine.
 */
const GONE_MS = 100;

/**
 * The whole worker, for Node and browsers, as text, so that it needs no file of its own. A message calls it to a program; in
 * `serve` it sleeps between runs, and comes back when the program has no use for it.
 */
const WORKER_SOURCE = `
const port = typeof require === 'function' ? require('node:worker_threads').parentPort : null;
const serve = ({ module, memory, thread }) => {
  const words = new Int32Array(memory.buffer);
  const wait = (address, seen) => {
    Atomics.wait(words, address >>> 2, seen);
    return 1;
  };
  new WebAssembly.Instance(module, { env: { memory, wait } }).exports.serve(thread);
};
if (port) port.on('message', serve);
else self.onmessage = ({ data }) => serve(data);
(port ?? self).postMessage('ready');
`;

/** Whether this engine, here and now, has memory that threads may share: browsers want cross-origin isolation for it. */
function canShareMemory(): boolean {
  return typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated !== false;
}

/** Starts up to `count` workers and waits until they are there; those that cannot start are left out. */
export async function startHelpers(count: number): Promise<HelperPool> {
  const pool = new HelperPool();
  const spawn = chooseSpawn();
  if (count < 1 || !spawn || !canShareMemory()) return pool;
  const starts = Array.from({ length: count }, () => pool.add(spawn));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, START_MS);
  });
  await Promise.race([Promise.all(starts), late]);
  clearTimeout(timer);
  await pool.settle();
  return pool;
}

export class HelperPool {
  #helpers: { readonly helper: Helper; ready: boolean }[] = [];
  #served: Served | null = null;

  get size(): number {
    return this.#helpers.length;
  }

  /** Resolves when the worker is ready or lost. */
  add(spawn: Spawn): Promise<void> {
    return new Promise((resolve) => {
      const drop = (): void => {
        this.#helpers = this.#helpers.filter((other) => other !== entry);
        resolve();
      };
      const ready = (): void => {
        entry.ready = true;
        resolve();
      };
      let entry: { readonly helper: Helper; ready: boolean };
      try {
        entry = { helper: spawn(WORKER_SOURCE, ready, drop), ready: false };
        this.#helpers.push(entry);
      } catch {
        resolve();
      }
    });
  }

  /** Gives up the workers that are not ready. */
  async settle(): Promise<void> {
    const late = this.#helpers.filter(({ ready }) => !ready);
    this.#helpers = this.#helpers.filter(({ ready }) => ready);
    await Promise.all(late.map(({ helper }) => helper.end()));
  }

  /** Calls the helpers to a program. They come in their own time; its runs do not wait for them. */
  serve(program: Served): void {
    if (this.#served === program || this.#helpers.length === 0) return;
    if (this.#served) this.release(this.#served);
    this.#served = program;
    const { module, memory } = program;
    Atomics.store(controlWords(program), LEAVING_WORD, 0);
    this.#helpers.forEach(({ helper }, index) => {
      helper.post({ module, memory, thread: index + 1 });
    });
  }

  /** Lets the helpers go that are at this program. */
  release(program: Served): void {
    if (this.#served !== program) return;
    this.#served = null;
    const words = controlWords(program);
    Atomics.store(words, LEAVING_WORD, 1);
    // Twice: an odd turn means that no run is open.
    Atomics.add(words, TURN_WORD, 2);
    Atomics.notify(words, TURN_WORD);
  }

  async dispose(): Promise<void> {
    const helpers = this.#helpers;
    this.#helpers = [];
    this.#served = null;
    await Promise.all(helpers.map(({ helper }) => helper.end()));
  }
}

function controlWords({ memory }: Served): Int32Array {
  return new Int32Array(memory.buffer);
}

/**
 * The module's `wait` on the caller's thread: sleeps until the word changes, where the engine allows that; the main thread of
 * a page may not sleep, so it looks at the word until then.
 */
export function createWait(memory: WebAssembly.Memory): (address: number, seen: number) => number {
  const sleeps = canSleep();
  return (address, seen) => {
    const words = new Int32Array(memory.buffer);
    const index = address >>> 2;
    if (sleeps) return Atomics.wait(words, index, seen, LOST_MS) === 'timed-out' ? 0 : 1;
    const start = performance.now();
    while (Atomics.load(words, index) === seen) if (performance.now() - start > LOST_MS) return 0;
    return 1;
  };
}

function canSleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}

/** Asked for at run time, so that bundles for browsers name no module of Node. */
function chooseSpawn(): Spawn | null {
  const threads = globalThis.process?.getBuiltinModule?.('node:worker_threads');
  if (threads) return (source, onReady, onLost) => spawnInNode(threads, source, onReady, onLost);
  return typeof Worker === 'function' ? spawnInBrowser : null;
}

function spawnInNode(
  { Worker }: typeof import('node:worker_threads'),
  source: string,
  onReady: () => void,
  onLost: () => void,
): Helper {
  // Without this process's options, as --input-type=module would read the source as another kind of module.
  const worker = new Worker(source, { eval: true, execArgv: [] });
  worker.once('message', () => {
    // From here on the process may end while the worker waits for work.
    worker.unref();
    onReady();
  });
  worker.on('error', onLost);
  worker.on('exit', onLost);
  return {
    post: (message) => worker.postMessage(message),
    end: async () => {
      await worker.terminate();
    },
  };
}

function spawnInBrowser(source: string, onReady: () => void, onLost: () => void): Helper {
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const worker = new Worker(url);
  worker.onmessage = () => {
    URL.revokeObjectURL(url);
    onReady();
  };
  worker.onerror = () => {
    worker.terminate();
    onLost();
  };
  return {
    post: (message) => worker.postMessage(message),
    end: async () => {
      worker.terminate();
      await new Promise((resolve) => setTimeout(resolve, GONE_MS));
    },
  };
}
