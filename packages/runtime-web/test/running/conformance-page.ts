// The page of conformance.test.ts: cases of the suite, by name, on the browser's WebGPU.
import { createWebGpuBackend, type WebGpuBackend, type WebGpuBackendOptions } from '@duobit/runtime-web';
import { conformanceCases } from '@duobit/testkit';

let backend: WebGpuBackend | null = null;

export const conformanceActions = {
  async look() {
    const adapter = await navigator.gpu.requestAdapter();
    return { hasF16: adapter?.features.has('shader-f16') ?? false };
  },

  /** @returns the name of the variant */
  async open(options: Omit<WebGpuBackendOptions, 'gpu'>) {
    backend = await createWebGpuBackend({ gpu: navigator.gpu, ...options });
    return backend.instructionSet;
  },

  /** @returns what is off; null when nothing is */
  async run(name: string): Promise<string | null> {
    try {
      await conformanceCases(backend!.kv)
        .find((one) => one.name === name)!
        .run(backend!);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  },

  /** @returns buffers that programs have left */
  async close(): Promise<number> {
    const { buffers } = backend!.device.memory;
    await backend!.dispose();
    return buffers;
  },
};

Object.assign(globalThis, { actions: conformanceActions });
