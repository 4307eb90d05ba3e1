// A plan on a device: a run is one command buffer with one compute pass; what is read from it goes the same way.
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
  type Program,
  type RunRequest,
  sortTop,
  type TopLogits,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { MAP_READ, padTo, USAGE } from './constants.ts';
import { attentionShare, codeKindOf } from './context.ts';
import type { Searches } from './logits.ts';
import { type Engine, encodeStep, type Prepared, RUN_BYTES } from './prepare.ts';
import { type CodeKind, decodeRow, type SlotPlace } from './slots.ts';
import type { RunShape } from './steps.ts';

/** What a search reads at most, so that a token's readback never needs a larger buffer. */
const LEAST_STAGING = 8 * MOST_TOP;
/** Of run.top in kernels/common.wgsl. */
const TOP_OFFSET = 24;

/** What a program has done since it was prepared, for tests and measurements. */
export interface Counters {
  runs: number;
  dispatches: number;
  passes: number;
  submits: number;
  readbacks: number;
  readbackBytes: number;
  /** Weight bytes that the latest run read, were it for one token. */
  weightBytesOfRun: number;
  /** Buffers of the program, all of them. */
  buffers: number;
  bufferBytes: number;
  /** Of them, those of keys and values. */
  cacheBytes: number;
}

/** Time that a kernel took on the GPU. */
export interface KernelTime {
  readonly label: string;
  readonly nanoseconds: number;
}

/** A step that is encoded but not submitted: what is read next joins it. */
interface Pending {
  readonly encoder: GPUCommandEncoder;
  /** Null once ended. */
  pass: GPUComputePassEncoder | null;
}

/** A prepared plan on WebGPU. */
export class WebGpuProgram implements Program {
  readonly weightBytes: number;
  readonly #engine: Engine;
  readonly #symmetric: ReadonlyMap<string, number>;
  readonly #tokens = new Map<string, Int32Array>();
  readonly #counters = {
    runs: 0,
    dispatches: 0,
    passes: 0,
    submits: 0,
    readbacks: 0,
    readbackBytes: 0,
    weightBytesOfRun: 0,
  };
  /** Null once disposed. */
  #prepared: Prepared | null;
  #pending: Pending | null = null;
  #staging: GPUBuffer | null = null;
  #rows: { readonly all: number; readonly logits: number } | null = null;

  constructor(engine: Engine, prepared: Prepared) {
    this.#engine = engine;
    this.#prepared = prepared;
    this.#symmetric = listSymmetricSums(prepared.context.plan);
    this.weightBytes = prepared.weightBytes;
  }

  get counters(): Counters {
    const pool = this.#prepared?.pool;
    const caches = this.#prepared?.context.arenas.caches ?? [];
    return {
      ...this.#counters,
      buffers: pool?.count ?? 0,
      bufferBytes: pool?.bytes ?? 0,
      cacheBytes: caches.reduce((sum, { size }) => sum + size, 0),
    };
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    const { context } = this.#alive();
    const { plan, options, layout, arenas } = context;
    checkWrite(plan, name, values, options);
    // The queue writes at once, and what is pending must not see it.
    this.#submit();
    const { queue } = this.#engine.open.device;
    const { kind, offset, stride, width } = layout.places.get(name)!;
    if (kind === 'tokens') {
      const ids = Int32Array.from(values);
      this.#tokens.set(name, ids);
      queue.writeBuffer(arenas.codes, offset * 4, ids);
      return;
    }
    queue.writeBuffer(arenas.floats, offset * 4, padRows(values, width, stride));
  }

  async run(request: RunRequest): Promise<void> {
    const { context, vocabularies } = this.#alive();
    checkRun(request, context.options);
    this.#rows = null;
    const { rows, position } = request;
    const logitRows = request.logits === 'all' ? rows : request.logits === 'last' ? 1 : 0;
    for (const [slot, size] of vocabularies)
      checkTokens(this.#tokens.get(slot)?.subarray(0, rows) ?? new Int32Array(0), size);
    this.#submit();
    this.#writeRun(rows, position, logitRows);
    const encoder = this.#engine.open.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    this.#counters.runs += 1;
    this.#counters.passes += 1;
    this.#counters.weightBytesOfRun = this.#encode(pass, this.#alive().steps, { rows, logitRows, position });
    this.#pending = { encoder, pass };
    this.#rows = { all: rows, logits: logitRows };
    // Nobody reads a prompt's part, so it may begin at once.
    if (logitRows === 0) this.#submit();
  }

  async read(name: string): Promise<Float32Array> {
    const { context } = this.#alive();
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
    if (this.#rows === null)
      throw new DuobitError('RUN_INVALID', `slot "${name}" was read before a successful run`, {
        where: name,
        remedy: 'Run the program first',
      });
    const rows = this.#prepared!.searches.has(name) ? this.#rows.logits : this.#rows.all;
    if (rows === 0) return new Float32Array(0);
    const arena = kind === 'f32' ? arenas.floats : arenas.codes;
    const bytes = await this.#copyOut(arena, offset * 4, rows * stride * 4);
    if (kind === 'tokens') return Float32Array.from(new Int32Array(bytes));
    return readRows(bytes, place, rows, codeKindOf(context, rows));
  }

  /** The place of the largest value in the first row of a slot of logits, the first of equal ones; and that value. */
  async readBest(name: string, row = 0): Promise<{ index: number; value: number }> {
    const words = await this.#search(name, 'best', 1, row);
    return { index: words[1]!, value: logitOfKey(words[0]!) };
  }

  /** As `Program.readTop`. */
  async readTop(name: string, count: number, row = 0): Promise<TopLogits> {
    const { context, run } = this.#alive();
    checkTop(context.plan, name, count);
    // Nothing that is pending looks at it.
    this.#engine.open.device.queue.writeBuffer(run, TOP_OFFSET, Uint32Array.of(count));
    return sortTop(await this.#search(name, 'top', count, row));
  }

  /** Runs a search of the first row of a slot of logits behind what is pending, and gives the pairs that it finds. */
  async #search(name: string, kind: keyof Searches, pairs: number, row: number): Promise<Uint32Array> {
    const prepared = this.#alive();
    const search = prepared.searches.get(name)?.[kind];
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
    const pending = this.#ensurePending();
    pending.pass ??= this.#beginPass(pending.encoder);
    this.#encode(pending.pass, search.steps, { rows: 1, logitRows: 1, position: 0 });
    const { codes } = prepared.context.arenas;
    return new Uint32Array(await this.#copyOut(codes, search.result * 4, pairs * 8));
  }

  /**
   * Runs once and tells how long the device took: for every dispatch, each in a pass of its own, or for all in one pass.
   * @throws DuobitError `BACKEND_UNSUPPORTED` without timestamps
   */
  async profile({ rows, position, logits }: RunRequest, by: 'dispatch' | 'run'): Promise<KernelTime[]> {
    const { steps, context, pool } = this.#alive();
    const { device, hasTimestamps } = this.#engine.open;
    if (!hasTimestamps)
      throw new DuobitError('BACKEND_UNSUPPORTED', 'the device has no timestamps', {
        where: 'webgpu backend',
        remedy: 'Measure whole runs',
      });
    const request = { rows, position, logits };
    checkRun(request, context.options);
    this.#submit();
    const logitRows = logits === 'all' ? rows : logits === 'last' ? 1 : 0;
    this.#writeRun(rows, position, logitRows);
    const all = steps.filter((step) => step.dispatch({ rows, logitRows, position }) !== null);
    const used =
      by === 'run'
        ? [{ label: 'run', steps: all }]
        : all.map((step) => ({ label: step.label, steps: [step] }));
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 * used.length });
    const results = pool.allocate(16 * used.length, USAGE.queryResolve | USAGE.copySource, 'times');
    const encoder = device.createCommandEncoder();
    for (const [i, part] of used.entries()) {
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass({ timestampWrites });
      this.#encode(pass, part.steps, { rows, logitRows, position });
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, 2 * used.length, results, 0);
    this.#pending = { encoder, pass: null };
    const times = new BigInt64Array(await this.#copyOut(results, 0, 16 * used.length));
    querySet.destroy();
    pool.free(results);
    return used.map(({ label }, i) => ({ label, nanoseconds: Number(times[2 * i + 1]! - times[2 * i]!) }));
  }

  /** Waits until everything has been done that was asked for. */
  async finish(): Promise<void> {
    this.#alive();
    this.#submit();
    await this.#engine.open.device.queue.onSubmittedWorkDone();
    this.#engine.open.check();
  }

  async dispose(): Promise<void> {
    this.#pending = null;
    this.#staging = null;
    this.#prepared?.pool.destroy();
    this.#prepared = null;
  }

  #alive(): Prepared {
    if (!this.#prepared)
      throw new DuobitError('BACKEND_DISPOSED', 'the program was used after dispose()', {
        remedy: 'Create a new one',
      });
    this.#engine.open.check();
    return this.#prepared;
  }

  /** Rows, position and rotary angles, which are taken in double precision. */
  #writeRun(rows: number, position: number, logitRows: number): void {
    const { context, run } = this.#alive();
    const { queue } = this.#engine.open.device;
    const words = new Uint32Array(RUN_BYTES / 4);
    words.set([
      rows,
      position,
      logitRows,
      rows - logitRows,
      0,
      attentionShare(context.tuning, rows, position),
    ]);
    queue.writeBuffer(run, 0, words);
    const { operations, ropeFrequencies } = context.plan;
    if (!operations.some(({ op }) => op === 'rope')) return;
    const half = ropeFrequencies.length;
    const angles = new Float32Array(rows * 2 * half);
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < half; i++) {
        const angle = (position + row) * ropeFrequencies[i]!;
        angles[row * 2 * half + i] = Math.cos(angle);
        angles[row * 2 * half + half + i] = Math.sin(angle);
      }
    queue.writeBuffer(context.arenas.angles, 0, angles);
  }

  /** @returns weight bytes of the steps that were encoded */
  #encode(pass: GPUComputePassEncoder, steps: Prepared['steps'], shape: RunShape): number {
    let bytes = 0;
    for (const step of steps)
      if (encodeStep(pass, step, shape)) {
        bytes += step.weightBytes;
        this.#counters.dispatches += 1;
      }
    return bytes;
  }

  #beginPass(encoder: GPUCommandEncoder): GPUComputePassEncoder {
    this.#counters.passes += 1;
    return encoder.beginComputePass();
  }

  #ensurePending(): Pending {
    this.#pending ??= { encoder: this.#engine.open.device.createCommandEncoder(), pass: null };
    return this.#pending;
  }

  #submit(): void {
    const pending = this.#pending;
    if (!pending) return;
    this.#pending = null;
    pending.pass?.end();
    this.#engine.open.device.queue.submit([pending.encoder.finish()]);
    this.#counters.submits += 1;
  }

  /** Copies a part of a buffer to the host, behind what is pending and in the same command buffer. */
  async #copyOut(source: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    const { pool } = this.#alive();
    if (this.#staging && this.#staging.size < bytes) {
      pool.free(this.#staging);
      this.#staging = null;
    }
    const staging = (this.#staging ??= pool.allocate(
      Math.max(bytes, LEAST_STAGING),
      USAGE.mapRead | USAGE.copyTarget,
      'what is read',
    ));
    const pending = this.#ensurePending();
    pending.pass?.end();
    pending.pass = null;
    pending.encoder.copyBufferToBuffer(source, offset, staging, 0, bytes);
    this.#submit();
    this.#counters.readbacks += 1;
    this.#counters.readbackBytes += bytes;
    try {
      await staging.mapAsync(MAP_READ, 0, padTo(bytes, 4));
    } catch (error) {
      this.#alive();
      await this.#engine.open.settle();
      this.#alive();
      throw new DuobitError('BACKEND_FAILED', `results cannot be read: ${String(error)}`, {
        where: 'webgpu backend',
        remedy: 'Load the model again',
      });
    }
    const copy = staging.getMappedRange(0, padTo(bytes, 4)).slice(0);
    staging.unmap();
    this.#engine.open.check();
    return copy;
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
