// What is told of a backend on this machine.
import type { BackendName } from '../backends.ts';
import type { NativeSupport } from '../native/backend.ts';
import type { TfjsDevice } from '../tfjs.ts';

/** One backend, or one of those that TensorFlow.js has for the backend 'tfjs'. */
export interface DeviceEntry {
  readonly backend: Exclude<BackendName, 'auto'>;
  /** Which TensorFlow.js backend; null for all but 'tfjs'. */
  readonly engine: TfjsDevice | null;
  readonly available: boolean;
  /** Why it is not available, in one line; null where it is. */
  readonly reason: string | null;
  /** GPU, adapter or engine; null where there is nothing to name. */
  readonly name: string | null;
  /** Threads that it would use; null where it does not choose or is not available. */
  readonly threads: number | null;
  /** What its kernels are chosen for: 'avx2', 'sm_90', 'dot+subgroups+f16'. */
  readonly instructionSet: string | null;
  /** Of a GPU: 'features' of its WebGPU adapter; of 'native' all instruction sets that it could use, best first. */
  readonly features: readonly string[];
  /** Of 'cuda': the newest CUDA that the driver knows, as '12.8'. */
  readonly driver: string | null;
  /** Of 'cuda': all memory of the GPU, in bytes. */
  readonly memoryBytes: number | null;
  /** Of 'cuda': as '9.0'. */
  readonly computeCapability: string | null;
}

/** What a probe finds out, one message a backend. */
export interface Finding {
  readonly entry: DeviceEntry;
  /** With that of 'native': what 'auto' decides by. */
  readonly native?: NativeSupport;
}

/**
 * Backends that are probed by one process: what brings it down costs those that come after it, so the last is the one that loads most.
 */
export const GROUPS = {
  cuda: [['cuda', null]],
  webgpu: [['webgpu', null]],
  native: [['native', null]],
  tfjs: [
    ['tfjs', 'cpu'],
    ['tfjs', 'wasm'],
    ['tfjs', 'webgpu'],
    ['tfjs', 'tensorflow'],
  ],
  /** Without a driver or an addon: these are opened in the process that asks. */
  here: [
    ['wasm', null],
    ['reference', null],
  ],
} as const satisfies Record<string, readonly (readonly [DeviceEntry['backend'], TfjsDevice | null])[]>;

export type Group = keyof typeof GROUPS;

const NOTHING = {
  available: true,
  reason: null,
  name: null,
  threads: null,
  instructionSet: null,
  features: [],
  driver: null,
  memoryBytes: null,
  computeCapability: null,
} as const;

export function present(
  backend: DeviceEntry['backend'],
  engine: TfjsDevice | null,
  facts: Partial<DeviceEntry>,
): DeviceEntry {
  return { backend, engine, ...NOTHING, ...facts };
}

export function absent(
  backend: DeviceEntry['backend'],
  engine: TfjsDevice | null,
  reason: string,
): DeviceEntry {
  return { backend, engine, ...NOTHING, available: false, reason: reason.split('\n', 1)[0]! };
}
