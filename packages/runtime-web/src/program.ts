// A plan on a device: writing and reading slots, running. A run is one command buffer with one compute pass, which what is read joins
// (commands.ts); decoding.ts begins some before they are asked for.
/// <reference types="@webgpu/types" />
import {
  checkRun,
  checkSlot,
  checkTokens,
  checkTop,
  checkWrite,
  listSymmetricSums,
  logitOfKey,
  MOST_TOP,
  mirrorUpper,
  notRun,
  type Program,
  type RunRequest,
  sortTop,
  type TopLogits,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { Commands, type Counters } from './commands.ts';
import { USAGE } from './constants.ts';
import { codeKindOf } from './context.ts';
import { Decoding } from './decoding.ts';
import type { Search, Searches } from './logits.ts';
import type { Engine, Prepared } from './prepare.ts';
import { type CodeKind, decodeRow, type SlotPlace } from './slots.ts';
import type { RunShape } from './steps.ts';

/** What a search reads at most, so that a token's readback never needs a larger buffer. */
const LEAST_STAGING = 8 * MOST_TOP;
/** Of run.top in kernels/common.wgsl. */
const TOP_OFFSET = 24;

/** Buffers of a program: all of them, and of these the bytes of keys and values. */
interface Occupied {
  readonly buffers: number;
  readonly bufferBytes: number;
  readonly cacheBytes: number;
}

/** Time that a kernel took on the GPU. */
export interface KernelTime {
  readonly label: string;
  readonly nanoseconds: number;
}

/** A prepared plan on WebGPU. */
export class WebGpuProgram implements Program {
  readonly weightBytes: number;
  readonly #engine: Engine;
  readonly #prepared: Prepared;
  readonly #commands: Commands;
  /** Null in plans of other things than a model's text. */
  readonly #decoding: Decoding | null;
  readonly #symmetric: ReadonlyMap<string, number>;
  /** They go to the device when they are run. */
  readonly #tokens = new Map<string, Int32Array<ArrayBuffer>>();
  #staging: GPUBuffer | null = null;
  #rows: { readonly all: number; readonly logits: number } | null = null;
  #isDisposed = false;

  constructor(engine: Engine, prepared: Prepared) {
    this.#engine = engine;
    this.#prepared = prepared;
    this.#commands = new Commands(engine, prepared);
    const { decoded } = prepared;
    this.#decoding = decoded && new Decoding(this.#commands, prepared, decoded);
    this.#symmetric = listSymmetricSums(prepared.context.plan);
    this.weightBytes = prepared.weightBytes;
    const { plan, options } = prepared.context;
    for (const [name, { kind }] of Object.entries(plan.slots))
      if (kind === 'tokens') this.#tokens.set(name, new Int32Array(options.maxRows));
  }

  get counters(): Counters & Occupied {
    const { pool, context } = this.#prepared;
    const caches = this.#isDisposed ? [] : context.arenas.caches;
    return {
      ...this.#commands.counters,
      buffers: this.#isDisposed ? 0 : pool.count,
      bufferBytes: this.#isDisposed ? 0 : pool.bytes,
      cacheBytes: caches.reduce((sum, { size }) => sum + size, 0),
    };
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    this.#commands.check();
    const { plan, options, layout, arenas } = this.#prepared.context;
    checkWrite(plan, name, values, options);
    const tokens = this.#tokens.get(name);
    if (tokens) return tokens.set(values);
    // The queue writes at once, and what is encoded must not see it.
    this.#commands.submit();
    const { offset, stride, width } = layout.places.get(name)!;
    this.#engine.open.device.queue.writeBuffer(arenas.floats, offset * 4, padRows(values, width, stride));
  }

  async run(request: RunRequest): Promise<void> {
    this.#commands.check();
    const { context, vocabularies, decoded } = this.#prepared;
    checkRun(request, context.options);
    this.#rows = null;
    const { rows, position } = request;
    const logitRows = request.logits === 'all' ? rows : request.logits === 'last' ? 1 : 0;
    for (const [slot, size] of vocabularies) checkTokens(this.#tokens.get(slot)!.subarray(0, rows), size);
    const isBegun = this.#decoding?.take(request, this.#tokens.get(decoded!.tokens)![0]!) ?? false;
    if (!isBegun) this.#begin({ rows, position, logitRows }, this.#tokens);
    this.#rows = { all: rows, logits: logitRows };
  }

  #begin(shape: RunShape, tokens: ReadonlyMap<string, Int32Array<ArrayBuffer>>): void {
    const { context, steps } = this.#prepared;
    this.#commands.submit();
    for (const [name, ids] of tokens) {
      const at = context.layout.places.get(name)!.offset * 4;
      this.#engine.open.device.queue.writeBuffer(context.arenas.codes, at, ids);
    }
    this.#commands.encodeRun(steps, shape);
    // Nobody reads a prompt's part, so it may begin at once.
    if (shape.logitRows === 0) this.#commands.submit();
  }

  /** Where a run has been begun ahead, the latest is done again, so that slots are as it left them. */
  #settle(): void {
    const latest = this.#decoding?.leaveAhead();
    if (!latest) return;
    const { position, token } = latest;
    this.#begin(
      { rows: 1, position, logitRows: 1 },
      new Map([[this.#prepared.decoded!.tokens, Int32Array.of(token)]]),
    );
  }

  async read(name: string): Promise<Float32Array> {
    this.#commands.check();
    const { context, searches } = this.#prepared;
    const { plan, layout, arenas } = context;
    checkSlot(plan, name);
    const place = layout.places.get(name)!;
    const { kind, width, offset, stride } = place;
    if (kind === 'stat') {
      const pairs = new Float32Array(await this.#copyOut(arenas.stats, offset * 8, width * 8));
      const sums = Float32Array.from({ length: width }, (_, i) => pairs[2 * i]! + pairs[2 * i + 1]!);
      mirrorUpper(sums, this.#symmetric.get(name) ?? 0);
      return sums;
    }
    if (this.#rows === null) throw notRun(name);
    const rows = searches.has(name) ? this.#rows.logits : this.#rows.all;
    if (rows === 0) return new Float32Array(0);
    const tokens = this.#tokens.get(name);
    if (tokens) return Float32Array.from(tokens.subarray(0, rows));
    this.#settle();
    const arena = kind === 'f32' ? arenas.floats : arenas.codes;
    const bytes = await this.#copyOut(arena, offset * 4, rows * stride * 4);
    return readRows(bytes, place, rows, codeKindOf(context, rows));
  }

  /** The place of the largest value in the first row of a slot of logits, the first of equal ones; and that value. */
  async readBest(name: string, row = 0): Promise<{ index: number; value: number }> {
    const search = this.#searchOf(name, 'best', row);
    const best = await this.#decoding?.best();
    if (best) return best;
    const words = await this.#find(search, 1);
    return { index: words[1]!, value: logitOfKey(words[0]!) };
  }

  /** As `Program.readTop`. */
  async readTop(name: string, count: number, row = 0): Promise<TopLogits> {
    this.#commands.check();
    const { context, run } = this.#prepared;
    checkTop(context.plan, name, count);
    const search = this.#searchOf(name, 'top', row);
    this.#settle();
    // Nothing that is encoded looks at it.
    this.#engine.open.device.queue.writeBuffer(run, TOP_OFFSET, Uint32Array.of(count));
    return sortTop(await this.#find(search, count));
  }

  #searchOf(name: string, kind: keyof Searches, row: number): Search {
    this.#commands.check();
    const search = this.#prepared.searches.get(name)?.[kind];
    if (!search || !this.#rows || this.#rows.logits === 0)
      throw new DuobitError('RUN_INVALID', `slot "${name}" holds no logits of a successful run`, {
        where: name,
        remedy: 'Run the program with logits first',
      });
    if (row !== 0)
      throw new DuobitError(
        'BACKEND_UNSUPPORTED',
        `webgpu searches the first row of "${name}", not row ${row}`,
        {
          where: name,
          remedy: 'Read the slot, and search there',
        },
      );
    return search;
  }

  /** Searches behind what is encoded. @returns the pairs that are found */
  async #find({ steps, result }: Search, pairs: number): Promise<Uint32Array> {
    this.#commands.encode(steps, { rows: 1, logitRows: 1, position: 0 });
    return new Uint32Array(await this.#copyOut(this.#prepared.context.arenas.codes, result * 4, pairs * 8));
  }

  /**
   * Runs once and tells how long the device took: for every dispatch, each in a pass of its own, or for all in one pass.
   * @throws DuobitError `BACKEND_UNSUPPORTED` without timestamps
   */
  async profile({ rows, position, logits }: RunRequest, by: 'dispatch' | 'run'): Promise<KernelTime[]> {
    this.#commands.check();
    const { steps, context, pool } = this.#prepared;
    const { device, hasTimestamps } = this.#engine.open;
    if (!hasTimestamps)
      throw new DuobitError('BACKEND_UNSUPPORTED', 'the device has no timestamps', {
        where: 'webgpu backend',
        remedy: 'Measure whole runs',
      });
    checkRun({ rows, position, logits }, context.options);
    this.#decoding?.leave();
    this.#commands.submit();
    const shape = { rows, position, logitRows: logits === 'all' ? rows : logits === 'last' ? 1 : 0 };
    this.#commands.writeRun(shape);
    const all = steps.filter((step) => step.dispatch(shape) !== null);
    const used =
      by === 'run'
        ? [{ label: 'run', steps: all }]
        : all.map((step) => ({ label: step.label, steps: [step] }));
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 * used.length });
    const results = pool.allocate(16 * used.length, USAGE.queryResolve | USAGE.copySource, 'times');
    for (const [i, part] of used.entries()) {
      this.#commands.beginPass({
        timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
      });
      this.#commands.encode(part.steps, shape);
    }
    this.#commands.encoder.resolveQuerySet(querySet, 0, 2 * used.length, results, 0);
    const times = new BigInt64Array(await this.#copyOut(results, 0, 16 * used.length));
    querySet.destroy();
    pool.free(results);
    return used.map(({ label }, i) => ({ label, nanoseconds: Number(times[2 * i + 1]! - times[2 * i]!) }));
  }

  /** Waits until everything has been done that was asked for. */
  async finish(): Promise<void> {
    this.#commands.check();
    this.#commands.submit();
    await this.#engine.open.device.queue.onSubmittedWorkDone();
    this.#engine.open.check();
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#commands.dispose();
    this.#prepared.pool.destroy();
  }

  /** Copies a part of a buffer to the host, behind what is encoded and in the same command buffer. */
  async #copyOut(source: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    if (this.#staging && this.#staging.size < bytes) {
      this.#prepared.pool.free(this.#staging);
      this.#staging = null;
    }
    this.#staging ??= this.#commands.allocateStaging(Math.max(bytes, LEAST_STAGING));
    this.#commands.copyTo(this.#staging, source, offset, bytes);
    return this.#commands.read(this.#staging, bytes);
  }
}

/** Rows side by side to rows of a stride, which zeros fill up. */
function padRows(
  values: Float32Array | Int32Array,
  width: number,
  stride: number,
): Float32Array<ArrayBuffer> {
  const rows = values.length / width;
  const out = new Float32Array(rows * stride);
  for (let row = 0; row < rows; row++) out.set(values.subarray(row * width, (row + 1) * width), row * stride);
  return out;
}

function readRows(bytes: ArrayBuffer, place: SlotPlace, rows: number, codes: CodeKind): Float32Array {
  const { kind, width, stride } = place;
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const own = out.subarray(row * width, (row + 1) * width);
    if (kind === 'a4') decodeRow(new Uint32Array(bytes, row * stride * 4, stride), width, codes, own);
    else own.set(new Float32Array(bytes, row * stride * 4, width));
  }
  return out;
}
