// Counts what a GPU device is really asked to do, at the device itself and not by what a backend says of itself.
/// <reference types="@webgpu/types" />

/** Since the watch began, or was last reset. */
export interface DeviceCounts {
  readonly buffers: number;
  readonly pipelines: number;
  readonly bindGroups: number;
  readonly passes: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly readbacks: number;
  readonly readbackBytes: number;
  /** Bytes of the buffers that dispatches had bound for reading only, by their labels. */
  readonly bytesRead: ReadonlyMap<string, number>;
}

export interface DeviceWatch {
  counts(): DeviceCounts;
  reset(): void;
}

type Counter = Exclude<keyof DeviceCounts, 'bytesRead'>;

const NONE: Record<Counter, number> = {
  buffers: 0,
  pipelines: 0,
  bindGroups: 0,
  passes: 0,
  dispatches: 0,
  submits: 0,
  readbacks: 0,
  readbackBytes: 0,
};

/** Puts itself before the device's methods, for good. Begin before anything is made on the device. */
export function watchDevice(device: GPUDevice): DeviceWatch {
  const counts = { ...NONE };
  const bytesRead = new Map<string, number>();
  const readBindings = new WeakMap<GPUBindGroupLayout, ReadonlySet<number>>();
  const readBuffers = new WeakMap<GPUBindGroup, readonly GPUBuffer[]>();

  after(device, 'createBuffer', (buffer) => {
    counts.buffers += 1;
    before(buffer, 'mapAsync', (_mode, _offset, size) => {
      counts.readbacks += 1;
      counts.readbackBytes += size ?? buffer.size;
    });
  });
  before(device, 'createComputePipeline', () => {
    counts.pipelines += 1;
  });
  before(device, 'createComputePipelineAsync', () => {
    counts.pipelines += 1;
  });
  after(device, 'createBindGroupLayout', (layout, { entries }) => {
    const read = [...entries].filter(({ buffer }) => buffer?.type === 'read-only-storage');
    readBindings.set(layout, new Set(read.map(({ binding }) => binding)));
  });
  after(device, 'createBindGroup', (group, { entries, layout }) => {
    counts.bindGroups += 1;
    const isRead = readBindings.get(layout as GPUBindGroupLayout) ?? new Set();
    readBuffers.set(
      group,
      [...entries].flatMap(({ binding, resource }) =>
        isRead.has(binding) ? (resource as GPUBufferBinding).buffer : [],
      ),
    );
  });
  before(device.queue, 'submit', () => {
    counts.submits += 1;
  });
  after(device, 'createCommandEncoder', (encoder) => {
    after(encoder, 'beginComputePass', (pass) => {
      counts.passes += 1;
      let bound: readonly GPUBuffer[] = [];
      before(pass, 'setBindGroup', (_index, group) => {
        bound = readBuffers.get(group!) ?? [];
      });
      before(pass, 'dispatchWorkgroups', () => {
        counts.dispatches += 1;
        for (const buffer of bound) bytesRead.set(buffer.label, buffer.size);
      });
    });
  });
  return {
    counts: () => ({ ...counts, bytesRead: new Map(bytesRead) }),
    reset: () => {
      Object.assign(counts, NONE);
      bytesRead.clear();
    },
  };
}

type Method = (...args: never[]) => unknown;
type MethodName<T> = { [K in keyof T]: T[K] extends Method ? K : never }[keyof T];
type ArgumentsOf<T, K extends keyof T> = T[K] extends (...args: infer A) => unknown ? A : never;
type ResultOf<T, K extends keyof T> = T[K] extends (...args: never[]) => infer R ? R : never;

/** Has a method tell its arguments before it does its work. */
function before<T extends object, K extends MethodName<T>>(
  target: T,
  name: K,
  tell: (...args: ArgumentsOf<T, K>) => void,
): void {
  const method = target[name] as (...args: unknown[]) => unknown;
  Object.defineProperty(target, name, {
    value: (...args: unknown[]) => {
      tell(...(args as ArgumentsOf<T, K>));
      return method.apply(target, args);
    },
  });
}

/** Has a method tell its result, and its arguments. */
function after<T extends object, K extends MethodName<T>>(
  target: T,
  name: K,
  tell: (result: ResultOf<T, K>, ...args: ArgumentsOf<T, K>) => void,
): void {
  const method = target[name] as (...args: unknown[]) => unknown;
  Object.defineProperty(target, name, {
    value: (...args: unknown[]) => {
      const result = method.apply(target, args);
      tell(result as ResultOf<T, K>, ...(args as ArgumentsOf<T, K>));
      return result;
    },
  });
}
