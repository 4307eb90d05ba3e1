// GPU memory of a program: every buffer is counted, also on its device, and all go together.
/// <reference types="@webgpu/types" />
import { padTo, USAGE } from './constants.ts';
import { outOfMemory, type WebGpuDevice } from './device.ts';

export class BufferPool {
  readonly #open: WebGpuDevice;
  readonly #held = new Set<GPUBuffer>();
  bytes = 0;

  constructor(open: WebGpuDevice) {
    this.#open = open;
  }

  get count(): number {
    return this.#held.size;
  }

  /** @throws DuobitError `BACKEND_OUT_OF_MEMORY` when the device cannot have a buffer of this size */
  allocate(bytes: number, usage: number, label: string): GPUBuffer {
    const size = Math.max(16, padTo(bytes, 16));
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#open.device.limits;
    const most = usage & USAGE.storage ? Math.min(maxBufferSize, maxStorageBufferBindingSize) : maxBufferSize;
    if (size > most)
      throw outOfMemory(`${label} takes ${size} bytes; a buffer of this device has at most ${most}`);
    const buffer = this.#open.device.createBuffer({ size, usage, label });
    this.#held.add(buffer);
    this.#count(1, size);
    return buffer;
  }

  /** A buffer that kernels read, to be filled by the queue. */
  storage(bytes: number, label: string): GPUBuffer {
    return this.allocate(bytes, USAGE.storage | USAGE.copyTarget | USAGE.copySource, label);
  }

  free(buffer: GPUBuffer): void {
    if (!this.#held.delete(buffer)) return;
    this.#count(-1, -buffer.size);
    buffer.destroy();
  }

  destroy(): void {
    for (const buffer of [...this.#held]) this.free(buffer);
  }

  #count(buffers: number, bytes: number): void {
    this.bytes += bytes;
    this.#open.memory.buffers += buffers;
    this.#open.memory.bytes += bytes;
  }
}
