// Runs that decode: one row of each sequence, with its logits. Requests and results go through pinned memory of the host, so that a step is
// one launch of a graph, one event and one wait. In greedy decoding the next step is launched speculatively, on the token that the device
// has found.
import { type LogitSums, listParts, type RunRows } from '@duobit/core';
import type { HostBlock } from './driver.ts';
import type { ProgramParts } from './program.ts';
import type { Recordings } from './recordings.ts';
import { type LogitsSearch, RING } from './search.ts';
import { positionsFor, type StepRun } from './setting.ts';
import { addressOf, type F32Slot } from './slots.ts';

const THREADS = 256;
/** Rows of a run: where there are more, a moment between two steps matters less. */
export const MOST_DECODED = 64;
/** A token, its position and its sequence; behind those of all rows, their temperatures. */
const REQUEST_WORDS = 3;
const TEMPERATURES = 4 * REQUEST_WORDS * MOST_DECODED;

interface DecodeRun {
  readonly run: RunRows;
  /** Of each row; of a run that was begun ahead, not known before it is asked for. */
  readonly tokens: Int32Array;
  /** How many of the largest logits it looks for in each row. */
  readonly topCount: number;
  /** Of each row, for which it sums the weights of softmax; null: it does not. */
  readonly temperatures: Float64Array | null;
  /** Whether it goes on from the best token of the run before. */
  readonly continues: boolean;
  /** Behind it in the stream. */
  readonly event: number;
  isDone: boolean;
  /** How many of the largest logits were asked for. */
  asked: number;
  /** By row, for which sums were asked for. */
  readonly askedSums: Map<number, number>;
}

type Parts = Pick<ProgramParts, 'device' | 'arena' | 'options' | 'slots' | 'steps' | 'state' | 'places'>;

export class Decoding {
  /** Names of slots. */
  readonly tokens: string;
  readonly logits: string;
  readonly #parts: Parts;
  readonly #recordings: Recordings;
  readonly #search: LogitsSearch;
  readonly #request: HostBlock;
  readonly #words: Int32Array;
  readonly #temperatures: Float64Array;
  readonly #events: readonly [number, number];
  #eventIndex = 0;
  /** Whether a run may still be to come that reads the request. */
  #isRequestPending = false;
  /** The run that was asked for last, if none of another kind came after it. */
  #latest: DecodeRun | null = null;
  /** One that was begun without being asked for. */
  #ahead: DecodeRun | null = null;
  /** What the next run will look for: as many as were asked for of the one before. */
  #nextTopCount = 0;
  /** And of each sequence, the temperature for which it will sum. */
  #nextTemperatures: ReadonlyMap<number, number> = new Map();

  constructor(
    { tokens, logits }: { readonly tokens: string; readonly logits: string },
    parts: Parts,
    recordings: Recordings,
    search: LogitsSearch,
  ) {
    this.tokens = tokens;
    this.logits = logits;
    this.#parts = parts;
    this.#recordings = recordings;
    this.#search = search;
    const { device, arena } = parts;
    this.#request = arena.allocateHost(TEMPERATURES + 8 * MOST_DECODED, 'requests of runs that decode');
    const { buffer, byteOffset } = this.#request.bytes;
    this.#words = new Int32Array(buffer, byteOffset, TEMPERATURES / 4);
    this.#temperatures = new Float64Array(buffer, byteOffset + TEMPERATURES, MOST_DECODED);
    this.#events = [device.createEvent(), device.createEvent()];
  }

  takes({ rows, parts }: RunRows): boolean {
    return rows === parts.length && rows <= MOST_DECODED && parts.every(({ logitRows }) => logitRows === 1);
  }

  /** @param tokens of each row */
  run(run: RunRows, tokens: Int32Array): void {
    const before = this.#latest;
    this.#learn();
    const goesOn = before !== null && this.#goesOn(before, run, tokens[0]!);
    if (goesOn && this.#ahead) {
      this.#latest = { ...this.#ahead, tokens: tokens.slice(0, 1) };
      this.#ahead = null;
      return;
    }
    // The run that it was for may still be to come.
    if (this.#isRequestPending) this.#parts.device.synchronize();
    const about = run.parts.flatMap(({ position, sequence }) => [position, run.rows === 1 ? 1 : sequence]);
    this.#words.set(tokens.subarray(0, run.rows));
    this.#words.set(about, run.rows);
    const temperatures = Float64Array.from(
      run.parts,
      ({ sequence }) => this.#nextTemperatures.get(sequence) ?? 0,
    );
    this.#temperatures.set(temperatures);
    this.#isRequestPending = true;
    this.#ahead = null;
    const sums = temperatures.some((temperature) => temperature > 0) ? temperatures : null;
    this.#latest = this.#begin(run, tokens.slice(0, run.rows), goesOn, false, sums);
  }

  /** What was asked for of the latest run is looked for in the next. */
  #learn(): void {
    const latest = this.#latest;
    if (!latest) return;
    this.#nextTopCount = latest.asked;
    this.#nextTemperatures = new Map(
      [...latest.askedSums].map(([row, temperature]) => [latest.run.parts[row]!.sequence, temperature]),
    );
  }

  /** Whether a run is the one after another, on the best token that has been found there. */
  #goesOn(before: DecodeRun, run: RunRows, token: number): boolean {
    const [part, last] = [run.parts[0]!, before.run.parts[0]!];
    return (
      before.topCount === 1 &&
      before.isDone &&
      before.run.rows === 1 &&
      run.rows === 1 &&
      part.sequence === last.sequence &&
      part.position === last.position + 1 &&
      token === ~this.#search.pairAt(last.position % RING)[1]! >>> 0
    );
  }

  #begin(
    run: RunRows,
    tokens: Int32Array,
    continues: boolean,
    isAhead: boolean,
    temperatures: Float64Array | null = null,
  ): DecodeRun {
    const { device, slots, steps, state, places } = this.#parts;
    const { rows, parts } = run;
    const topCount = isAhead ? 1 : this.#nextTopCount;
    const step: StepRun = {
      rows,
      wanted: [{ first: 0, count: rows }],
      positions: positionsFor(parts),
      sequence: rows === 1 ? parts[0]!.sequence : null,
      isLean: true,
    };
    const input = addressOf(slots, this.tokens);
    const logits = slots.get(this.logits) as F32Slot;
    const key = `${isAhead ? 'ahead' : 'decoding'} ${rows} ${step.positions} ${step.sequence} ${topCount} ${temperatures !== null}`;
    this.#recordings.perform(key, true, () => {
      if (!isAhead)
        device.launch(
          'take_request',
          [1, 1, 1],
          THREADS,
          [this.#request.address, input, rows === 1 ? state : places],
          [rows, 2 * rows],
        );
      for (const launch of steps) launch(step);
      if (topCount === 1) this.#search.best(logits, rows, rows === 1 ? { token: input, state } : undefined);
      else if (topCount > 1) this.#search.top(logits, rows, topCount);
      if (temperatures) this.#search.sums(logits, rows, this.#request.address + TEMPERATURES);
    });
    const event = this.#events[(this.#eventIndex ^= 1)]!;
    device.recordEvent(event);
    return {
      run,
      tokens,
      topCount,
      temperatures,
      continues,
      event,
      isDone: false,
      asked: 0,
      askedSums: new Map(),
    };
  }

  /**
   * What the latest run has found in one of its rows.
   * @returns at least `count` pairs of key and turned place, in no order; null where it did not look for so many
   */
  find(row: number, count: number): Uint32Array | null {
    const latest = this.#latest;
    if (!latest) return null;
    latest.asked = Math.max(latest.asked, count);
    if (latest.topCount < count) return null;
    if (latest.continues && latest.topCount === 1 && !latest.isDone) this.#goAhead(latest);
    this.#await(latest);
    return latest.run.rows === 1 && latest.topCount === 1
      ? this.#search.pairAt(latest.run.parts[0]!.position % RING)
      : this.#search.pairsOf(row, latest.topCount);
  }

  /** As `Program.readSums`, of the latest run; null where it did not sum for this temperature. */
  sums(row: number, temperature: number): LogitSums | null {
    const latest = this.#latest;
    if (!latest) return null;
    latest.askedSums.set(row, temperature);
    if (latest.temperatures?.[row] !== temperature) return null;
    this.#await(latest);
    return this.#search.sumsOf(row, (this.#parts.slots.get(this.logits) as F32Slot).width, temperature);
  }

  #goAhead({ run: { parts } }: DecodeRun): void {
    const { sequence, position } = parts[0]!;
    if (position + 1 >= this.#parts.options.capacity) return;
    const run = listParts({ sequence, position: position + 1, rows: 1, logits: 'last' });
    this.#ahead = this.#begin(run, new Int32Array(1), true, true);
  }

  #await(run: DecodeRun): void {
    if (run.isDone) return;
    this.#parts.device.waitForEvent(run.event);
    run.isDone = true;
    this.#isRequestPending = false;
  }

  /** Whether the slot of logits holds those of the run that was asked for last. */
  get holdsLogits(): boolean {
    return this.#ahead === null;
  }

  /** Slots are about to be read or written otherwise. @returns the latest run, whose slots are not as it left them; or null */
  leave(): { readonly run: RunRows; readonly tokens: Int32Array } | null {
    this.#learn();
    const latest = this.#latest;
    this.#latest = this.#ahead = null;
    return latest;
  }

  /**
   * Runs `count` steps from a token at a position, each on the best token of the one before, and waits for none but the last.
   * @returns the tokens chosen
   */
  greedy(token: number, position: number, count: number): Int32Array {
    this.leave();
    const { device } = this.#parts;
    const chosen = new Int32Array(count);
    device.synchronize();
    this.#nextTopCount = 1;
    for (let i = 0, read = 0; i < count; i++) {
      const run = listParts({ position: position + i, rows: 1, logits: 'last' });
      if (i === 0) this.#words.set([token, position, 1]);
      this.#begin(run, Int32Array.of(token), true, i > 0);
      if (i + 1 < count && (i + 1) % RING > 0) continue;
      device.synchronize();
      for (; read <= i; read++) chosen[read] = ~this.#search.pairAt((position + read) % RING)[1]!;
    }
    return chosen;
  }

  dispose(): void {
    const { device } = this.#parts;
    for (const event of this.#events) device.destroyEvent(event);
  }
}
