// Compute pipelines of a device, each compiled once: by kernel, choices and constants.
/// <reference types="@webgpu/types" />
import { DuobitError } from '@duobit/format';
import { STAGE_COMPUTE } from './constants.ts';
import { assembleShader, type ShaderChoice } from './shaders.ts';

/** Kinds of bindings in order: 'u' uniform, 'w' read and written, 'r' read, '-' none. */
export type BindingKinds = string;

export interface PipelineChoice extends ShaderChoice {
  readonly bindings: BindingKinds;
  /** Default 'main'. */
  readonly entryPoint?: string | undefined;
}

const TYPES: Readonly<Record<string, GPUBufferBindingType>> = {
  u: 'uniform',
  w: 'storage',
  r: 'read-only-storage',
};

export class Pipelines {
  readonly #device: GPUDevice;
  readonly #layouts = new Map<BindingKinds, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  /** How many have been compiled. */
  created = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  layout(kinds: BindingKinds): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    const known = this.#layouts.get(kinds);
    if (known) return known;
    const entries: GPUBindGroupLayoutEntry[] = [];
    for (const [binding, kind] of [...kinds].entries()) {
      const type = TYPES[kind];
      if (type) entries.push({ binding, visibility: STAGE_COMPUTE, buffer: { type } });
    }
    const group = this.#device.createBindGroupLayout({ entries, label: kinds });
    const pipeline = this.#device.createPipelineLayout({ bindGroupLayouts: [group] });
    const made = { group, pipeline };
    this.#layouts.set(kinds, made);
    return made;
  }

  /** @throws DuobitError `BACKEND_FAILED` with what the compiler says */
  get(choice: PipelineChoice): Promise<GPUComputePipeline> {
    const key = JSON.stringify([choice.name, choice.entryPoint, choice.imports, choice.constants]);
    const known = this.#pipelines.get(key);
    if (known) return known;
    const made = this.#compile(choice, key);
    this.#pipelines.set(key, made);
    // One that failed is not kept.
    made.catch(() => this.#pipelines.delete(key));
    return made;
  }

  async #compile(choice: PipelineChoice, label: string): Promise<GPUComputePipeline> {
    const code = assembleShader(choice);
    const module = this.#device.createShaderModule({ code, label });
    try {
      const pipeline = await this.#device.createComputePipelineAsync({
        label,
        layout: this.layout(choice.bindings).pipeline,
        compute: { module, entryPoint: choice.entryPoint ?? 'main' },
      });
      this.created += 1;
      return pipeline;
    } catch (error) {
      const { messages } = await module.getCompilationInfo();
      const lines = messages.map(
        ({ lineNum, message }) => `line ${lineNum}: ${message}: ${code.split('\n')[lineNum - 1] ?? ''}`,
      );
      throw new DuobitError(
        'BACKEND_FAILED',
        `kernel ${label} was refused: ${lines.join('; ') || String(error)}`,
        { where: 'webgpu backend', remedy: 'Report this as a bug, with the name of the GPU' },
      );
    }
  }
}
