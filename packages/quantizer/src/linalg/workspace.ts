// The WebAssembly instance behind the linear algebra and the scratch memory that its calls share.
import { DuobitError } from '@duobit/format';
import { LINALG_BASE64 } from './generated/kernels.ts';

/** Exports of assembly/index.ts. Pointers, sizes and strides (in bytes) are u32. */
export type LinalgKernels = WebAssembly.Exports & {
  heapStart(): number;
  factor(a: number, stride: number, n: number): number;
  invert(l: number, stride: number, n: number): void;
  clearUpper(a: number, stride: number, n: number): void;
  solveTransposed(b: number, bStride: number, l: number, lStride: number, rows: number, n: number): void;
  solveRight(b: number, bStride: number, l: number, lStride: number, rows: number, n: number): void;
  subtractProduct32(
    c: number,
    cStride: number,
    a: number,
    aStride: number,
    b: number,
    bStride: number,
    rows: number,
    columns: number,
    depth: number,
  ): void;
  propagateErrors(
    w: number,
    u: number,
    stride: number,
    levels: number,
    levelCount: number,
    codes: number,
    errors: number,
    rows: number,
    width: number,
  ): void;
  descend(
    h: number,
    gradient: number,
    stride: number,
    codes: number,
    levels: number,
    rows: number,
    columns: number,
    groupSize: number,
  ): number;
  sumLevels(
    h: number,
    stride: number,
    w: number,
    codes: number,
    a: number,
    r: number,
    columns: number,
    groupSize: number,
  ): void;
};

const PAGE = 65_536;
/** 32-bit addresses reach 65,536 pages of 64 KiB. */
const MAX_PAGES = 65_536;
/** Room for the module's own buffers of 1.3 MiB. */
const FIRST_PAGES = 32;
const ALIGNMENT = 64;
const GIB = 2 ** 30;

/**
 * One instance of the kernels with its memory. Calls run one at a time, each from an empty scratch memory, which keeps the
 * size of the largest call so far: to give that back, drop the workspace. Workspaces share nothing, so there can be one a
 * thread; all give the same bits.
 */
export class Workspace {
  readonly kernels: LinalgKernels;
  readonly #memory: WebAssembly.Memory;
  readonly #start: number;
  #top: number;

  private constructor(kernels: LinalgKernels, memory: WebAssembly.Memory) {
    this.kernels = kernels;
    this.#memory = memory;
    this.#start = Math.ceil(kernels.heapStart() / ALIGNMENT) * ALIGNMENT;
    this.#top = this.#start;
  }

  /** @throws DuobitError `BACKEND_UNSUPPORTED` when the engine lacks WebAssembly with 128-bit SIMD, or memory for it */
  static async create(): Promise<Workspace> {
    try {
      const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MAX_PAGES });
      const bytes = Uint8Array.from(atob(LINALG_BASE64), (character) => character.charCodeAt(0));
      const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } });
      return new Workspace(instance.exports as LinalgKernels, memory);
    } catch (cause) {
      throw new DuobitError('BACKEND_UNSUPPORTED', 'this engine cannot run WebAssembly with 128-bit SIMD', {
        where: 'linear algebra',
        remedy: 'Use Node 20 or a browser from 2023 on',
        cause,
      });
    }
  }

  /** Frees what earlier calls allocated. */
  reset(): void {
    this.#top = this.#start;
  }

  /**
   * Bytes aligned to 64, with any content.
   * @throws DuobitError `BACKEND_OUT_OF_MEMORY` past 4 GiB, or when the system gives no more
   */
  allocate(bytes: number): number {
    const pointer = this.#top;
    const end = pointer + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    const missing = Math.ceil(end / PAGE) - this.#memory.buffer.byteLength / PAGE;
    if (missing > 0) {
      try {
        this.#memory.grow(missing);
      } catch (cause) {
        throw new DuobitError(
          'BACKEND_OUT_OF_MEMORY',
          `no ${(end / GIB).toFixed(3)} GiB for linear algebra; a WebAssembly memory ends at 4 GiB`,
          { where: 'linear algebra', remedy: 'Free memory, or take a smaller model', cause },
        );
      }
    }
    this.#top = end;
    return pointer;
  }

  // Views are valid until the next allocation, which may replace the buffer.

  bytes(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory.buffer as ArrayBuffer, pointer, length);
  }

  floats(pointer: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#memory.buffer as ArrayBuffer, pointer, length);
  }

  doubles(pointer: number, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#memory.buffer as ArrayBuffer, pointer, length);
  }
}
