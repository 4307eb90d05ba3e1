// The suite that every backend passes, on WebGPU in Node, with each feature of the device used and not used. Without an adapter it
// is reported as skipped, by name and reason.
import { registerConformance } from '@duobit/testkit';
import { describe, it } from 'vitest';
import { createNodeWebGpuBackend, type NodeWebGpuOptions } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

const absent = await findWebGpu();

/** One way to spread products for all sizes: SwiftShader takes seconds to compile a kernel, and computes each value as well. */
const spread = { lanes: 8, rows: 2, workgroup: 64 } as const;

const VARIANTS: readonly (readonly [string, NodeWebGpuOptions])[] = [
  ['all that the device has', { kv: 'f32', tuning: spread }],
  [
    'without subgroups and packed dot products',
    { kv: 'f32', tuning: spread, variant: { subgroups: false, packedDot: false, f16: false } },
  ],
  ['a cache of f16', { kv: 'f16', tuning: spread }],
];

for (const [name, options] of VARIANTS)
  registerConformance(
    { describe, it },
    {
      name: `webgpu, ${name}`,
      create: () => createNodeWebGpuBackend(options),
      kv: options.kv ?? 'f16',
      absent,
    },
  );
