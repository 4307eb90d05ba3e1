// Brings bytes of weights into GPU buffers, a limited amount at a time, so that what is on its way stays bounded.
/// <reference types="@webgpu/types" />

const PIECE = 16 << 20;
/** Bytes on their way before the queue is waited for. */
const MOST_IN_FLIGHT = 256 << 20;

export class Uploader {
  readonly #device: GPUDevice;
  #inFlight = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Length and offset are multiples of 4. */
  async write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += PIECE) {
      const piece = bytes.subarray(at, Math.min(bytes.byteLength, at + PIECE));
      this.#device.queue.writeBuffer(buffer, offset + at, piece);
      this.#inFlight += piece.byteLength;
      if (this.#inFlight >= MOST_IN_FLIGHT) await this.flush();
    }
  }

  /** Waits until what was written has arrived. */
  async flush(): Promise<void> {
    this.#inFlight = 0;
    this.#device.queue.submit([]);
    await this.#device.queue.onSubmittedWorkDone();
  }
}
