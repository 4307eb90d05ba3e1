// What a program asks of its device: steps are encoded into one command buffer until something is to be read, which joins it.
/// <reference types="@webgpu/types" />
import { disposed } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { MAP_READ, padTo, USAGE } from './constants.ts';
import { attentionShare } from './context.ts';
import { type Engine, encodeStep, type Prepared, RUN_BYTES } from './prepare.ts';
import type { RunShape, Step } from './steps.ts';

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
}

export class Commands {
  readonly counters: Counters = {
    runs: 0,
    dispatches: 0,
    passes: 0,
    submits: 0,
    readbacks: 0,
    readbackBytes: 0,
    weightBytesOfRun: 0,
  };
  readonly #engine: Engine;
  readonly #prepared: Prepared;
  /** Encoded and not submitted; without a pass once that has ended. */
  #pending: { readonly encoder: GPUCommandEncoder; pass: GPUComputePassEncoder | null } | null = null;
  #isDisposed = false;

  constructor(engine: Engine, prepared: Prepared) {
    this.#engine = engine;
    this.#prepared = prepared;
  }

  /** @throws DuobitError `BACKEND_DISPOSED`, `BACKEND_DEVICE_LOST` */
  check(): void {
    if (this.#isDisposed) throw disposed('program');
    this.#engine.open.check();
  }

  /** Behind what is encoded, outside of a pass. */
  get encoder(): GPUCommandEncoder {
    this.#pending ??= { encoder: this.#engine.open.device.createCommandEncoder(), pass: null };
    this.#pending.pass?.end();
    this.#pending.pass = null;
    return this.#pending.encoder;
  }

  /** Encodes the steps of a run, for which its numbers are written; what is encoded already goes before. */
  encodeRun(steps: readonly Step[], shape: RunShape): void {
    this.submit();
    this.writeRun(shape);
    this.counters.runs += 1;
    this.counters.weightBytesOfRun = this.encode(steps, shape);
  }

  /** @returns weight bytes of the steps that were encoded */
  encode(steps: readonly Step[], shape: RunShape): number {
    let bytes = 0;
    const pass = this.#pending?.pass ?? this.beginPass();
    for (const step of steps)
      if (encodeStep(pass, step, shape)) {
        bytes += step.weightBytes;
        this.counters.dispatches += 1;
      }
    return bytes;
  }

  beginPass(descriptor?: GPUComputePassDescriptor): GPUComputePassEncoder {
    const pass = this.encoder.beginComputePass(descriptor);
    this.#pending!.pass = pass;
    this.counters.passes += 1;
    return pass;
  }

  /** Rows, position and rotary angles, which are taken in double precision. Takes effect behind what has been submitted. */
  writeRun({ rows, position, logitRows }: RunShape): void {
    const { context, run } = this.#prepared;
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

  submit(): void {
    if (!this.#pending) return;
    const { encoder } = this;
    this.#pending = null;
    this.#engine.open.device.queue.submit([encoder.finish()]);
    this.counters.submits += 1;
  }

  allocateStaging(bytes: number): GPUBuffer {
    return this.#prepared.pool.allocate(bytes, USAGE.mapRead | USAGE.copyTarget, 'what is read');
  }

  /** Copies a part of a buffer behind what is encoded, and submits all that. */
  copyTo(staging: GPUBuffer, source: GPUBuffer, offset: number, bytes: number): void {
    this.encoder.copyBufferToBuffer(source, offset, staging, 0, bytes);
    this.submit();
  }

  /** What was copied, once it is there. */
  async read(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    this.counters.readbacks += 1;
    this.counters.readbackBytes += bytes;
    try {
      await staging.mapAsync(MAP_READ, 0, padTo(bytes, 4));
    } catch (error) {
      this.check();
      await this.#engine.open.settle();
      this.check();
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

  dispose(): void {
    this.#isDisposed = true;
    this.#pending = null;
  }
}
