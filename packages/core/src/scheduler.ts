// Generations that run at the same time on one program. Each has a KV cache to itself; what they want next goes into one run: a row of
// every text that is being written, and a share of the prompts that wait.
import { DuobitError } from '@duobit/format';
import type { Program, RunPart } from './backend.ts';
import { checkTokens } from './backends/checks.ts';
import { nextTurn } from './event-loop.ts';
import { chooseCache, createCaches, forgetFrom, noteTokens, type SequenceCache } from './sequence-cache.ts';
import { SLOTS } from './slots.ts';

export interface SchedulerOptions {
  /** Of the model, for messages. */
  readonly name: string;
  readonly vocabularySize: number;
  /** As the program was prepared. */
  readonly maxRows: number;
  readonly sequences: number;
  /** Generations that may wait for a cache. */
  readonly queue: number;
  /** Whether a prompt begins behind the tokens that it shares with what its cache holds. */
  readonly reusePrefix: boolean;
}

/** Finds what is wanted in a row of the logits that were computed last. */
export type LogitsSearch<T> = (row: number) => Promise<T>;

/** What gives T: logits of the rows wanted, one row after the other, or what is found in those of the last. */
export interface SequenceRun<T = Float32Array> {
  readonly tokens: ArrayLike<number>;
  /** Of the first token, in the cache. */
  readonly position: number;
  readonly logits: RunPart['logits'];
  /** Only where logits are those of the last token. */
  readonly search?: LogitsSearch<T> | undefined;
}

/** A cache, for as long as a text needs it. */
export interface Sequence {
  /** Tokens of its prompt that need not be run. */
  readonly cached: number;
  /**
   * One at a time.
   * @returns null when the signal came first
   * @throws DuobitError `RUN_INVALID`, `MODEL_DISPOSED`, what the backend throws
   */
  run<T = Float32Array>(run: SequenceRun<T>): Promise<T | null>;
  /** Gives the cache back. */
  close(): void;
}

interface Request extends SequenceRun<unknown> {
  readonly sequence: OpenSequence;
  readonly tokens: Int32Array;
  /** Tokens that have been run. */
  done: number;
  readonly chunks: Float32Array[];
}

/** What of a request goes into a run. */
interface Share {
  readonly request: Request;
  readonly part: RunPart;
  readonly tokens: Int32Array;
}

interface Waiter {
  readonly admit: () => void;
  readonly refuse: (error: unknown) => void;
}

/** The part of a run's rows that prompts have where texts are being written beside them, so that these are not held up. */
const PROMPT_SHARE = 1 / 4;
/** A CPU backend never leaves the microtask queue, so timers, input and an abort would wait for the whole text. */
const LONGEST_HOLD_MS = 10;

export class Scheduler {
  readonly #program: Program;
  readonly #options: SchedulerOptions;
  readonly #caches: readonly SequenceCache[];
  readonly #open = new Set<OpenSequence>();
  /** Who has waited longest comes first. */
  #requests: Request[] = [];
  readonly #waiters = new Set<Waiter>();
  /** One that has the program to itself. */
  #alone: OpenSequence | null = null;
  /** Of caches so far. */
  #uses = 0;
  #isServing = false;
  #yielded = 0;
  #disposed = false;

  constructor(program: Program, options: SchedulerOptions) {
    this.#program = program;
    this.#options = options;
    this.#caches = createCaches(options.sequences);
  }

  /**
   * Takes a cache for a text, or waits for one. The signal gives it back at once.
   * @returns null when the signal came first
   * @throws DuobitError `MODEL_BUSY`, `MODEL_DISPOSED`
   */
  async open(prompt: readonly number[], signal: AbortSignal | undefined): Promise<Sequence | null> {
    if (this.#disposed) throw this.#disposedError();
    if (signal?.aborted) return null;
    if (this.#waiters.size === 0 && this.#hasFree()) return this.#take(prompt, signal);
    if (this.#waiters.size >= this.#options.queue) throw this.#busy('generate');
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        leave();
        resolve(null);
      };
      const waiter: Waiter = {
        admit: () => {
          leave();
          resolve(this.#take(prompt, signal));
        },
        refuse: (error) => {
          leave();
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort);
      this.#waiters.add(waiter);
    });
  }

  /**
   * Takes the whole program, for runs at any positions of the first cache.
   * @throws DuobitError `MODEL_BUSY`, `MODEL_DISPOSED`
   */
  openAlone(): Sequence {
    if (this.#disposed) throw this.#disposedError();
    if (this.#open.size > 0) throw this.#busy('forward');
    this.#alone = this.#begin(this.#caches[0]!, undefined);
    return this.#alone;
  }

  /** Ends all that run or wait with `MODEL_DISPOSED`. */
  dispose(): void {
    this.#disposed = true;
    const error = this.#disposedError();
    for (const waiter of this.#waiters) waiter.refuse(error);
    this.#endAll(error);
  }

  /** For sequences. */
  submit(sequence: OpenSequence, run: SequenceRun<unknown>): void {
    // As they were given: the array makes whole numbers of all.
    checkTokens(run.tokens, this.#options.vocabularySize);
    const tokens = new Int32Array(run.tokens);
    const { position, logits, search } = run;
    this.#requests.push({ sequence, tokens, position, logits, search, done: 0, chunks: [] });
    if (!this.#isServing) void this.#serve();
  }

  /** For sequences. */
  release(sequence: OpenSequence): void {
    if (this.#requests.length > 0)
      this.#requests = this.#requests.filter((request) => request.sequence !== sequence);
    this.#open.delete(sequence);
    if (this.#alone === sequence) this.#alone = null;
    const { cache } = sequence;
    cache.isTaken = false;
    cache.lastUsed = ++this.#uses;
    for (const waiter of this.#waiters) if (this.#hasFree()) waiter.admit();
  }

  #hasFree(): boolean {
    return this.#alone === null && this.#open.size < this.#caches.length;
  }

  /** At once; async so that what goes wrong is told to who waited, and not to who gave the cache back. */
  async #take(prompt: readonly number[], signal: AbortSignal | undefined): Promise<OpenSequence> {
    return this.#begin(chooseCache(this.#caches, prompt, this.#options.reusePrefix), signal);
  }

  #begin(cache: SequenceCache, signal: AbortSignal | undefined): OpenSequence {
    // Taken once nothing can fail any more, as only a sequence gives its cache back.
    const sequence = new OpenSequence(this, cache, signal);
    cache.isTaken = true;
    this.#open.add(sequence);
    return sequence;
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    while (this.#requests.length > 0) {
      // All others that are about to ask for their next token come in the meantime.
      const isOneToCome = this.#requests.length < this.#open.size;
      if (isOneToCome || performance.now() - this.#yielded >= LONGEST_HOLD_MS) {
        await nextTurn();
        this.#yielded = performance.now();
      }
      const shares = this.#divide();
      if (shares.length === 0) continue;
      try {
        await this.#run(shares);
      } catch (error) {
        // What the caches hold after that is not known, nor whether the device lives.
        for (const { tokens } of this.#caches) tokens.length = 0;
        this.#endAll(error);
      }
    }
    this.#isServing = false;
  }

  /**
   * Gives every request a part of the next run, in the order in which they have waited: a single row, or a piece of a prompt. Prompts come
   * first in the run, so that the rows whose logits are wanted lie together.
   */
  #divide(): Share[] {
    const { maxRows } = this.#options;
    const waiting = this.#requests;
    this.#requests = [];
    let free = maxRows;
    let promptRows = waiting.some((request) => countLeft(request) === 1)
      ? Math.ceil(maxRows * PROMPT_SHARE)
      : maxRows;
    const prompts: Share[] = [];
    const singles: Share[] = [];
    for (const request of waiting) {
      const isPrompt = countLeft(request) > 1;
      const rows = Math.min(countLeft(request), free, isPrompt ? promptRows : 1);
      if (rows === 0) {
        this.#requests.push(request);
        continue;
      }
      free -= rows;
      if (isPrompt) promptRows -= rows;
      (isPrompt ? prompts : singles).push(takeShare(request, rows));
    }
    return prompts.length === 0 ? singles : [...prompts, ...singles];
  }

  async #run(shares: readonly Share[]): Promise<void> {
    for (const { request, part } of shares) forgetFrom(request.sequence.cache, part.position);
    const { part } = shares[0]!;
    if (shares.length === 1) {
      await this.#program.write(SLOTS.tokens, shares[0]!.tokens);
      await this.#program.run(part);
    } else {
      const tokens = shares.map((share) => share.tokens);
      const others = shares.slice(1).map((share) => share.part);
      await this.#program.write(SLOTS.tokens, join(tokens, Int32Array));
      await this.#program.run({ ...part, others });
    }
    const results = await this.#readResults(shares);
    for (let i = 0; i < shares.length; i++) {
      const { request, part, tokens } = shares[i]!;
      const { sequence, search, chunks } = request;
      // One that was closed meanwhile does not know what has become of its cache.
      if (sequence.isClosed) continue;
      noteTokens(sequence.cache, part.position, tokens);
      request.done += part.rows;
      const result = results[i]!;
      if (result instanceof Float32Array && result.length > 0) chunks.push(result);
      if (countLeft(request) > 0) this.#requests.push(request);
      else sequence.settle(search ? result : join(chunks, Float32Array));
    }
  }

  /** Of each share the logits that were wanted, if any, or what was found in them. */
  async #readResults(shares: readonly Share[]): Promise<unknown[]> {
    const width = this.#options.vocabularySize;
    const isRead = shares.some(({ request, part }) => part.logits !== 'none' && !request.search);
    const all = isRead ? await this.#program.read(SLOTS.logits) : NOTHING;
    const results: unknown[] = [];
    let row = 0;
    for (const { request, part } of shares) {
      const count = part.logits === 'all' ? part.rows : part.logits === 'last' ? 1 : 0;
      if (request.search) results.push(count === 0 ? null : await request.search(row));
      // A view of all would be one more object to collect.
      else if (all.length === count * width) results.push(all);
      else results.push(all.subarray(row * width, (row + count) * width));
      row += count;
    }
    return results;
  }

  #endAll(error: unknown): void {
    this.#requests = [];
    for (const sequence of this.#open) sequence.fail(error);
  }

  #busy(what: 'generate' | 'forward'): DuobitError {
    const count = this.#open.size;
    const running =
      this.#alone !== null ? 'forward is' : count === 1 ? 'generate is' : `${count} calls of generate are`;
    const waiting = this.#waiters.size > 0 ? `, and ${this.#waiters.size} wait` : '';
    return new DuobitError('MODEL_BUSY', `${what} was called while ${running} running${waiting}`, {
      source: this.#options.name,
      remedy:
        what === 'forward'
          ? 'Wait until all have ended (or leave their loops)'
          : 'Wait for one to end (or leave its loop), or load the model with more sequences or a longer queue',
    });
  }

  #disposedError(): DuobitError {
    return new DuobitError('MODEL_DISPOSED', 'the model was used after dispose()', {
      source: this.#options.name,
      remedy: 'Load it again',
    });
  }
}

interface Pending {
  readonly settle: (found: unknown) => void;
  readonly reject: (error: unknown) => void;
}

class OpenSequence implements Sequence {
  readonly cache: SequenceCache;
  readonly cached: number;
  readonly #scheduler: Scheduler;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.close();
  #pending: Pending | null = null;
  #failure: { readonly error: unknown } | null = null;
  #isClosed = false;

  constructor(scheduler: Scheduler, cache: SequenceCache, signal: AbortSignal | undefined) {
    this.#scheduler = scheduler;
    this.cache = cache;
    this.cached = cache.tokens.length;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async run<T>(run: SequenceRun<T>): Promise<T | null> {
    if (this.#failure) throw this.#failure.error;
    if (this.#isClosed) return null;
    return new Promise((resolve, reject) => {
      this.#scheduler.submit(this, run);
      // What is found is of the kind that was asked for.
      this.#pending = { settle: (found) => resolve(found as T | null), reject };
    });
  }

  /** For the scheduler. */
  settle(found: unknown): void {
    this.#pending?.settle(found);
    this.#pending = null;
  }

  /** For the scheduler: nothing more will come. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#pending?.reject(error);
    this.#pending = null;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.settle(null);
    this.#scheduler.release(this);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

const NOTHING = new Float32Array(0);

function countLeft({ tokens, done }: Request): number {
  return tokens.length - done;
}

function takeShare(request: Request, rows: number): Share {
  const { sequence, position, tokens, done } = request;
  const isWhole = rows === tokens.length;
  const logits = request.logits === 'last' && done + rows < tokens.length ? 'none' : request.logits;
  return {
    request,
    part: { sequence: sequence.cache.index, position: position + done, rows, logits },
    tokens: isWhole ? tokens : tokens.subarray(done, done + rows),
  };
}

/** A single piece, the usual case, is not copied. */
function join<T extends Int32Array | Float32Array>(
  pieces: readonly T[],
  create: new (length: number) => T,
): T {
  if (pieces.length === 1) return pieces[0]!;
  const all = new create(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
