// The WebGPU backend: WGSL kernels chosen for the device, a run in one command buffer.
/// <reference types="@webgpu/types" />
import {
  type Backend,
  type ExecutionPlan,
  KV_PRECISIONS,
  type KvPrecision,
  type PrepareOptions,
  type WeightReader,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type DeviceOptions, nameVariant, openDevice, type WebGpuDevice } from './device.ts';
import { Pipelines } from './pipelines.ts';
import { preparePlan } from './prepare.ts';
import { WebGpuProgram } from './program.ts';
import type { Tuning } from './tuning.ts';

export interface WebGpuBackendOptions extends DeviceOptions {
  /** Precision of the KV cache: 'f32', or 'f16', which stands in for smaller ones too. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
  readonly tuning?: Tuning | undefined;
}

export interface WebGpuBackend extends Backend {
  readonly device: WebGpuDevice;
  /** Pipelines compiled so far. */
  readonly pipelines: number;
  prepare(plan: ExecutionPlan, weights: WeightReader, options: PrepareOptions): Promise<WebGpuProgram>;
}

/**
 * Opens the backend on a device of its own.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without WebGPU, an adapter or what was asked for; `BACKEND_OPTION`
 */
export async function createWebGpuBackend(options: WebGpuBackendOptions): Promise<WebGpuBackend> {
  const { kv = 'f16', tuning = {} } = options;
  if (!KV_PRECISIONS.includes(kv))
    throw new DuobitError('BACKEND_OPTION', `kv is "${String(kv)}"`, {
      where: 'kv',
      remedy: `Use one of: ${KV_PRECISIONS.join(', ')}`,
    });
  const open = await openDevice(options);
  const pipelines = new Pipelines(open.device);
  const engine = { open, pipelines, kv: kv === 'f32' ? kv : 'f16', tuning } as const;
  let disposed = false;
  return {
    name: 'webgpu',
    threads: 1,
    kv: engine.kv,
    instructionSet: nameVariant(open.variant),
    device: open,
    get pipelines() {
      return pipelines.created;
    },
    async prepare(plan, weights, prepareOptions) {
      if (disposed)
        throw new DuobitError('BACKEND_DISPOSED', 'the backend was used after dispose()', {
          remedy: 'Create a new one',
        });
      open.check();
      return new WebGpuProgram(engine, await preparePlan(engine, plan, weights, { ...prepareOptions }));
    },
    async dispose() {
      if (!disposed) open.destroy();
      disposed = true;
    },
  };
}
