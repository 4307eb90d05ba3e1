// One GPU: its context, the module of kernels, a stream, memory, launches, copies through pinned memory, graphs.

import { roundUp } from './arena.ts';
import { CudaError, type Driver, type HostBlock, openDriver, unsupported } from './driver.ts';
import { readLaunchSettings } from './environment.ts';
import { type KernelImage, listKernelImages } from './images.ts';

/** An f32 among the arguments of a kernel. */
export interface FloatArgument {
  readonly float: number;
}

export const float = (value: number): FloatArgument => ({ float: value });

export type Argument = number | FloatArgument;
export type Grid = readonly [x: number, y: number, z: number];

/** cuDeviceGetAttribute */
const ATTRIBUTE = { multiprocessors: 16, major: 75, minor: 76, sharedMemory: 97 } as const;
/** cuFuncSetAttribute */
const DYNAMIC_SHARED_MEMORY = 8;
const NON_BLOCKING = 1;
const CAPTURE_RELAXED = 2;
/** Of mma with int8, and of cp.async. */
const LEAST_CAPABILITY = 80;
/** Two halves: one is filled while the other is copied. */
const STAGING = 8 << 20;
/** CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION */
const PROGRAMMATIC_SERIALIZATION = 6;
/** Kernels compiled for this and later begin before the one before them has ended, and wait where they must. */
export const OVERLAP_ARCHITECTURE = 90;
/** Since this version of the driver a recording may hold launches that overlap. */
const OVERLAP_VERSION = 12_030;
/** Where in the scratch memory a launch has its configuration, the attribute of that, and the arguments. */
const [CONFIG, ATTRIBUTES, ARGUMENTS] = [64, 128, 256];
/** Kernels that take dynamic shared memory, by how their names begin. */
const DYNAMIC = ['row_chain', 'w11_row', 'w11_one', 'attention_many'];
/** Static shared memory of the kernels that also take dynamic, and what the driver keeps. */
const SHARED_RESERVE = 8192;

export interface DeviceFacts {
  readonly name: string;
  /** 90 for compute capability 9.0. */
  readonly capability: number;
  readonly driverVersion: number;
  readonly multiprocessors: number;
  readonly memory: number;
}

function setPointer(view: DataView, at: number, pointer: number): void {
  view.setUint32(at, pointer % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(pointer / 2 ** 32), true);
}

/** The first GPU of the driver. One stream: launches and copies are done in the order in which they are asked for. Memory is the caller's to free. */
export class Device {
  readonly driver: Driver;
  readonly facts: DeviceFacts;
  /** Bytes of dynamic shared memory that a block may take. */
  readonly sharedMemory: number;
  /** Which image of the kernels was loaded, and what it was compiled for: 80, 86, 89 or 90. */
  readonly image: string;
  readonly architecture: number;
  /** Bytes of the longest row that products make codes of for themselves. */
  readonly fuseLimit: number;
  /** Whether a kernel may begin while the one before it ends; kernels for Hopper and later wait where they must. */
  readonly overlaps: boolean;
  readonly #ordinal: number;
  readonly #stream: number;
  readonly #module: number;
  readonly #functions = new Map<string, number>();
  readonly #events: number[] = [];
  #staging: HostBlock;
  #half = 0;
  /** Name of the kernel launched last, for measurements. */
  latestKernel = '';
  /** While launches only look their kernels up. */
  #onlyLooksUp = false;
  #disposed = false;

  /** @throws DuobitError `BACKEND_UNSUPPORTED`; `BACKEND_OPTION` for bad settings in the environment */
  constructor(library?: string) {
    const settings = readLaunchSettings(process.env);
    this.fuseLimit = settings.fuseLimit;
    this.driver = openDriver(library);
    const { driver } = this;
    try {
      driver.call('cuInit', 0);
      if (driver.callForInt('cuDeviceGetCount') === 0)
        throw unsupported('the driver finds no GPU', 'Use another backend');
    } catch (error) {
      if (!(error instanceof CudaError)) throw error;
      throw unsupported(`the driver does not start (${error.message})`, 'Check nvidia-smi', error);
    }
    this.#ordinal = driver.callForInt('cuDeviceGet', 0);
    const attribute = (which: number) => driver.callForInt('cuDeviceGetAttribute', which, this.#ordinal);
    const capability = 10 * attribute(ATTRIBUTE.major) + attribute(ATTRIBUTE.minor);
    driver.call('cuDeviceGetName', driver.scratch.address, 256, this.#ordinal);
    const { bytes } = driver.scratch;
    const name = new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
    if (capability < LEAST_CAPABILITY)
      throw unsupported(
        `${name} has compute capability ${capability / 10}; 8.0 is needed`,
        'Use another backend',
      );
    const context = driver.callForPointer('cuDevicePrimaryCtxRetain', this.#ordinal);
    driver.call('cuCtxSetCurrent', context);
    try {
      const { image, module } = this.#load(capability);
      this.image = image.name;
      this.architecture = image.architecture;
      this.overlaps =
        settings.overlap &&
        image.architecture >= OVERLAP_ARCHITECTURE &&
        driver.callForInt('cuDriverGetVersion') >= OVERLAP_VERSION;
      this.#module = module;
      this.#stream = driver.callForPointer('cuStreamCreate', NON_BLOCKING);
      this.#staging = this.allocateHost(STAGING);
      for (let i = 0; i < 2; i++) this.#events.push(this.createEvent());
    } catch (error) {
      driver.call('cuDevicePrimaryCtxRelease_v2', this.#ordinal);
      throw error;
    }
    this.facts = {
      name,
      capability,
      driverVersion: driver.callForInt('cuDriverGetVersion'),
      multiprocessors: attribute(ATTRIBUTE.multiprocessors),
      memory: this.memory().total,
    };
    this.sharedMemory = attribute(ATTRIBUTE.sharedMemory) - SHARED_RESERVE;
  }

  #load(capability: number): { image: KernelImage; module: number } {
    const failures: string[] = [];
    for (const image of listKernelImages(capability))
      try {
        return { image, module: this.#loadImage(image) };
      } catch (error) {
        if (!(error instanceof CudaError) || error.outOfMemory) throw error;
        failures.push(`${image.name}: ${error.message}`);
      }
    throw unsupported(
      `the driver takes none of the kernels (${failures.join('; ') || 'none are there'})`,
      'Update the driver to CUDA 12.0 or later',
    );
  }

  #loadImage({ read }: KernelImage): number {
    return this.driver.callForPointer('cuModuleLoadDataEx', read(), 0, 0, 0);
  }

  functionOf(name: string): number {
    let found = this.#functions.get(name);
    if (found === undefined) {
      found = this.driver.callForPointer('cuModuleGetFunction', this.#module, name);
      this.#functions.set(name, found);
      if (DYNAMIC.some((start) => name.startsWith(start)))
        this.driver.call('cuFuncSetAttribute', found, DYNAMIC_SHARED_MEMORY, this.sharedMemory);
    }
    return found;
  }

  /** Bytes of the whole GPU, as the driver counts them. */
  memory(): { free: number; total: number } {
    const { address, view } = this.driver.scratch;
    this.driver.call('cuMemGetInfo_v2', address, address + 8);
    return { free: Number(view.getBigUint64(0, true)), total: Number(view.getBigUint64(8, true)) };
  }

  allocate(bytes: number): number {
    return this.driver.callForPointer('cuMemAlloc_v2', bytes);
  }

  free(address: number): void {
    this.driver.call('cuMemFree_v2', address);
  }

  /** Memory of the host that kernels read and write, at the same address. */
  allocateHost(bytes: number): HostBlock {
    return this.driver.viewOf(this.driver.callForPointer('cuMemAllocHost_v2', bytes), bytes);
  }

  freeHost({ address }: HostBlock): void {
    this.driver.call('cuMemFreeHost', address);
  }

  /**
   * Launches a kernel on its one argument, which the driver copies at once: pointers, then 32-bit numbers, and the same again where it
   * has two parts.
   * @param grid blocks
   * @param threads of a block
   * @param numbers integers, or f32 by `float`
   * @param sharedBytes of dynamic shared memory
   */
  launch(
    name: string,
    grid: Grid,
    threads: number,
    pointers: readonly number[],
    numbers: readonly Argument[],
    sharedBytes = 0,
    more?: { readonly pointers: readonly number[]; readonly numbers: readonly Argument[] },
  ): void {
    // Looked up first: that too goes by way of the scratch memory.
    const kernel = this.functionOf(name);
    this.latestKernel = name;
    if (this.#onlyLooksUp) return;
    const { driver } = this;
    const { address, view } = driver.scratch;
    // The list of parameters has one, the struct behind it.
    setPointer(view, 0, address + ARGUMENTS);
    let at = ARGUMENTS;
    for (const struct of more ? [{ pointers, numbers }, more] : [{ pointers, numbers }]) {
      at = roundUp(at, 8);
      for (const pointer of struct.pointers) {
        setPointer(view, at, pointer);
        at += 8;
      }
      for (const value of struct.numbers) {
        if (typeof value === 'number') view.setInt32(at, value, true);
        else view.setFloat32(at, value.float, true);
        at += 4;
      }
    }
    const [x, y, z] = grid;
    if (!this.overlaps) {
      driver.call('cuLaunchKernel', kernel, x, y, z, threads, 1, 1, sharedBytes, this.#stream, address, 0);
      return;
    }
    // CUlaunchConfig and one CUlaunchAttribute.
    [x, y, z, threads, 1, 1, sharedBytes].forEach((value, i) => {
      view.setUint32(CONFIG + 4 * i, value, true);
    });
    setPointer(view, CONFIG + 32, this.#stream);
    setPointer(view, CONFIG + 40, address + ATTRIBUTES);
    view.setUint32(CONFIG + 48, 1, true);
    view.setUint32(ATTRIBUTES, PROGRAMMATIC_SERIALIZATION, true);
    view.setInt32(ATTRIBUTES + 8, 1, true);
    driver.call('cuLaunchKernelEx', address + CONFIG, kernel, address, 0);
  }

  /** Sets memory to a 32-bit word, over and over. */
  fill(address: number, word: number, bytes: number): void {
    if (bytes > 0) this.driver.call('cuMemsetD32Async', address, word, bytes / 4, this.#stream);
  }

  /**
   * Copies to the device, in order with what was launched; returns when the source may be changed. `fill` puts part of the
   * data, from an offset on, into pinned memory.
   */
  upload(address: number, length: number, fill: (target: Uint8Array, offset: number) => void): void {
    const half = STAGING / 2;
    for (let offset = 0; offset < length; offset += half) {
      const size = Math.min(half, length - offset);
      const event = this.#events[this.#half]!;
      this.driver.call('cuEventSynchronize', event);
      const start = this.#half * half;
      fill(this.#staging.bytes.subarray(start, start + size), offset);
      this.driver.call(
        'cuMemcpyHtoDAsync_v2',
        address + offset,
        this.#staging.address + start,
        size,
        this.#stream,
      );
      this.driver.call('cuEventRecord', event, this.#stream);
      this.#half = 1 - this.#half;
    }
  }

  uploadBytes(address: number, bytes: Uint8Array): void {
    this.upload(address, bytes.length, (target, offset) =>
      target.set(bytes.subarray(offset, offset + target.length)),
    );
  }

  /** Copies from the device when all work before is done. */
  download(address: number, length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length);
    for (let offset = 0; offset < length; offset += STAGING) {
      const size = Math.min(STAGING, length - offset);
      this.driver.call('cuMemcpyDtoHAsync_v2', this.#staging.address, address + offset, size, this.#stream);
      this.synchronize();
      out.set(this.#staging.bytes.subarray(0, size), offset);
    }
    return out;
  }

  /** Waits for all that was launched. */
  synchronize(): void {
    this.driver.call('cuStreamSynchronize', this.#stream);
  }

  waitForEvent(event: number): void {
    this.driver.call('cuEventSynchronize', event);
  }

  createEvent(): number {
    return this.driver.callForPointer('cuEventCreate', 0);
  }

  recordEvent(event: number): void {
    this.driver.call('cuEventRecord', event, this.#stream);
  }

  /** Milliseconds between two events; waits for the second. */
  elapsed(from: number, to: number): number {
    this.driver.call('cuEventSynchronize', to);
    this.driver.call('cuEventElapsedTime', this.driver.scratch.address, from, to);
    return this.driver.scratch.view.getFloat32(0, true);
  }

  destroyEvent(event: number): void {
    this.driver.call('cuEventDestroy_v2', event);
  }

  /** Records what `act` launches instead of running it; it is called twice. */
  capture(act: () => void): number {
    // Looking a kernel up may load it (CUDA_MODULE_LOADING), and wait for the device to do so: not while it records.
    this.#onlyLooksUp = true;
    try {
      act();
    } finally {
      this.#onlyLooksUp = false;
    }
    this.driver.call('cuStreamBeginCapture_v2', this.#stream, CAPTURE_RELAXED);
    let failure: unknown;
    try {
      act();
    } catch (error) {
      failure = error;
    }
    // A capture must be ended even when what it recorded is of no use.
    const { view, address } = this.driver.scratch;
    this.driver.call('cuStreamEndCapture', this.#stream, address);
    const graph = Number(view.getBigUint64(0, true));
    try {
      if (failure !== undefined) throw failure;
      return this.driver.callForPointer('cuGraphInstantiateWithFlags', graph, 0);
    } finally {
      this.driver.call('cuGraphDestroy', graph);
    }
  }

  launchGraph(executable: number): void {
    this.driver.call('cuGraphLaunch', executable, this.#stream);
  }

  destroyGraph(executable: number): void {
    this.driver.call('cuGraphExecDestroy', executable);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const { driver } = this;
    try {
      for (const event of this.#events) driver.call('cuEventDestroy_v2', event);
      this.freeHost(this.#staging);
      driver.call('cuStreamDestroy_v2', this.#stream);
      driver.call('cuModuleUnload', this.#module);
    } finally {
      // After a fault the driver refuses all of these, and this alone gives the GPU's memory back.
      driver.call('cuDevicePrimaryCtxRelease_v2', this.#ordinal);
    }
  }
}
