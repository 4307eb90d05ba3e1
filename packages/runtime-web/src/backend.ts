// The WebGPU backend: WGSL kernels chosen for the device, a run in one command buffer.
/// <reference types="@webgpu/types" />
import {
  type Backend,
  disposed,
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
import { createStopwatch } from './stopwatch.ts';
import { createBrowserStore, type TuningStore, tuneDevice } from './tuner.ts';
import type { Tuning } from './tuning.ts';

/** Options of `createWebGpuBackend`. */
export interface WebGpuBackendOptions extends DeviceOptions {
  /** Precision of the KV cache. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
  /** Default: measured once for an adapter, where there is a store, and else the rules that `Tuning` names. */
  readonly tuning?: Tuning | undefined;
  /** Where measurements are kept; null measures nothing. Default: what the browser has for it, see docs/webgpu.md. */
  readonly tuningStore?: TuningStore | null | undefined;
}

/** The backend on WebGPU, with what is known of its device. */
export interface WebGpuBackend extends Backend {
  readonly device: WebGpuDevice;
  /** What it runs with: given, kept or measured. */
  readonly tuning: Tuning;
  /** Pipelines compiled so far. */
  readonly pipelines: number;
  /** As of any backend; the program also counts and times its kernels. */
  prepare(plan: ExecutionPlan, weights: WeightReader, options: PrepareOptions): Promise<WebGpuProgram>;
}

/**
 * Opens the backend on a device of its own.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without WebGPU, an adapter or what was asked for; `BACKEND_OPTION`
 */
export async function createWebGpuBackend(options: WebGpuBackendOptions): Promise<WebGpuBackend> {
  const { kv = 'f16', tuningStore = createBrowserStore() } = options;
  if (!KV_PRECISIONS.includes(kv))
    throw new DuobitError('BACKEND_OPTION', `kv is "${String(kv)}"`, {
      where: 'kv',
      remedy: `Use one of: ${KV_PRECISIONS.join(', ')}`,
    });
  const open = await openDevice(options);
  const pipelines = new Pipelines(open.device);
  const tuning =
    options.tuning ?? (await tuneDevice(open, kv, tuningStore, createStopwatch(open, kv, { pipelines })));
  const engine = { open, pipelines, kv, tuning };
  let isDisposed = false;
  return {
    name: 'webgpu',
    threads: 1,
    kv,
    instructionSet: nameVariant(open.variant),
    device: open,
    tuning,
    get pipelines() {
      return pipelines.created;
    },
    async prepare(plan, weights, prepareOptions) {
      if (isDisposed) throw disposed('backend');
      open.check();
      return new WebGpuProgram(engine, await preparePlan(engine, plan, weights, { ...prepareOptions }));
    },
    async dispose() {
      if (!isDisposed) open.destroy();
      isDisposed = true;
    },
  };
}
