// Numbers of the WebGPU standard, so that nothing here needs the globals of a browser.
export const USAGE = {
  mapRead: 0x0001,
  copySource: 0x0004,
  copyTarget: 0x0008,
  uniform: 0x0040,
  storage: 0x0080,
  queryResolve: 0x0200,
} as const;

export const MAP_READ = 0x0001;
export const STAGE_COMPUTE = 0x4;

/** Buffers are bound at multiples of this. */
export const BINDING_ALIGNMENT = 256;

export function padTo(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
