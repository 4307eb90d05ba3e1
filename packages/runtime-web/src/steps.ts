// What a compiled plan consists of: dispatches with everything bound, of which a run only chooses sizes.
/// <reference types="@webgpu/types" />

import type { BufferPool } from './buffers.ts';
import { BINDING_ALIGNMENT, padTo, USAGE } from './constants.ts';
import type { PipelineChoice, Pipelines } from './pipelines.ts';

/** What of a run decides sizes. */
export interface RunShape {
  readonly rows: number;
  readonly logitRows: number;
  /** Of the first row. */
  readonly position: number;
}

export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
  readonly y: number;
  /** Default 1. */
  readonly z?: number;
}

export interface Step {
  readonly label: string;
  /** Bytes of weights that it reads when it runs for one token. */
  readonly weightBytes: number;
  /** Null where the run needs nothing of it. */
  readonly dispatch: (run: RunShape) => Dispatch | null;
}

/** A whole buffer, or a part of it in bytes. */
export type Binding =
  | GPUBuffer
  | { readonly buffer: GPUBuffer; readonly offset: number; readonly size: number };

const PARAMETER_BYTES = 64;

/** Collects the parameters of all steps in one buffer, and makes their bind groups once that exists. */
export class StepBuilder {
  readonly #device: GPUDevice;
  readonly #pipelines: Pipelines;
  readonly #run: GPUBuffer;
  readonly #pending: (() => void)[] = [];
  readonly #words: Uint32Array[] = [];
  readonly #compiling: Promise<unknown>[] = [];

  constructor(device: GPUDevice, pipelines: Pipelines, run: GPUBuffer) {
    this.#device = device;
    this.#pipelines = pipelines;
    this.#run = run;
  }

  /**
   * Declares a kernel with its parameters and bindings.
   * @param parameters u32 numbers; f32 ones as `float` makes them
   * @param bindings of 2 and up, as `choice.bindings` says; null where that has '-'
   * @returns its pipeline and bind group, once `finish` has run
   */
  add(
    choice: PipelineChoice,
    parameters: readonly number[],
    bindings: readonly (Binding | null)[],
  ): () => { pipeline: GPUComputePipeline; group: GPUBindGroup } {
    const index = this.#words.length;
    const words = new Uint32Array(PARAMETER_BYTES / 4);
    words.set(parameters);
    this.#words.push(words);
    const made: { pipeline?: GPUComputePipeline; group?: GPUBindGroup } = {};
    this.#compiling.push(
      this.#pipelines.get(choice).then((pipeline) => {
        made.pipeline = pipeline;
      }),
    );
    this.#pending.push(() => {
      const entries: GPUBindGroupEntry[] = [
        { binding: 0, resource: { buffer: this.#run } },
        {
          binding: 1,
          resource: { buffer: this.#parameters!, offset: index * BINDING_ALIGNMENT, size: PARAMETER_BYTES },
        },
      ];
      for (const [i, binding] of bindings.entries())
        if (binding)
          entries.push({ binding: i + 2, resource: 'buffer' in binding ? binding : { buffer: binding } });
      made.group = this.#device.createBindGroup({
        label: choice.name,
        layout: this.#pipelines.layout(choice.bindings).group,
        entries,
      });
    });
    return () => ({ pipeline: made.pipeline!, group: made.group! });
  }

  #parameters: GPUBuffer | null = null;

  /** Compiles what is not compiled yet, and writes parameters. */
  async finish(pool: BufferPool): Promise<void> {
    const all = new Uint32Array((Math.max(1, this.#words.length) * BINDING_ALIGNMENT) / 4);
    for (const [index, words] of this.#words.entries()) all.set(words, (index * BINDING_ALIGNMENT) / 4);
    this.#parameters = pool.allocate(
      padTo(all.byteLength, 16),
      USAGE.uniform | USAGE.copyTarget,
      'parameters',
    );
    this.#device.queue.writeBuffer(this.#parameters, 0, all);
    await Promise.all(this.#compiling);
    for (const make of this.#pending) make();
  }
}

const bits = new DataView(new ArrayBuffer(4));

/** The bits of a number rounded to f32. */
export function float(value: number): number {
  bits.setFloat32(0, value);
  return bits.getUint32(0);
}
