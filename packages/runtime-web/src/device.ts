// Opens a WebGPU device: which adapter, which of its features kernels are chosen for, and what happens when it fails.
/// <reference types="@webgpu/types" />
import { DuobitError } from '@duobit/format';

/** What kernels are chosen for. Each needs something of the device; without any of them kernels run everywhere. */
export interface Variant {
  /** Packed 4x8-bit dot products, else counts of bits. */
  readonly packedDot: boolean;
  /** Sums within subgroups, else in workgroup memory. */
  readonly subgroups: boolean;
  /** The device's own f16, else conversion by integers. */
  readonly f16: boolean;
}

/** Which adapter is taken, and what of it is used. */
export interface DeviceOptions {
  /** `navigator.gpu`, or what the `webgpu` package creates in Node.js. */
  readonly gpu: GPU | undefined;
  readonly powerPreference?: GPUPowerPreference | undefined;
  /** Turns off what the device has; asking for what it lacks is refused. Default: all that it has. */
  readonly variant?: Partial<Variant> | undefined;
}

/** An open device with what is known of it. */
export interface WebGpuDevice {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapterInfo;
  readonly features: readonly string[];
  readonly languageFeatures: readonly string[];
  readonly variant: Variant;
  /** Threads that are certain to be one subgroup, a power of two; 1 without subgroups. */
  readonly subgroupSize: number;
  readonly hasTimestamps: boolean;
  /** What programs hold on it now. */
  readonly memory: { buffers: number; bytes: number };
  /** @throws DuobitError `BACKEND_DEVICE_LOST`, `BACKEND_OUT_OF_MEMORY`, `BACKEND_FAILED` when something has gone wrong */
  check(): void;
  /** Waits a moment for the reason of a failure: calls can fail before it is told that the device was lost. */
  settle(): Promise<void>;
  /** Gives the device back; what runs on it ends. */
  destroy(): void;
}

/** Limits that are raised to what the adapter has: models have large tensors. */
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxStorageBuffersPerShaderStage',
] as const;

const SETTLE_MS = 200;

/**
 * @throws DuobitError `BACKEND_UNSUPPORTED` without WebGPU, an adapter or what a variant asks for
 */
export async function openDevice(options: DeviceOptions): Promise<WebGpuDevice> {
  const { gpu, powerPreference = 'high-performance' } = options;
  if (!gpu) throw unsupported('WebGPU is not there', 'Use a browser with WebGPU, or the wasm backend');
  const adapter = await gpu.requestAdapter({ powerPreference });
  if (!adapter)
    throw unsupported('WebGPU has no adapter here', 'Check the graphics driver, or use the wasm backend');
  const languageFeatures = gpu.wgslLanguageFeatures ? [...gpu.wgslLanguageFeatures] : [];
  const { info } = adapter;
  const smallest = info.subgroupMinSize ?? 0;
  const present: Variant = {
    packedDot: languageFeatures.includes('packed_4x8_integer_dot_product'),
    subgroups: adapter.features.has('subgroups') && smallest >= 4,
    f16: adapter.features.has('shader-f16'),
  };
  const variant = chooseVariant(present, options.variant ?? {});
  const hasTimestamps = adapter.features.has('timestamp-query');
  const requiredFeatures: GPUFeatureName[] = [];
  if (variant.subgroups) requiredFeatures.push('subgroups');
  if (variant.f16) requiredFeatures.push('shader-f16');
  if (hasTimestamps) requiredFeatures.push('timestamp-query');
  const requiredLimits: Record<string, number> = {};
  for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const features = [...adapter.features];
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });

  let failure: DuobitError | null = null;
  let isDestroyed = false;
  device.addEventListener('uncapturederror', (event) => {
    failure ??= describeError((event as GPUUncapturedErrorEvent).error);
  });
  void device.lost.then(({ message }) => {
    if (isDestroyed) return;
    failure = new DuobitError('BACKEND_DEVICE_LOST', `the GPU device was lost: ${message}`, {
      where: 'webgpu backend',
      remedy: 'Load the model again',
    });
  });
  return {
    device,
    adapter: info,
    features,
    languageFeatures,
    variant,
    subgroupSize: variant.subgroups ? Math.min(64, smallest) : 1,
    hasTimestamps,
    memory: { buffers: 0, bytes: 0 },
    check() {
      if (failure) throw failure;
    },
    async settle() {
      const moment = new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      await Promise.race([device.lost, moment]);
    },
    destroy() {
      isDestroyed = true;
      device.destroy();
    },
  };
}

function chooseVariant(present: Variant, wanted: Partial<Variant>): Variant {
  const chosen = { ...present };
  for (const name of ['packedDot', 'subgroups', 'f16'] as const) {
    const asked = wanted[name];
    if (asked === true && !present[name])
      throw unsupported(`the device does not have "${name}"`, 'Leave it out of the variant');
    if (asked !== undefined) chosen[name] = asked;
  }
  return chosen;
}

/** 'dot+subgroups+f16': the name of a variant, 'plain' for none. */
export function nameVariant({ packedDot, subgroups, f16 }: Variant): string {
  const parts = [packedDot ? 'dot' : [], subgroups ? 'subgroups' : [], f16 ? 'f16' : []].flat();
  return parts.length === 0 ? 'plain' : parts.join('+');
}

function unsupported(message: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_UNSUPPORTED', message, { where: 'webgpu backend', remedy });
}

function describeError(error: GPUError): DuobitError {
  // By its name, as the classes are not globals in Node.js.
  return error.constructor.name === 'GPUOutOfMemoryError'
    ? outOfMemory(error.message)
    : new DuobitError('BACKEND_FAILED', `WebGPU reports: ${error.message}`, {
        where: 'webgpu backend',
        remedy: 'Report this as a bug, with the name of the GPU',
      });
}

export function outOfMemory(what: string): DuobitError {
  return new DuobitError('BACKEND_OUT_OF_MEMORY', `no GPU memory: ${what}`, {
    where: 'webgpu backend',
    remedy: 'Use a shorter context or a smaller model',
  });
}
