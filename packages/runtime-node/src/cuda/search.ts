// Searching and summing rows of logits on the device, so that few bytes come back (kernels/search.cu): what is found goes straight into
// memory of the host, and is there when the launch has ended.
import { type ExecutionPlan, exponential, type LogitSums, logitOfKey, MOST_TOP } from '@duobit/core';
import type { Arena } from './arena.ts';
import type { Device } from './device.ts';
import type { HostBlock } from './driver.ts';
import type { F32Slot } from './slots.ts';

const THREADS = 256;
/** Logits that a block looks at; for sums that is the kernel's. */
const [BEST_PART, TOP_PART, SUMS_PART] = [4096, 2048, 4 * THREADS];
const PAIR_BYTES = 8;
/** PartSum: a double, and a key. */
const SUM_BYTES = 16;
/** Of a run that goes on by itself: as many bests are kept. A power of two. */
export const RING = 1024;

/** Where the best of a run of one row is put for the next run: its token, and its `RunState`. */
export interface Next {
  readonly token: number;
  readonly state: number;
}

export class LogitsSearch {
  readonly #device: Device;
  readonly #arena: Arena;
  readonly #found: HostBlock;
  readonly #pairs: Uint32Array;
  readonly #bests: number;
  readonly #done: number;
  /** [row][part], and those of a search that is waited for; behind them its temperature. */
  readonly #sums: HostBlock;
  readonly #mostRows: number;
  #candidates = { address: 0, length: 0 };

  /** @param mostRows rows that are searched at once */
  constructor(device: Device, arena: Arena, plan: ExecutionPlan, mostRows: number) {
    this.#device = device;
    this.#arena = arena;
    const widths = plan.operations.map((operation) =>
      operation.op === 'logits' ? plan.slots[operation.out]!.width : 0,
    );
    const width = Math.max(...widths);
    this.#mostRows = mostRows;
    this.#bests = arena.allocate(8 * mostRows * Math.ceil(width / BEST_PART), 'the largest logits');
    this.#done = arena.allocateZeroed(4 * mostRows, 'the largest logits');
    this.#found = arena.allocateHost(
      PAIR_BYTES * (Math.max(RING, mostRows * MOST_TOP) + MOST_TOP),
      'the largest logits',
    );
    const { buffer, byteOffset, byteLength } = this.#found.bytes;
    this.#pairs = new Uint32Array(buffer, byteOffset, byteLength / 4);
    this.#sums = arena.allocateHost(SUM_BYTES * (mostRows + 1) * countParts(width) + 8, 'sums of logits');
  }

  /** Launches a search for the best of each row; with `next`, of one row, whose best is found at the run's position. */
  best({ address, width, stride }: F32Slot, rows: number, next?: Next, found = this.#found.address): void {
    this.#device.launch(
      'search_best',
      [Math.ceil(width / BEST_PART), rows, 1],
      THREADS,
      [address, found, next?.token ?? 0, next?.state ?? 0, this.#bests, this.#done],
      [width, BEST_PART, stride, RING],
    );
  }

  /** Launches a search for the `count` largest of each row. */
  top({ address, width, stride }: F32Slot, rows: number, count: number, found = this.#found.address): void {
    const parts = Math.ceil(width / TOP_PART);
    const candidates = parts === 1 ? found : this.#candidatesFor(rows * parts * count);
    this.#device.launch(
      'search_top',
      [parts, rows, 1],
      THREADS,
      [address, candidates],
      [width, TOP_PART, count, stride],
    );
    if (parts === 1) return;
    this.#device.launch('search_join', [rows, 1, 1], THREADS, [candidates, found], [parts * count, count]);
  }

  /** Searches one row and waits. @returns pairs of the `count` largest, in no order */
  directly(row: F32Slot, count: number): Uint32Array {
    // What recorded searches found is kept.
    const place = this.#pairs.length / 2 - MOST_TOP;
    const found = this.#found.address + PAIR_BYTES * place;
    if (count === 1) this.best(row, 1, undefined, found);
    else this.top(row, 1, count, found);
    this.#device.synchronize();
    return this.#pairs.slice(2 * place, 2 * (place + count));
  }

  /**
   * Launches sums over each row's parts.
   * @param temperatures address of each row's, in memory of the host
   */
  sums({ address, width, stride }: F32Slot, rows: number, temperatures: number, place = 0): void {
    const found = this.#sums.address + SUM_BYTES * place * countParts(width);
    this.#device.launch(
      'search_sums',
      [countParts(width), rows, 1],
      THREADS,
      [address, found, temperatures],
      [width, stride],
    );
  }

  /** Sums one row and waits. */
  sumsDirectly(row: F32Slot, temperature: number): LogitSums {
    const { bytes, address } = this.#sums;
    const at = bytes.length - 8;
    new DataView(bytes.buffer, bytes.byteOffset).setFloat64(at, temperature, true);
    this.sums(row, 1, address + at, this.#mostRows);
    this.#device.synchronize();
    return this.sumsOf(this.#mostRows, row.width, temperature);
  }

  /** Of a row that was summed. */
  sumsOf(row: number, width: number, temperature: number): LogitSums {
    const parts = countParts(width);
    const { buffer, byteOffset } = this.#sums.bytes;
    const at = byteOffset + SUM_BYTES * row * parts;
    const sums = new Float64Array(parts);
    const [found, keys] = [new Float64Array(buffer, at, 2 * parts), new Uint32Array(buffer, at, 4 * parts)];
    let most = 0;
    for (let part = 0; part < parts; part++) most = Math.max(most, keys[4 * part + 2]!);
    const highest = logitOfKey(most);
    // A sum is taken with the highest of its part.
    for (let part = 0; part < parts; part++) {
      const sum = found[2 * part]!;
      if (sum > 0) sums[part] = sum * exponential((logitOfKey(keys[4 * part + 2]!) - highest) / temperature);
    }
    return { highest, partLength: SUMS_PART, sums };
  }

  /** Recordings know where it was, so that what is outgrown stays. */
  #candidatesFor(pairs: number): number {
    const length = PAIR_BYTES * pairs;
    if (length > this.#candidates.length)
      this.#candidates = { address: this.#arena.allocate(length, 'the largest logits'), length };
    return this.#candidates.address;
  }

  /** The pair at a place of the ring, or of a row. */
  pairAt(place: number): Uint32Array {
    return this.#pairs.slice(2 * place, 2 * place + 2);
  }

  /** The pairs of a row of which `count` were looked for, in no order. */
  pairsOf(row: number, count: number): Uint32Array {
    return this.#pairs.slice(2 * row * count, 2 * (row + 1) * count);
  }
}

const countParts = (width: number): number => Math.ceil(width / SUMS_PART);
