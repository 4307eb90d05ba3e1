// A backend that survives the loss of its device: it is opened again, programs are prepared again from their weights, and what their
// caches held is run again, so that whoever uses a program goes on as if nothing had been.
import {
  type Backend,
  disposed,
  type ExecutionPlan,
  type PrepareOptions,
  type Program,
  type RunRequest,
  type WeightReader,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';

/** Options of `createRecoveringBackend`. */
export interface RecoveryOptions {
  /** Told in one line of every loss that is recovered from. */
  readonly onNotice?: ((line: string) => void) | undefined;
  /** Milliseconds of a clock that only goes forward. Default: `performance.now`. */
  readonly now?: (() => number) | undefined;
}

/** A device that is lost again sooner than this is given up: something in what it runs may be the reason. */
const SHORTEST_LIFE_MS = 60_000;

/**
 * A backend on what `open` gives, opened anew after `BACKEND_DEVICE_LOST`. Plans that gather statistics are not recovered: their sums
 * are gone.
 * @throws DuobitError what `open` throws. Programs throw `BACKEND_DEVICE_LOST` when the device is lost again within a minute, or when
 * opening, preparing or running again fails; a later call, after that minute, tries anew.
 */
export async function createRecoveringBackend(
  open: () => Promise<Backend>,
  options: RecoveryOptions = {},
): Promise<Backend> {
  return new RecoveringBackend(open, await open(), options);
}

class RecoveringBackend implements Backend {
  readonly #open: () => Promise<Backend>;
  readonly #onNotice: (line: string) => void;
  readonly #now: () => number;
  /** What programs take; pending while the backend is opened anew. */
  #current: Promise<Backend>;
  /** What is open, or was last. */
  #backend: Backend;
  #isOpening = false;
  #recovered = Number.NEGATIVE_INFINITY;
  #disposed = false;

  constructor(open: () => Promise<Backend>, backend: Backend, { onNotice, now }: RecoveryOptions) {
    this.#open = open;
    this.#backend = backend;
    this.#current = Promise.resolve(backend);
    this.#onNotice = onNotice ?? (() => {});
    this.#now = now ?? (() => performance.now());
  }

  get name() {
    return this.#backend.name;
  }
  get threads() {
    return this.#backend.threads;
  }
  get kv() {
    return this.#backend.kv;
  }
  get instructionSet() {
    return this.#backend.instructionSet;
  }
  get refinements() {
    return this.#backend.refinements;
  }

  async prepare(plan: ExecutionPlan, weights: WeightReader, options: PrepareOptions): Promise<Program> {
    const backend = await this.#current;
    const program = await backend.prepare(plan, weights, options);
    const gathers = Object.values(plan.slots).some(({ kind }) => kind === 'stat');
    if (gathers) return program;
    const prepare = (on: Backend) => on.prepare(plan, weights, options);
    return new RecoveringProgram(this, prepare, { backend, program });
  }

  /** The backend that comes after a lost one; the same for all programs that ask. */
  async replace(lost: Backend, loss: DuobitError): Promise<Backend> {
    if (this.#backend === lost && !this.#isOpening) {
      this.#current = this.#reopen(loss);
      // Who awaits it is told; nobody may.
      this.#current.catch(() => {});
    }
    return this.#current;
  }

  /** Counts from when the model runs again, so that a long reload is not held against the device. */
  noteRecovered(): void {
    this.#recovered = this.#now();
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#current.catch(() => {});
    await this.#backend.dispose();
  }

  async #reopen(loss: DuobitError): Promise<Backend> {
    const lived = this.#now() - this.#recovered;
    if (lived < SHORTEST_LIFE_MS)
      throw lostForGood(`${loss.message}, again after ${(lived / 1000).toFixed(1)} s`, loss);
    if (this.#disposed) throw loss;
    this.#onNotice(`note: ${loss.message}; loading the model again`);
    this.#isOpening = true;
    try {
      await this.#backend.dispose();
      this.#backend = await this.#open();
    } catch (error) {
      throw notLoadedAgain(error);
    } finally {
      this.#isOpening = false;
    }
    return this.#backend;
  }
}

interface Held {
  readonly backend: Backend;
  readonly program: Program;
}

/** A run with all that had been written before it. */
interface PastRun {
  readonly request: RunRequest;
  readonly inputs: readonly (readonly [string, Float32Array | Int32Array])[];
}

class RecoveringProgram implements Program {
  readonly readBest?: NonNullable<Program['readBest']>;
  readonly readTop?: NonNullable<Program['readTop']>;
  readonly #backend: RecoveringBackend;
  readonly #prepare: (backend: Backend) => Promise<Program>;
  #held: Held;
  /** What was written last to each slot. */
  readonly #inputs = new Map<string, Float32Array | Int32Array>();
  /**
   * The runs that the cache is made of, by position. They are run again as they were, and not as one prompt: sums of many rows are
   * rounded in another order than those of one, and the text could go another way.
   */
  readonly #runs: PastRun[] = [];
  #disposed = false;

  constructor(backend: RecoveringBackend, prepare: (backend: Backend) => Promise<Program>, held: Held) {
    this.#backend = backend;
    this.#prepare = prepare;
    this.#held = held;
    if (held.program.readBest)
      this.readBest = (slot, row) => this.#attempt((program) => program.readBest!(slot, row));
    if (held.program.readTop)
      this.readTop = (slot, count, row) => this.#attempt((program) => program.readTop!(slot, count, row));
  }

  get weightBytes(): number {
    return this.#held.program.weightBytes;
  }

  async write(slot: string, values: Float32Array | Int32Array): Promise<void> {
    await this.#attempt((program) => program.write(slot, values));
    this.#inputs.set(slot, values.slice());
  }

  async run(request: RunRequest): Promise<void> {
    await this.#attempt((program) => program.run(request));
    const runs = this.#runs;
    while (runs.length > 0 && runs.at(-1)!.request.position >= request.position) runs.pop();
    runs.push({ request: { ...request }, inputs: [...this.#inputs] });
  }

  read(slot: string): Promise<Float32Array> {
    return this.#attempt((program) => program.read(slot));
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#held.program.dispose();
  }

  async #attempt<T>(use: (program: Program) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await use(this.#held.program);
      } catch (error) {
        if (this.#disposed || !isLoss(error)) throw error;
        await this.#recover(error);
      }
    }
  }

  async #recover(loss: DuobitError): Promise<void> {
    const backend = await this.#backend.replace(this.#held.backend, loss);
    let program: Program | null = null;
    try {
      program = await this.#prepare(backend);
      await this.#repeat(program);
    } catch (error) {
      await program?.dispose();
      // The next call opens another one.
      if (isLoss(error)) this.#held = { ...this.#held, backend };
      throw this.#disposed ? disposed('program') : notLoadedAgain(error);
    }
    if (this.#disposed) {
      await program.dispose();
      throw disposed('program');
    }
    await this.#held.program.dispose();
    this.#held = { backend, program };
    this.#backend.noteRecovered();
  }

  async #repeat(program: Program): Promise<void> {
    const write = async (inputs: Iterable<readonly [string, Float32Array | Int32Array]>): Promise<void> => {
      for (const [slot, values] of inputs) await program.write(slot, values);
    };
    for (const [index, { request, inputs }] of this.#runs.entries()) {
      if (this.#disposed) return;
      await write(inputs);
      // Only what the latest gave can still be read.
      const isLatest = index === this.#runs.length - 1;
      await program.run(isLatest ? request : { ...request, logits: 'none' });
    }
    await write(this.#inputs);
  }
}

function isLoss(error: unknown): error is DuobitError {
  return error instanceof DuobitError && error.code === 'BACKEND_DEVICE_LOST';
}

function lostForGood(message: string, cause: unknown): DuobitError {
  return new DuobitError('BACKEND_DEVICE_LOST', message, {
    where: 'webgpu backend',
    remedy: 'Close what else uses the GPU and load the model again, or use the wasm backend',
    cause,
  });
}

function notLoadedAgain(cause: unknown): DuobitError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return lostForGood(`the GPU device was lost, and the model cannot be loaded again: ${reason}`, cause);
}
