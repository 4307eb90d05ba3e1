// The linear memory of one program: allocated once while it is prepared, front to back, never moved or freed in parts.
import { DuobitError } from '@duobit/format';

const PAGE = 65_536;
/** 32-bit addresses reach 65,536 pages of 64 KiB. */
const MAX_PAGES = 65_536;
const ALIGNMENT = 64;
/** Kernels may read (never write) this far past the end of an array. */
const GUARD = 64;

/** End of the control block at address 64, assembly/layout.ts. */
const CONTROL_END = 512;

const GIB = 2 ** 30;

export class Heap {
  readonly memory: WebAssembly.Memory;
  /** First free byte. Below it lies what assembly/layout.ts calls Control; zero is never handed out. */
  #top = CONTROL_END;

  /** @param shared whether several threads are to use the memory */
  constructor({ shared = false }: { readonly shared?: boolean } = {}) {
    try {
      this.memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES, shared });
    } catch (cause) {
      throw outOfMemory('the engine refused a new WebAssembly memory', 'memory', cause);
    }
  }

  /**
   * Zeroed bytes, aligned to 64.
   * @param purpose what they are for, named in the error
   * @throws DuobitError `BACKEND_OUT_OF_MEMORY` past 4 GiB, or when the system gives no more
   */
  allocate(bytes: number, purpose: string): number {
    const pointer = this.borrow(bytes, purpose);
    this.#top = pointer + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return pointer;
  }

  /**
   * Zeroed bytes that stay free: the next allocation gets them too, and wants them zeroed.
   * @throws as `allocate`
   */
  borrow(bytes: number, purpose: string): number {
    const pointer = this.#top;
    const end = pointer + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    const pages = Math.ceil((end + GUARD) / PAGE);
    const sizes = `${(bytes / GIB).toFixed(3)} GiB for ${purpose} on top of ${(pointer / GIB).toFixed(3)} GiB`;
    if (pages > MAX_PAGES)
      throw outOfMemory(`the program needs ${sizes}; a WebAssembly memory ends at 4 GiB`, purpose, undefined);
    const missing = pages - this.memory.buffer.byteLength / PAGE;
    if (missing > 0) {
      try {
        this.memory.grow(missing);
      } catch (cause) {
        throw outOfMemory(`the system did not give ${sizes}`, purpose, cause);
      }
    }
    return pointer;
  }

  /** Bytes handed out so far, alignment included. */
  get used(): number {
    return this.#top;
  }

  // Views are valid until the next allocation, which may replace the buffer.

  bytes(pointer: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer(), pointer, length);
  }

  words(pointer: number, length: number): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.#buffer(), pointer, length);
  }

  integers(pointer: number, length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#buffer(), pointer, length);
  }

  floats(pointer: number, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#buffer(), pointer, length);
  }

  doubles(pointer: number, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#buffer(), pointer, length);
  }

  #buffer(): ArrayBuffer {
    return this.memory.buffer;
  }
}

function outOfMemory(message: string, where: string, cause: unknown): DuobitError {
  return new DuobitError('BACKEND_OUT_OF_MEMORY', message, {
    where,
    remedy: 'Prepare fewer positions or rows, or use a smaller or quantized model',
    cause,
  });
}
