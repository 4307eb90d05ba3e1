// Runs in the browser: a token's costs, and what keeps tunings there.
import { createBlobSource, openContainer } from '@duobit/format';
import { createWebGpuBackend, type Tuning } from '@duobit/runtime-web';
import { type ModelCosts, measureTokenCosts } from '@duobit/testkit';
import { createBrowserStore } from '../../src/tuner.ts';

const page = {
  async measureCosts(url: string): Promise<ModelCosts> {
    const source = createBlobSource(await (await fetch(url)).blob());
    const tuning = { tileFrom: 100 };
    const backend = await createWebGpuBackend({ gpu: navigator.gpu, tuning });
    try {
      const container = await openContainer(source);
      const options = [{}, { temperature: 0.8, topK: 40, topP: 0.9 }];
      return await measureTokenCosts(backend, backend.device.device, container, options);
    } finally {
      await backend.dispose();
    }
  },

  /** What an adapter gets that is not told what to run with. */
  async tuningOf(): Promise<Tuning> {
    const backend = await createWebGpuBackend({ gpu: navigator.gpu });
    await backend.dispose();
    return backend.tuning;
  },

  async keep(key: string, value: string): Promise<(string | null)[]> {
    const store = createBrowserStore()!;
    const before = await store.read(key);
    await store.write(key, value);
    return [before, await createBrowserStore()!.read(key), await store.read(`${key}?`)];
  },
};

export type KernelPage = typeof page;
Object.assign(globalThis, { kernelPage: page });
