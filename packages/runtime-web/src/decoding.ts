// A text that goes on with the best token each time: the next run is begun before this one's result is read, on the token that the device
// has found, so that neither waits for the other. If something else is asked for then, that run was in vain.
/// <reference types="@webgpu/types" />
import { logitOfKey, type RunRequest } from '@duobit/core';
import type { Commands } from './commands.ts';
import type { Prepared } from './prepare.ts';

const PAIR_BYTES = 8;

/** A run that gives the logits of its last row. */
interface DecodeRun {
  /** Of that row. */
  readonly position: number;
  /** Of one row; of a run that was begun ahead, not known before it is asked for. */
  readonly token: number | null;
  /** Whether it goes on from the best token of the run before. */
  readonly continues: boolean;
  /** Where its best logit is copied to, once that has been asked of the device. */
  staging: GPUBuffer | null;
  best: { readonly index: number; readonly value: number } | null;
}

export class Decoding {
  readonly #commands: Commands;
  readonly #prepared: Prepared;
  readonly #slots: NonNullable<Prepared['decoded']>;
  /** One is read while the other is written. */
  readonly #stagings: readonly GPUBuffer[];
  #turn = 0;
  /** The run that was asked for last, if it is such a one. */
  #latest: DecodeRun | null = null;
  /** One that was begun without being asked for. */
  #ahead: DecodeRun | null = null;

  constructor(commands: Commands, prepared: Prepared, slots: NonNullable<Prepared['decoded']>) {
    this.#commands = commands;
    this.#prepared = prepared;
    this.#slots = slots;
    this.#stagings = [0, 1].map(() => commands.allocateStaging(PAIR_BYTES));
  }

  /** @returns whether the run has been begun already */
  take({ rows, position, logits }: RunRequest, token: number): boolean {
    const [before, ahead] = [this.#latest, this.#ahead];
    this.#latest = this.#ahead = null;
    if (logits === 'none' || (logits === 'all' && rows > 1)) return false;
    const continues = rows === 1 && before?.best?.index === token && before.position + 1 === position;
    const isBegun = continues && ahead !== null;
    const run = { position: position + rows - 1, token, continues, staging: null, best: null };
    this.#latest = isBegun ? { ...ahead, token } : run;
    return isBegun;
  }

  /** The best logit of the latest run; null where that is another kind of run. */
  async best(): Promise<DecodeRun['best']> {
    const latest = this.#latest;
    if (!latest || latest.best) return latest?.best ?? null;
    latest.staging ??= this.#search();
    if (latest.continues && !this.#ahead) this.#goAhead(latest.position + 1);
    const words = new Uint32Array(await this.#commands.read(latest.staging, PAIR_BYTES));
    latest.best = { index: words[1]!, value: logitOfKey(words[0]!) };
    return latest.best;
  }

  /** What the slots of the latest run were made from, if another has been begun over them; that one is forgotten. */
  leaveAhead(): { readonly position: number; readonly token: number } | null {
    if (!this.#ahead) return null;
    this.#ahead = null;
    const { position, token } = this.#latest!;
    return { position, token: token! };
  }

  /** Slots no longer are those of the latest run. */
  leave(): void {
    this.#latest = this.#ahead = null;
  }

  #goAhead(position: number): void {
    const { context, steps } = this.#prepared;
    if (position >= context.options.capacity) return;
    this.#commands.encodeRun(steps, { rows: 1, position, logitRows: 1 });
    this.#ahead = { position, token: null, continues: true, staging: this.#search(), best: null };
  }

  /** Searches the logits, which also makes the best the next run's token, and submits. */
  #search(): GPUBuffer {
    const { searches, context } = this.#prepared;
    const { steps, result } = searches.get(this.#slots.logits)!.best;
    this.#commands.encode(steps, { rows: 1, logitRows: 1, position: 0 });
    this.#turn ^= 1;
    const staging = this.#stagings[this.#turn]!;
    this.#commands.copyTo(staging, context.arenas.codes, result * 4, PAIR_BYTES);
    return staging;
  }
}
