// The conformance suite on a variant of the webgpu backend, for test files of their own, which run beside each other.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createNodeWebGpuBackend, type NodeWebGpuOptions } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

/** One way to spread products for all sizes: SwiftShader takes seconds to compile a kernel. */
const SPREAD = { lanes: 8, rows: 2, workgroup: 64 } as const;
/** SwiftShader computes on the processor, which others may use as well. */
const TIMEOUT = 300_000;

const skip = (name: string, run: () => Promise<void>): void => it.skip(name, run);
const patient = Object.assign((name: string, run: () => Promise<void>): void => it(name, run, TIMEOUT), {
  skip,
});

/** Skipped by name and reason where there is no WebGPU. */
export async function registerVariant(name: string, options: NodeWebGpuOptions): Promise<void> {
  registerConformance(
    { describe, it: patient },
    {
      name: `webgpu ${name}`,
      create: () => createNodeWebGpuBackend({ tuning: SPREAD, ...options }),
      kv: options.kv ?? 'f16',
      absent: await findWebGpu(),
    },
  );
}
