// Opens the WebGPU backend for checks and measurements, on Dawn, with what its own time measuring needs.

import { createWebGpuBackend } from '@duobit/runtime-web';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);

/** Instances live as long as the process. */
const instances = [];

/** @param features Dawn's switches to turn on, such as 'skip_validation' and 'disable_robustness' */
export function createGpu(features = []) {
  const flags = ['disable-dawn-features=timestamp_quantization'];
  flags.push(`enable-dawn-features=${['allow_unsafe_apis', ...features].join(',')}`);
  const gpu = create(flags);
  instances.push(gpu);
  return gpu;
}

export const open = ({ variant, tuning, kv = 'f16', features = [] } = {}) =>
  createWebGpuBackend({ gpu: createGpu(features), variant, tuning, kv });

/** A line of the record, and its file. */
export function createRecorder(append) {
  return (kind, values) => append(`${JSON.stringify({ kind, ...values })}\n`);
}

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** What the machine has: every adapter that Dawn gives for a wish, its features and limits. */
export async function describeAdapters() {
  const gpu = createGpu();
  const found = [];
  for (const powerPreference of ['high-performance', 'low-power']) {
    const adapter = await gpu.requestAdapter({ powerPreference });
    if (!adapter) {
      found.push({ powerPreference, adapter: null });
      continue;
    }
    const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
    const limits = {};
    for (const name in adapter.limits) limits[name] = adapter.limits[name];
    found.push({
      powerPreference,
      vendor,
      architecture,
      device,
      description,
      subgroupMinSize,
      subgroupMaxSize,
      features: [...adapter.features],
      languageFeatures: [...gpu.wgslLanguageFeatures],
      limits,
    });
  }
  return found;
}
