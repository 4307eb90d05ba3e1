// Opens TensorFlow.js on the best backend that there is: says which, and why a better one is not used.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { TrainingKernels } from '@duobit/core';
import { DuobitError } from '@duobit/format';
// Types come from the core alone: those of the whole, with its layers, do not compile without `skipLibCheck`.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import { composeOperations } from './operations/composed.ts';
import { fuseOperations } from './operations/fused.ts';
import { StepMemory } from './operations/memory.ts';
import type { Operations } from './operations/operations.ts';
import { webGpuOperations } from './operations/webgpu/operations.ts';

/**
 * 'tensorflow': TensorFlow's own library, on CUDA or the processor. 'webgpu': a GPU, in Node through the package `webgpu`. 'native':
 * tensors in this process and hand-written kernels. 'wasm' and 'cpu': TensorFlow.js alone.
 */
export const DEVICES = ['tensorflow', 'webgpu', 'native', 'wasm', 'cpu'] as const;
/** What TensorFlow.js trains on. */
export type Device = (typeof DEVICES)[number];

/** Options of `openEngine`. */
export interface EngineOptions {
  /** 'auto', the default, takes the first that loads. */
  readonly device?: Device | 'auto';
  /** What 'auto' tries, in this order. Default: all. */
  readonly among?: readonly Device[] | undefined;
  /** Kernels for 'native'; undefined or null where there are none. @throws what says why there are none */
  readonly kernels?: (() => TrainingKernels | null) | undefined;
  /** One line about each device that was passed over, and why. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** TensorFlow.js on a device, with the operations that run there. */
export interface Engine {
  readonly device: Device;
  /** For logs and records: 'tensorflow', 'webgpu NVIDIA H100', 'native avx2'. */
  readonly name: string;
  readonly tf: typeof TensorFlow;
  readonly operations: Operations;
  readonly kernels: TrainingKernels | null;
  /**
   * Runs a training step, whose large tensors may be kept in the same memory as the last one's: none of them may outlive it but
   * parameters.
   */
  step<T>(run: () => T): T;
  /**
   * Waits until what was started is done, where a device works by itself.
   * @throws DuobitError `ENGINE_FAILED` when the device refused something: its results are wrong then
   */
  sync(): Promise<void>;
}

/**
 * TensorFlow.js keeps one backend for the whole process: of two engines the one opened last is in force.
 * @throws DuobitError `ENGINE_ABSENT` when the device that was asked for, or any, cannot be opened
 */
export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  const { device = 'auto', among = DEVICES, onNotice } = options;
  const wanted = device === 'auto' ? among : [device];
  const reasons: string[] = [];
  for (const name of wanted) {
    try {
      const engine = await OPENERS[name](options, device === 'auto');
      if (reasons.length > 0) onNotice?.(`TensorFlow.js runs on ${engine.name} (${reasons.join('; ')})`);
      return engine;
    } catch (error) {
      reasons.push(`no ${name}: ${firstLine(error)}`);
    }
  }
  throw new DuobitError('ENGINE_ABSENT', `TensorFlow.js cannot be opened: ${reasons.join('; ')}`, {
    where: device,
    remedy: "Install what the message names, or use device 'auto'",
  });
}

type Opener = (options: EngineOptions, automatic: boolean) => Promise<Engine>;

const OPENERS: Readonly<Record<Device, Opener>> = {
  tensorflow: async () => {
    const tf = await loadTensorFlow();
    const found = loadBinding(tf);
    const name = tf.getBackend() === 'tensorflow' || (await tf.setBackend('tensorflow'));
    if (!name) throw new Error('its backend does not start');
    return describe('tensorflow', `tensorflow (${found})`, tf);
  },
  webgpu: async (_, automatic) => {
    const adapter = await provideWebGpu(automatic);
    const tf = await loadTensorFlow();
    await import('@tensorflow/tfjs-backend-webgpu');
    if (!(await tf.setBackend('webgpu'))) throw new Error('its backend does not start');
    return watch(describe('webgpu', `webgpu (${adapter})`, tf));
  },
  native: async ({ kernels }) => {
    const found = kernels?.();
    if (!found) throw new Error('no kernels were given');
    const tf = await loadTensorFlow();
    await tf.setBackend('cpu');
    return describe('native', found.name, tf, found);
  },
  wasm: async () => {
    const tf = await loadTensorFlow();
    await import('@tensorflow/tfjs-backend-wasm');
    if (!(await tf.setBackend('wasm'))) throw new Error('its backend does not start');
    return describe('wasm', 'wasm', tf);
  },
  cpu: async () => {
    const tf = await loadTensorFlow();
    await tf.setBackend('cpu');
    return describe('cpu', 'cpu', tf);
  },
};

function describe(
  device: Device,
  name: string,
  tf: typeof TensorFlow,
  kernels: TrainingKernels | null = null,
): Engine {
  const composed = composeOperations(tf);
  const memory = new StepMemory();
  const choose = (): Operations => {
    if (kernels) return fuseOperations(tf, kernels, composed, memory);
    return device === 'webgpu' ? webGpuOperations(tf, composed) : composed;
  };
  return {
    device,
    name,
    tf,
    kernels,
    operations: choose(),
    step: (run) => memory.step(run),
    async sync() {
      const probe = tf.scalar(0);
      await probe.data();
      probe.dispose();
    },
  };
}

/** A WebGPU device goes on after an error, with wrong results; TensorFlow.js does not look. */
function watch(engine: Engine): Engine {
  let failure: string | null = null;
  const { device } = engine.tf.backend() as unknown as { readonly device: WatchedDevice };
  device.addEventListener('uncapturederror', ({ error }) => {
    failure ??= firstLine(error);
  });
  return {
    ...engine,
    async sync() {
      await engine.sync();
      if (failure === null) return;
      throw new DuobitError('ENGINE_FAILED', `the device refused an operation: ${failure}`, {
        where: engine.name,
        remedy: 'Use another device, and report this',
      });
    },
  };
}

interface WatchedDevice {
  addEventListener(type: 'uncapturederror', listener: (event: { readonly error: unknown }) => void): void;
}

export async function loadTensorFlow(): Promise<typeof TensorFlow> {
  const loaded = (await import('@tensorflow/tfjs')) as typeof TensorFlow & { default?: typeof TensorFlow };
  const tf = loaded.default ?? loaded;
  // Without its checks of every call, and without its advice to install a package that may be there.
  tf.enableProdMode();
  return tf;
}

/** Registers the backend `tensorflow`; says what with. */
function loadBinding(tf: typeof TensorFlow): string {
  mendNode();
  const folder = process.env.DUOBIT_TFJS_NODE;
  const require = createRequire(import.meta.url);
  let reason: unknown;
  if (folder !== undefined)
    try {
      return loadFolder(tf, folder);
    } catch (error) {
      reason = new Error(`DUOBIT_TFJS_NODE: ${firstLine(error)}`);
    }
  else
    for (const name of ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node']) {
      try {
        require(name);
        return name;
      } catch (error) {
        // Of a package that is there, its own reason says more than that the other is missing.
        if (!reason || !/Cannot find module/.test(String(error))) reason = error;
      }
    }
  throw new Error(
    `${firstLine(reason)}. It needs @tensorflow/tfjs-node-gpu or @tensorflow/tfjs-node, which fetch libtensorflow 2.9 when they are ` +
      'installed, the first with CUDA 11.2; or DUOBIT_TFJS_NODE, the folder of a build by scripts/tfjs-binding.mjs',
  );
}

/** A build of tfjs-node as scripts/tfjs-binding.mjs makes it: without what finds and downloads its addon. */
function loadFolder(tf: typeof TensorFlow, folder: string): string {
  const require = createRequire(pathToFileURL(join(resolve(folder), 'package.json')));
  const binding: unknown = require('./lib/napi-v8/tfjs_binding.node');
  const { NodeJSKernelBackend } = require('./dist/nodejs_kernel_backend') as {
    NodeJSKernelBackend: new (binding: unknown, name: string) => TensorFlow.KernelBackend;
  };
  require('./dist/register_all_kernels');
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, '@tensorflow/tfjs-node'), 3);
  return folder;
}

/** The kernels of tfjs-node 4.22 call a function that Node 23 took away. */
function mendNode(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
}

/** Makes `navigator.gpu` where the process has none. @returns the adapter's name */
async function provideWebGpu(automatic: boolean): Promise<string> {
  const scope = globalThis as { navigator?: { gpu?: GpuLike } };
  if (!scope.navigator?.gpu) {
    const { create, globals } = (await import('webgpu')) as unknown as {
      create(options: string[]): GpuLike;
      globals: object;
    };
    Object.assign(globalThis, globals);
    Object.defineProperty(globalThis, 'navigator', { value: { gpu: create([]) }, configurable: true });
  }
  const adapter = await scope.navigator!.gpu!.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('there is no WebGPU adapter');
  const { vendor, architecture, description, device } = adapter.info;
  const name = [vendor, architecture, description || device].filter(Boolean).join(' ');
  if (automatic && /swiftshader|llvmpipe/i.test(name))
    throw new Error(`its adapter, ${name}, is the processor`);
  return name;
}

interface GpuLike {
  requestAdapter(options: { powerPreference: 'high-performance' }): Promise<null | {
    readonly info: {
      readonly vendor: string;
      readonly architecture: string;
      readonly description: string;
      readonly device: string;
    };
  }>;
}

function firstLine(error: unknown): string {
  return String((error as Error)?.message ?? error).split('\n', 1)[0]!;
}
