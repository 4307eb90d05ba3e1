// The WebGPU backend in Node.js: the kernels of @duobit/runtime-web on Dawn, which the optional package `webgpu` brings.
import type { Backend, KvPrecision } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import {
  createWebGpuBackend,
  type Tuning,
  type TuningStore,
  type Variant,
  type WebGpuBackend,
} from '@duobit/runtime-web';
import { createTuningFile } from './tuning-file.ts';

/** Options of `createNodeWebGpuBackend`. */
export interface NodeWebGpuOptions {
  /** Precision of the KV cache. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
  /** Device features to do without. Default: uses all. */
  readonly variant?: Partial<Variant> | undefined;
  /** Default: measured once for an adapter, and kept in the cache folder. */
  readonly tuning?: Tuning | undefined;
  /** Where measurements are kept; null measures nothing. Default: webgpu-tuning.json in `findCacheFolder()`. */
  readonly tuningStore?: TuningStore | null | undefined;
  /** Dawn's switches, as `webgpu` takes them: 'enable-dawn-features=skip_validation', 'adapter=…'. */
  readonly dawn?: readonly string[] | undefined;
}

interface DawnPackage {
  create(flags: string[]): GPU;
}

/** As long as it is referenced, Dawn keeps its instance, which the devices need. */
const instances = new Set<GPU>();

/**
 * Opens the backend on the machine's GPU.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without the package `webgpu` or without an adapter
 */
export async function createNodeWebGpuBackend(options: NodeWebGpuOptions = {}): Promise<WebGpuBackend> {
  const { kv, variant, tuning, tuningStore = createTuningFile(), dawn = [] } = options;
  const gpu = (await loadDawn()).create([...dawn]);
  instances.add(gpu);
  try {
    const backend = await createWebGpuBackend({ gpu, kv, variant, tuning, tuningStore });
    return bindDispose(backend, async () => {
      await backend.dispose();
      instances.delete(gpu);
    });
  } catch (error) {
    instances.delete(gpu);
    throw error;
  }
}

/** Null where the backend can be opened, else why not, in one line. */
export async function whyNotWebGpu(): Promise<string | null> {
  try {
    const gpu = (await loadDawn()).create([]);
    return (await gpu.requestAdapter()) ? null : 'Dawn finds no adapter';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function loadDawn(): Promise<DawnPackage> {
  try {
    return (await import('webgpu')) as unknown as DawnPackage;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new DuobitError('BACKEND_UNSUPPORTED', `the package "webgpu" cannot be loaded: ${reason}`, {
      where: 'webgpu backend',
      remedy: 'Install it (npm install webgpu), or use another backend',
    });
  }
}

/** The same backend with another `dispose`. */
function bindDispose(backend: WebGpuBackend, dispose: Backend['dispose']): WebGpuBackend {
  return {
    name: backend.name,
    threads: backend.threads,
    kv: backend.kv,
    instructionSet: backend.instructionSet,
    device: backend.device,
    tuning: backend.tuning,
    get pipelines() {
      return backend.pipelines;
    },
    prepare: (plan, weights, options) => backend.prepare(plan, weights, options),
    dispose,
  };
}
