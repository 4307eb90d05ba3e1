// Counts the GPU buffers of a thread that are alive, by what is called on WebGPU and not by what the runtime says; and loses devices.
/// <reference types="@webgpu/types" />
const alive = new Map<GPUDevice, Set<GPUBuffer>>();

/** Call before anything opens a device. */
export function watchGpu(): void {
  if (typeof GPUAdapter === 'undefined') return;
  const { requestDevice } = GPUAdapter.prototype;
  const { createBuffer, destroy } = GPUDevice.prototype;
  const destroyBuffer = GPUBuffer.prototype.destroy;
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, ...parts) {
    const device = await requestDevice.apply(this, parts);
    alive.set(device, new Set());
    void device.lost.then(() => alive.delete(device));
    return device;
  };
  GPUDevice.prototype.createBuffer = function (this: GPUDevice, ...parts) {
    const buffer = createBuffer.apply(this, parts);
    alive.get(this)?.add(buffer);
    return buffer;
  };
  GPUDevice.prototype.destroy = function (this: GPUDevice) {
    alive.delete(this);
    return destroy.apply(this);
  };
  GPUBuffer.prototype.destroy = function (this: GPUBuffer) {
    for (const buffers of alive.values()) buffers.delete(this);
    return destroyBuffer.apply(this);
  };
}

export function countBuffers(): number {
  return [...alive.values()].reduce((sum, buffers) => sum + buffers.size, 0);
}

/** As if the driver had gone: nobody in the runtime has asked for it. */
export function loseDevices(): void {
  for (const device of alive.keys()) device.destroy();
}
