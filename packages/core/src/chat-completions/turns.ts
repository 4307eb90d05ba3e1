// Callers of something that does so many things at a time take turns, in the order in which they ask.
import { DuobitError } from '@duobit/format';

/** What has so many turns at once, and so many that wait. */
export class Turns {
  readonly #atOnce: number;
  readonly #mostWaiting: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(atOnce: number, mostWaiting: number) {
    this.#atOnce = atOnce;
    this.#mostWaiting = mostWaiting;
  }

  /** Turns that have not ended. */
  get taken(): number {
    return this.#taken;
  }

  /** Turns that can be taken or waited for at a time. */
  get most(): number {
    return this.#atOnce + this.#mostWaiting;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Waits for the caller's turn.
   * @returns ends the turn; to be called once
   * @throws DuobitError `MODEL_BUSY` when too many wait already; `ABORTED` when the signal ends the wait
   */
  async take(signal: AbortSignal | undefined): Promise<() => void> {
    if (signal?.aborted) throw aborted();
    if (this.#taken < this.#atOnce) {
      this.#taken++;
    } else {
      if (this.#waiting.size >= this.#mostWaiting)
        throw new DuobitError('MODEL_BUSY', `${this.#waiting.size} requests wait for the model already`, {
          remedy: 'Ask again later, or load the model a second time',
        });
      await this.#wait(signal);
    }
    return () => this.#end();
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(begin);
        reject(aborted());
      };
      const begin = (): void => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      this.#waiting.add(begin);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  /** The turn goes from hand to hand: nobody who comes in between gets it. */
  #end(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#taken--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

function aborted(): DuobitError {
  return new DuobitError('ABORTED', 'the request was stopped before its turn came', {
    remedy: 'Ask again',
  });
}
