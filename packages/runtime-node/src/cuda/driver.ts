// The CUDA driver API through koffi: which functions, where the library is, what its errors become. Nothing here knows of
// models. Pointers are numbers (a device's addresses have 48 bits); what a function returns through a pointer goes by way of
// a block of host memory at a fixed address.
import { createRequire } from 'node:module';
import { DuobitError } from '@duobit/format';

type Value = 'int' | 'uint32_t' | 'uint64_t' | 'str' | 'bytes';

/** Parameters of each function; all return a CUresult. Pointers are uint64_t, which is the same in a call. */
const FUNCTIONS = {
  cuInit: ['uint32_t'],
  cuDriverGetVersion: ['uint64_t'],
  cuDeviceGetCount: ['uint64_t'],
  cuDeviceGet: ['uint64_t', 'int'],
  cuDeviceGetName: ['uint64_t', 'int', 'int'],
  cuDeviceGetAttribute: ['uint64_t', 'int', 'int'],
  cuDevicePrimaryCtxRetain: ['uint64_t', 'int'],
  cuDevicePrimaryCtxRelease_v2: ['int'],
  cuCtxSetCurrent: ['uint64_t'],
  cuMemGetInfo_v2: ['uint64_t', 'uint64_t'],
  cuMemAlloc_v2: ['uint64_t', 'uint64_t'],
  cuMemFree_v2: ['uint64_t'],
  cuMemAllocHost_v2: ['uint64_t', 'uint64_t'],
  cuMemFreeHost: ['uint64_t'],
  cuMemcpyHtoDAsync_v2: ['uint64_t', 'uint64_t', 'uint64_t', 'uint64_t'],
  cuMemcpyDtoHAsync_v2: ['uint64_t', 'uint64_t', 'uint64_t', 'uint64_t'],
  cuMemsetD32Async: ['uint64_t', 'uint32_t', 'uint64_t', 'uint64_t'],
  cuStreamCreate: ['uint64_t', 'uint32_t'],
  cuStreamDestroy_v2: ['uint64_t'],
  cuStreamSynchronize: ['uint64_t'],
  cuStreamBeginCapture_v2: ['uint64_t', 'int'],
  cuStreamEndCapture: ['uint64_t', 'uint64_t'],
  cuGraphInstantiateWithFlags: ['uint64_t', 'uint64_t', 'uint64_t'],
  cuGraphDestroy: ['uint64_t'],
  cuGraphExecDestroy: ['uint64_t'],
  cuGraphLaunch: ['uint64_t', 'uint64_t'],
  cuModuleLoadDataEx: ['uint64_t', 'bytes', 'uint32_t', 'uint64_t', 'uint64_t'],
  cuModuleUnload: ['uint64_t'],
  cuModuleGetFunction: ['uint64_t', 'uint64_t', 'str'],
  cuFuncSetAttribute: ['uint64_t', 'int', 'int'],
  cuLaunchKernel: [
    'uint64_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint32_t',
    'uint64_t',
    'uint64_t',
    'uint64_t',
  ],
  cuLaunchKernelEx: ['uint64_t', 'uint64_t', 'uint64_t', 'uint64_t'],
  cuEventCreate: ['uint64_t', 'uint32_t'],
  cuEventDestroy_v2: ['uint64_t'],
  cuEventRecord: ['uint64_t', 'uint64_t'],
  cuEventSynchronize: ['uint64_t'],
  cuEventElapsedTime: ['uint64_t', 'uint64_t', 'uint64_t'],
} as const satisfies Record<string, readonly Value[]>;

export type FunctionName = keyof typeof FUNCTIONS;
type Foreign = (...values: (number | bigint | string | Uint8Array)[]) => number;

/** The little of koffi that is used here. */
interface Koffi {
  load(path: string): {
    func(name: string, result: string, parameters: string[]): (...values: unknown[]) => unknown;
  };
  alloc(type: string, length: number): unknown;
  address(value: unknown): bigint;
  view(value: unknown, length: number): ArrayBuffer;
  free(value: unknown): void;
}

/** Bytes of host memory for what functions return and for the arguments of a launch. */
const SCRATCH = 4096;

const OUT_OF_MEMORY = 2;

/** An error code of the driver; `code` tells running out of memory from the rest. */
export class CudaError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }

  get outOfMemory(): boolean {
    return this.code === OUT_OF_MEMORY;
  }
}

/** Host memory at an address. */
export interface HostBlock {
  readonly address: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
}

export class Driver {
  /** The library's file. */
  readonly path: string;
  readonly scratch: HostBlock;
  readonly #koffi: Koffi;
  readonly #functions: Readonly<Record<FunctionName, Foreign>>;
  readonly #nameOf: (code: number) => string;

  constructor(koffi: Koffi, path: string) {
    this.path = path;
    this.#koffi = koffi;
    const library = koffi.load(path);
    const types: Record<Value, string> = {
      int: 'int',
      uint32_t: 'uint32_t',
      uint64_t: 'uint64_t',
      str: 'const char *',
      bytes: 'const void *',
    };
    const functions: Partial<Record<FunctionName, Foreign>> = {};
    for (const [name, parameters] of Object.entries(FUNCTIONS) as [FunctionName, readonly Value[]][])
      functions[name] = library.func(
        name,
        'int',
        parameters.map((type) => types[type]),
      ) as Foreign;
    this.#functions = functions as Record<FunctionName, Foreign>;
    const memory = koffi.alloc('uint8_t', SCRATCH);
    this.scratch = this.viewOf(Number(koffi.address(memory)), SCRATCH);
    const texts = ['cuGetErrorName', 'cuGetErrorString'].map((name) =>
      library.func(name, 'int', ['int', '_Out_ const char **']),
    );
    this.#nameOf = (code) =>
      texts
        .map((text) => {
          const out: (string | null)[] = [null];
          text(code, out);
          return out[0] ?? '';
        })
        .filter((part) => part !== '')
        .join(', ');
  }

  viewOf(address: number, length: number): HostBlock {
    const buffer = this.#koffi.view(BigInt(address), length);
    return { address, view: new DataView(buffer), bytes: new Uint8Array(buffer) };
  }

  /** @throws CudaError unless the function succeeds */
  call(name: FunctionName, ...values: (number | string | Uint8Array)[]): void {
    const code = this.#functions[name](...values);
    if (code !== 0) throw new CudaError(code, `${name}: ${this.#nameOf(code) || `error ${code}`}`);
  }

  /** A call whose first parameter is where its 64-bit result goes. */
  callForPointer(name: FunctionName, ...values: (number | string | Uint8Array)[]): number {
    this.scratch.view.setBigUint64(0, 0n, true);
    this.call(name, this.scratch.address, ...values);
    return Number(this.scratch.view.getBigUint64(0, true));
  }

  /** The same of a 32-bit integer. */
  callForInt(name: FunctionName, ...values: (number | string)[]): number {
    this.scratch.view.setInt32(0, 0, true);
    this.call(name, this.scratch.address, ...values);
    return this.scratch.view.getInt32(0, true);
  }
}

const require = createRequire(import.meta.url);
/** Drivers that were opened, by path: a library is loaded once. */
const opened = new Map<string, Driver>();

const LIBRARIES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['libcuda.so.1', 'libcuda.so'],
  win32: ['nvcuda.dll'],
};

/**
 * Opens the driver: the library that `path` or the environment's DUOBIT_CUDA names ('off': none), else the system's.
 * @throws DuobitError `BACKEND_UNSUPPORTED` in one line
 */
export function openDriver(path = process.env.DUOBIT_CUDA ?? ''): Driver {
  if (path.toLowerCase() === 'off') throw unsupported('switched off by DUOBIT_CUDA', 'Set it to nothing');
  const candidates = path === '' ? (LIBRARIES[process.platform] ?? []) : [path];
  if (candidates.length === 0)
    throw unsupported(`there is no CUDA on ${process.platform}`, 'Use another backend');
  const known = candidates.map((candidate) => opened.get(candidate)).find((driver) => driver !== undefined);
  if (known) return known;
  let koffi: Koffi;
  try {
    koffi = require('koffi') as Koffi;
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.split('\n')[0]! : String(cause);
    throw unsupported(`the package koffi does not load (${said})`, 'Install it: npm install koffi', cause);
  }
  let failure: unknown;
  for (const candidate of candidates)
    try {
      const driver = new Driver(koffi, candidate);
      opened.set(candidate, driver);
      return driver;
    } catch (error) {
      failure ??= error;
    }
  const said = failure instanceof Error ? failure.message.split('\n')[0]! : String(failure);
  if (path !== '')
    throw unsupported(
      `"${path}" is no CUDA driver (${said})`,
      'Unset DUOBIT_CUDA, or name libcuda.so.1',
      failure,
    );
  throw unsupported(`no NVIDIA driver (${said})`, 'Install the driver, or use another backend', failure);
}

export function unsupported(what: string, remedy: string, cause?: unknown): DuobitError {
  return new DuobitError('BACKEND_UNSUPPORTED', `the cuda backend cannot be used: ${what}`, {
    where: 'cuda backend',
    remedy,
    cause,
  });
}
