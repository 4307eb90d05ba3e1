// Memory of one program, freed all at once: of the device, taken from the driver in large blocks and handed out piece by piece, and of the
// host where kernels read and write it.
import { DuobitError } from '@duobit/format';
import type { Device } from './device.ts';
import { CudaError, type HostBlock } from './driver.ts';

const FIRST_BLOCK = 1 << 20;
const LARGEST_BLOCK = 64 << 20;
/** Of every piece; what a vector load of 16 bytes and whole sectors want. */
const ALIGN = 256;

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

export class Arena {
  readonly #device: Device;
  readonly #blocks: { readonly address: number; readonly length: number }[] = [];
  readonly #hostBlocks: HostBlock[] = [];
  #block = FIRST_BLOCK;
  #next = 0;
  #end = 0;
  #scratch = { address: 0, length: 0 };
  /** Bytes handed out. */
  used = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Uninitialised memory.
   * @throws DuobitError `BACKEND_OUT_OF_MEMORY` saying what was needed and what is free
   */
  allocate(length: number, what: string): number {
    const size = roundUp(Math.max(length, 1), ALIGN);
    if (this.#next + size > this.#end) {
      const block = Math.max(this.#block, size);
      // A small program should not take much, and a large one should not ask often.
      this.#block = Math.min(4 * this.#block, LARGEST_BLOCK);
      // A device nearly full may still have room for the piece itself.
      const address = this.#take(block, size, what);
      this.#blocks.push(address);
      this.#next = address.address;
      this.#end = address.address + address.length;
    }
    const at = this.#next;
    this.#next += size;
    this.used += size;
    return at;
  }

  #take(most: number, least: number, what: string): { address: number; length: number } {
    for (const length of most > least ? [most, least] : [least])
      try {
        return { address: this.#device.allocate(length), length };
      } catch (error) {
        if (!(error instanceof CudaError && error.outOfMemory)) throw error;
      }
    const { free, total } = this.#device.memory();
    throw new DuobitError(
      'BACKEND_OUT_OF_MEMORY',
      `no memory for ${what}: ${mib(least)} needed, ${mib(free)} of ${mib(total)} free on ${this.#device.facts.name}`,
      { where: 'cuda backend', remedy: 'Use a shorter context, fewer sequences or a smaller model' },
    );
  }

  /** Zeroed memory. */
  allocateZeroed(length: number, what: string): number {
    const size = roundUp(Math.max(length, 4), 4);
    const at = this.allocate(size, what);
    this.#device.fill(at, 0, size);
    return at;
  }

  /**
   * Memory of the host that kernels read and write, at the same address.
   * @throws DuobitError `BACKEND_OUT_OF_MEMORY`
   */
  allocateHost(length: number, what: string): HostBlock {
    try {
      const block = this.#device.allocateHost(length);
      this.#hostBlocks.push(block);
      return block;
    } catch (error) {
      if (!(error instanceof CudaError && error.outOfMemory)) throw error;
      throw new DuobitError(
        'BACKEND_OUT_OF_MEMORY',
        `no pinned host memory for ${what}: ${mib(length)} needed`,
        { where: 'cuda backend', remedy: "Free some of the machine's memory, or load with fewer sequences" },
      );
    }
  }

  /** Memory for a moment: what comes from the container before it is packed, what a search finds. The next call may give the same. */
  scratch(length: number, what: string): number {
    if (length > this.#scratch.length) {
      this.freeScratch();
      const size = roundUp(Math.max(length, 1 << 20), ALIGN);
      this.#scratch = this.#take(size, roundUp(length, ALIGN), what);
    }
    return this.#scratch.address;
  }

  freeScratch(): void {
    if (this.#scratch.length === 0) return;
    this.#device.synchronize();
    this.#device.free(this.#scratch.address);
    this.#scratch = { address: 0, length: 0 };
  }

  dispose(): void {
    this.freeScratch();
    for (const { address } of this.#blocks.splice(0)) this.#device.free(address);
    for (const block of this.#hostBlocks.splice(0)) this.#device.freeHost(block);
    this.#next = this.#end = this.used = 0;
  }
}
