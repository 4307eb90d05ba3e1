// A prepared plan on the GPU: writing and reading slots, running. A run of one row, or one that comes again, is recorded as a
// graph and replayed with a single call.
import {
  checkLogitsRow,
  checkRun,
  checkSlot,
  checkTokens,
  checkTop,
  checkWrite,
  type ExecutionPlan,
  listPlaces,
  listWanted,
  logitOfKey,
  type PrepareOptions,
  type Program,
  type RunRequest,
  sortTop,
  type TopLogits,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Arena, roundUp } from './arena.ts';
import type { Device } from './device.ts';
import { CudaError } from './driver.ts';
import { searchBest, searchTop } from './search.ts';
import type { Step, StepRun } from './setting.ts';
import type { DeviceSlot } from './slots.ts';
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

/** Recordings kept; the one used longest ago goes first. */
const MOST_GRAPHS = 32;

export class CudaProgram implements Program {
  readonly weightBytes: number;
  readonly #parts: ProgramParts;
  readonly #tokens: ReadonlyMap<string, { readonly values: Int32Array; readonly vocabulary: number }>;
  readonly #logitSlots: ReadonlySet<string>;
  /** By what a recording depends on; null: seen once, not recorded yet. */
  readonly #graphs = new Map<string, number | null>();
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
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    this.#checkAlive();
    const { device, plan, options, slots } = this.#parts;
    checkWrite(plan, name, values, options);
    if (values instanceof Int32Array) this.#tokens.get(name)?.values.set(values);
    const slot = slots.get(name)!;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    guard(() => {
      if (slot.kind !== 'f32' || slot.stride === slot.width) {
        device.uploadBytes(slot.kind === 'a4' ? 0 : slot.address, bytes);
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
    const { rows, logitRows, parts } = run;
    for (const { values, vocabulary } of this.#tokens.values())
      checkTokens(values.subarray(0, rows), vocabulary);
    guard(() => {
      const { device, state, places } = this.#parts;
      const [only] = parts.length === 1 ? parts : [];
      const about = only
        ? Int32Array.of(only.position, rows)
        : Int32Array.from(listPlaces(run).flatMap(({ position, sequence }) => [position, sequence]));
      device.uploadBytes(only ? state : places, new Uint8Array(about.buffer));
      const longest = Math.max(...parts.map((part) => part.position + part.rows));
      this.#perform({
        rows,
        wanted: listWanted(run),
        positions: 2 ** Math.ceil(Math.log2(longest)),
        sequence: only?.sequence ?? null,
      });
    });
    this.#latest = { rows, logitRows };
  }

  /** Launches the steps, or replays them. */
  #perform(run: StepRun): void {
    const { device, steps } = this.#parts;
    const act = () => {
      for (const step of steps) step(run);
    };
    const wanted = run.wanted.map(({ first, count }) => `${first}+${count}`);
    const key = `${run.rows} ${wanted} ${run.positions} ${run.sequence}`;
    const known = this.#graphs.get(key);
    this.#graphs.delete(key);
    // Decoding comes again for sure; a prompt's last rows may not.
    const records = known === null || run.rows === 1;
    const graph = known ?? (records ? device.capture(act) : null);
    this.#graphs.set(key, graph);
    if (graph === null) act();
    else device.launchGraph(graph);
    for (const [oldest, executable] of this.#graphs) {
      if (this.#graphs.size <= MOST_GRAPHS) break;
      this.#graphs.delete(oldest);
      if (executable !== null) device.destroyGraph(executable);
    }
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
    if (this.#latest === null)
      throw new DuobitError('RUN_INVALID', `slot "${name}" was read before a successful run`, {
        where: name,
        remedy: 'Run the program first',
      });
    const rows = this.#logitSlots.has(name) ? this.#latest.logitRows : this.#latest.rows;
    if (rows === 0) return new Float32Array(0);
    return guard(() => {
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
    const { address, width } = this.#logitsOf(name, row);
    const pair = guard(() => searchBest(this.#parts.device, this.#parts.arena, address, width));
    return { index: ~pair[1]! >>> 0, value: logitOfKey(pair[0]!) };
  }

  async readTop(name: string, count: number, row = 0): Promise<TopLogits> {
    const { address, width } = this.#logitsOf(name, row);
    checkTop(this.#parts.plan, name, count);
    return sortTop(guard(() => searchTop(this.#parts.device, this.#parts.arena, address, width, count)));
  }

  /** Where a row of logits of the latest run lies. */
  #logitsOf(name: string, row: number): { readonly address: number; readonly width: number } {
    this.#checkAlive();
    checkSlot(this.#parts.plan, name);
    checkLogitsRow(name, row, this.#logitSlots.has(name) ? (this.#latest?.logitRows ?? 0) : 0);
    const slot = this.#parts.slots.get(name)!;
    if (slot.kind !== 'f32') throw new DuobitError('INTERNAL', `slot "${name}" holds no logits`);
    return { address: slot.address + 4 * slot.stride * row, width: slot.width };
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

  /** What the device holds, of a slot of f32; for benchmarks that go round `read`. */
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
      for (const graph of this.#graphs.values()) if (graph !== null) device.destroyGraph(graph);
      this.#graphs.clear();
      arena.dispose();
    });
  }

  #checkAlive(): void {
    if (this.#disposed)
      throw new DuobitError('BACKEND_DISPOSED', 'the program was used after dispose()', {
        remedy: 'Prepare a new one',
      });
  }
}

/** Runs a part that calls the driver; its errors there mean that the GPU is lost to this process, unless it is only full. */
export function guard<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    if (error.outOfMemory)
      throw new DuobitError('BACKEND_OUT_OF_MEMORY', `no memory on the GPU: ${error.message}`, {
        where: 'cuda backend',
        remedy: 'See in nvidia-smi who has it; use a shorter context or a smaller model',
        cause: error,
      });
    throw new DuobitError('BACKEND_DEVICE_LOST', `the GPU failed: ${error.message}`, {
      where: 'cuda backend',
      remedy: 'Start the process again; if it comes back, report it with the output of nvidia-smi',
      cause: error,
    });
  }
}
