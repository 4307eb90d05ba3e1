// A prepared plan on the GPU: writing and reading slots, running. A run of one row, or one that comes again, is recorded as a
// graph and replayed with a single call; runs that decode are in decoding.ts.
import {
  checkLogitsRow,
  checkPart,
  checkRun,
  checkSlot,
  checkTemperature,
  checkTokens,
  checkTop,
  checkWrite,
  decodedSlots,
  disposed,
  type ExecutionPlan,
  type LogitSums,
  listPlaces,
  listWanted,
  notRun,
  type PrepareOptions,
  type Program,
  type RunRequest,
  type RunRows,
  sortTop,
  type TopLogits,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Arena, roundUp } from './arena.ts';
import { Decoding, MOST_DECODED } from './decoding.ts';
import type { Device } from './device.ts';
import { CudaError } from './driver.ts';
import { Recordings } from './recordings.ts';
import { LogitsSearch } from './search.ts';
import { positionsFor, type Step } from './setting.ts';
import { addressOf, type DeviceSlot, type F32Slot } from './slots.ts';
import { decodeCodes } from './steps.ts';

export interface ProgramParts {
  readonly device: Device;
  readonly plan: ExecutionPlan;
  readonly options: PrepareOptions;
  readonly arena: Arena;
  readonly slots: ReadonlyMap<string, DeviceSlot>;
  readonly steps: readonly Step[];
  readonly state: number;
  readonly places: number;
  readonly weightBytes: number;
  /** Of each slot of tokens, the size of the vocabulary that it is looked up in. */
  readonly vocabularies: ReadonlyMap<string, number>;
  readonly onDispose: () => void;
}

export class CudaProgram implements Program {
  readonly weightBytes: number;
  readonly #parts: ProgramParts;
  readonly #tokens: ReadonlyMap<string, { readonly values: Int32Array; readonly vocabulary: number }>;
  readonly #logitSlots: ReadonlySet<string>;
  readonly #recordings: Recordings;
  /** Null in plans without logits. */
  readonly #search: LogitsSearch | null;
  /** Null in plans of other things than a model's text. */
  readonly #decoding: Decoding | null;
  #decoded: { address: number; length: number } | null = null;
  #latest: { readonly rows: number; readonly logitRows: number } | null = null;
  #disposed = false;

  constructor(parts: ProgramParts) {
    this.#parts = parts;
    this.weightBytes = parts.weightBytes;
    this.#tokens = new Map(
      [...parts.vocabularies].map(([slot, vocabulary]) => [
        slot,
        { values: new Int32Array(parts.options.maxRows), vocabulary },
      ]),
    );
    this.#logitSlots = new Set(
      parts.plan.operations.flatMap((operation) => (operation.op === 'logits' ? [operation.out] : [])),
    );
    const { device, arena, plan, options } = parts;
    this.#recordings = new Recordings(device);
    const mostRows = Math.min(options.sequences ?? 1, MOST_DECODED);
    this.#search = this.#logitSlots.size > 0 ? new LogitsSearch(device, arena, plan, mostRows) : null;
    const slots = decodedSlots(plan, parts.vocabularies);
    this.#decoding = slots && this.#search && new Decoding(slots, parts, this.#recordings, this.#search);
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    this.#checkAlive();
    const { device, plan, options, slots } = this.#parts;
    checkWrite(plan, name, values, options);
    const known = values instanceof Int32Array ? this.#tokens.get(name) : undefined;
    // They go to the device when they are run.
    if (known) return known.values.set(values as Int32Array);
    const slot = slots.get(name)!;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    guard(() => {
      if (slot.kind !== 'f32' || slot.stride === slot.width) {
        device.uploadBytes(addressOf(slots, name), bytes);
        return;
      }
      const [row, stride] = [4 * slot.width, 4 * slot.stride];
      const padded = new Uint8Array((bytes.length / row) * stride);
      for (let from = 0, to = 0; from < bytes.length; from += row, to += stride)
        padded.set(bytes.subarray(from, from + row), to);
      device.uploadBytes(slot.address, padded);
    });
  }

  async run(request: RunRequest): Promise<void> {
    this.#checkAlive();
    const run = checkRun(request, this.#parts.options);
    this.#latest = null;
    const { rows, logitRows } = run;
    for (const { values, vocabulary } of this.#tokens.values())
      checkTokens(values.subarray(0, rows), vocabulary);
    guard(() => {
      const decoding = this.#decoding?.takes(run) ? this.#decoding : null;
      if (decoding) return decoding.run(run, this.#tokens.get(decoding.tokens)!.values);
      this.#decoding?.leave();
      this.#perform(run, (slot) => this.#tokens.get(slot)!.values);
    });
    this.#latest = { rows, logitRows };
  }

  /** Launches the steps, or replays them. */
  #perform(run: RunRows, tokensOf: (slot: string) => Int32Array): void {
    const { device, steps, slots, state, places } = this.#parts;
    const { rows, parts } = run;
    for (const name of this.#tokens.keys())
      device.uploadBytes(addressOf(slots, name), bytesOf(tokensOf(name).subarray(0, rows)));
    const [only] = parts.length === 1 ? parts : [];
    const about = only
      ? Int32Array.of(only.position, rows)
      : Int32Array.from(listPlaces(run).flatMap(({ position, sequence }) => [position, sequence]));
    device.uploadBytes(only ? state : places, bytesOf(about));
    const step = {
      rows,
      wanted: listWanted(run),
      positions: positionsFor(parts),
      sequence: only?.sequence ?? null,
      isLean: false,
    };
    const wanted = step.wanted.map(({ first, count }) => `${first}+${count}`);
    // Decoding comes again for sure; a prompt's last rows may not.
    this.#recordings.perform(`${rows} ${wanted} ${step.positions} ${step.sequence}`, rows === 1, () => {
      for (const launch of steps) launch(step);
    });
  }

  /** Runs that decode write only what they need: the latest is done again, if it is one of these, and writes all. */
  #settle(): void {
    const latest = this.#decoding?.leave();
    if (latest) this.#perform(latest.run, () => latest.tokens);
  }

  async read(name: string): Promise<Float32Array> {
    this.#checkAlive();
    const { device, plan, slots } = this.#parts;
    checkSlot(plan, name);
    const slot = slots.get(name)!;
    if (slot.kind === 'stat')
      return guard(() =>
        Float32Array.from(new Float64Array(device.download(slot.address, 8 * slot.width).buffer)),
      );
    if (this.#latest === null) throw notRun(name);
    const rows = this.#logitSlots.has(name) ? this.#latest.logitRows : this.#latest.rows;
    if (rows === 0) return new Float32Array(0);
    const known = this.#tokens.get(name);
    if (known) return Float32Array.from(known.values.subarray(0, rows));
    return guard(() => {
      if (!(this.#decoding?.holdsLogits && this.#logitSlots.has(name))) this.#settle();
      if (slot.kind === 'tokens')
        return Float32Array.from(new Int32Array(device.download(slot.address, 4 * rows).buffer));
      if (slot.kind === 'f32') return this.#readRows(slot.address, rows, slot.width, slot.stride);
      if (slot.kind !== 'a4') throw new DuobitError('INTERNAL', `slot "${name}" cannot be read`);
      const stride = roundUp(slot.width, 4);
      const address = this.#decodedRows(4 * stride * rows);
      decodeCodes(device, slot, rows, address, stride);
      return this.#readRows(address, rows, slot.width, stride);
    });
  }

  async readBest(name: string, row = 0): Promise<{ index: number; value: number }> {
    const { indices, values } = this.#find(name, 1, row);
    return { index: indices[0]!, value: values[0]! };
  }

  async readTop(name: string, count: number, row = 0): Promise<TopLogits> {
    return this.#find(name, count, row);
  }

  async readSums(name: string, temperature: number, row = 0): Promise<LogitSums> {
    const slot = this.#logitsRow(name, row);
    checkTemperature(temperature);
    return guard(() => {
      const found = this.#decoding?.sums(row, temperature);
      if (found) return found;
      this.#holdLogits();
      return this.#search!.sumsDirectly(slot, temperature);
    });
  }

  async readPart(name: string, first: number, count: number, row = 0): Promise<Float32Array> {
    const slot = this.#logitsRow(name, row);
    checkPart(this.#parts.plan, name, first, count);
    return guard(() => {
      this.#holdLogits();
      return new Float32Array(this.#parts.device.download(slot.address + 4 * first, 4 * count).buffer);
    });
  }

  #find(name: string, count: number, row: number): TopLogits {
    const slot = this.#logitsRow(name, row);
    checkTop(this.#parts.plan, name, count);
    const pairs = guard(() => {
      const found = this.#decoding?.find(row, count);
      if (found) return found;
      this.#holdLogits();
      return this.#search!.directly(slot, count);
    });
    const { indices, values } = sortTop(pairs);
    return { indices: indices.slice(0, count), values: values.slice(0, count) };
  }

  /** @throws DuobitError `RUN_INVALID` where the latest run has no such logits */
  #logitsRow(name: string, row: number): F32Slot {
    this.#checkAlive();
    checkSlot(this.#parts.plan, name);
    checkLogitsRow(name, row, this.#logitSlots.has(name) ? (this.#latest?.logitRows ?? 0) : 0);
    const slot = this.#parts.slots.get(name)!;
    if (slot.kind !== 'f32') throw new DuobitError('INTERNAL', `slot "${name}" holds no logits`);
    return { ...slot, address: slot.address + 4 * slot.stride * row };
  }

  /** A run that was begun ahead may have written over those of the latest. */
  #holdLogits(): void {
    if (this.#decoding?.holdsLogits === false) this.#settle();
  }

  /**
   * Greedy decoding that waits for nothing until all tokens are there: what the device can do at the most.
   * @returns the best tokens (the first of equals) of `count` steps, each run on the one before; the first on `token`, at `position`
   * @throws DuobitError `RUN_INVALID` when the plan is not that of one model, or the cache is too short
   */
  async decodeGreedy(token: number, position: number, count: number): Promise<Int32Array> {
    this.#checkAlive();
    const decoding = this.#decoding;
    const { capacity } = this.#parts.options;
    if (!decoding || position + count > capacity)
      throw new DuobitError(
        'RUN_INVALID',
        decoding
          ? `${count} tokens from ${position} do not fit the cache of ${capacity}`
          : 'the plan is not that of one model',
        { where: 'cuda backend', remedy: decoding ? 'Decode fewer' : 'Run a whole model' },
      );
    this.#latest = null;
    return guard(() => decoding.greedy(token, position, count));
  }

  #readRows(address: number, rows: number, width: number, stride: number): Float32Array {
    const all = new Float32Array(this.#parts.device.download(address, 4 * stride * rows).buffer);
    if (stride === width) return all;
    const out = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      out.set(all.subarray(row * stride, row * stride + width), row * width);
    return out;
  }

  #decodedRows(length: number): number {
    if (this.#decoded === null || this.#decoded.length < length)
      this.#decoded = { address: this.#parts.arena.allocate(length, 'decoded codes'), length };
    return this.#decoded.address;
  }

  /** Device, slots and steps, for benchmarks and tests. */
  get parts(): ProgramParts {
    return this.#parts;
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const { device, arena, onDispose } = this.#parts;
    onDispose();
    guard(() => {
      device.synchronize();
      this.#recordings.dispose();
      this.#decoding?.dispose();
      arena.dispose();
    });
  }

  #checkAlive(): void {
    if (this.#disposed) throw disposed('program');
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Runs a part that calls the driver; its errors there mean that the GPU is lost to this process, unless it is only full. */
export function guard<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    if (error.outOfMemory)
      throw new DuobitError('BACKEND_OUT_OF_MEMORY', `no memory on the GPU: ${error.message}`, {
        where: 'cuda backend',
        remedy:
          'Look in nvidia-smi for other processes on the GPU; use a shorter context, fewer sequences or a smaller model',
        cause: error,
      });
    throw new DuobitError('BACKEND_DEVICE_LOST', `the GPU failed: ${error.message}`, {
      where: 'cuda backend',
      remedy: 'Restart the process; if it fails again, report it with the output of nvidia-smi',
      cause: error,
    });
  }
}
