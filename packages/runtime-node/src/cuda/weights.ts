// Brings tensors onto the device: planes go up as they are, kernels pack them (kernels/pack.cu).
import type { TensorData } from '@duobit/format';
import { requirePlanes } from '../planes.ts';
import { type Arena, roundUp } from './arena.ts';
import type { Device } from './device.ts';

/** In the order of kernels/layout.cuh. */
export const DENSE_KINDS = ['f32', 'f16', 'bf16', 'int8', 'int4'] as const;
export type DenseKind = (typeof DENSE_KINDS)[number];

/** Which columns are neighbours, by group size: kernels/layout.cuh. */
export type Layout = 0 | 1 | 2;
export const layoutOf = (groupSize: number): Layout => (groupSize >= 128 ? 0 : groupSize === 64 ? 1 : 2);

export const UNIT = 128;
export const TILE_ROWS = 16;
const THREADS = 256;

/** Rows of f32 slots begin at multiples of this many floats. */
export const ROW_ALIGN = 32;

export interface VectorWeight {
  readonly kind: 'vector';
  readonly address: number;
}

export interface DenseWeight {
  readonly kind: 'dense';
  readonly encoding: DenseKind;
  readonly rows: number;
  readonly columns: number;
  readonly data: number;
  readonly scales: number;
  readonly rowBytes: number;
  readonly groupSize: number;
  readonly groups: number;
}

export interface W11Weight {
  readonly kind: 'w11';
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly offsets: boolean;
  readonly bits: number;
  readonly levels: number;
  readonly rowSums: number;
  readonly tiles: number;
}

export type DeviceWeight = VectorWeight | DenseWeight | W11Weight;

const isDense = (kind: string): kind is DenseKind => DENSE_KINDS.some((known) => known === kind);
const blocks = (count: number): [number, number, number] => [Math.ceil(count / THREADS), 1, 1];

/**
 * Packs a tensor; null when no kernel can hold its encoding or shape, which `checkPlan` then refuses by name.
 * @throws DuobitError `PLANE_MISSING`, `PLANE_LENGTH`, `BACKEND_OUT_OF_MEMORY`
 */
export function addWeight(device: Device, arena: Arena, data: TensorData): DeviceWeight | null {
  const { encoding, shape } = data.info;
  if (shape.length < 1 || shape.length > 2) return null;
  if (encoding.kind === 'w11') return addW11(device, arena, data, encoding);
  if (!isDense(encoding.kind)) return null;
  return shape.length === 1 ? addVector(device, arena, data) : addDense(device, arena, data, encoding.kind);
}

/** Uploads planes side by side; gives their addresses. */
function uploadPlanes(device: Device, arena: Arena, name: string, planes: readonly Uint8Array[]): number[] {
  const lengths = planes.map((plane) => roundUp(plane.length, 256));
  const base = arena.scratch(
    lengths.reduce((a, b) => a + b, 0),
    `planes of ${name}`,
  );
  let at = base;
  return planes.map((plane, i) => {
    const address = at;
    device.uploadBytes(address, plane);
    at += lengths[i]!;
    return address;
  });
}

function addVector(device: Device, arena: Arena, data: TensorData): VectorWeight {
  const { name, shape, encoding } = data.info;
  const width = shape[0]!;
  const [from] = uploadPlanes(device, arena, name, [requirePlanes(data)('dense')]);
  const stored = roundUp(width, ROW_ALIGN);
  const address = arena.allocate(4 * stored, name);
  const kind = DENSE_KINDS.indexOf(encoding.kind as DenseKind);
  device.launch('pack_vector', blocks(stored), THREADS, [from!, address], [width, stored, kind]);
  return { kind: 'vector', address };
}

/** Bytes of a row of the container's plane. */
function planeRowBytes(kind: DenseKind, columns: number): number {
  if (kind === 'int8') return 4 * Math.ceil(columns / 4);
  if (kind === 'int4') return 4 * Math.ceil(columns / 8);
  return columns * (kind === 'f32' ? 4 : 2);
}

function addDense(device: Device, arena: Arena, data: TensorData, encoding: DenseKind): DenseWeight {
  const { name, shape } = data.info;
  const [rows, columns] = [shape[0]!, shape[1]!];
  const plane = requirePlanes(data);
  const grouped = data.info.encoding.kind === 'int8' || data.info.encoding.kind === 'int4';
  const fromBytes = planeRowBytes(encoding, columns);
  const rowBytes = roundUp(fromBytes, 16);
  const address = arena.allocate(rows * rowBytes, name);
  const codes = plane(grouped ? 'codes' : 'dense');
  if (fromBytes === rowBytes) device.uploadBytes(address, codes);
  else {
    const [from] = uploadPlanes(device, arena, name, [codes]);
    device.launch(
      'pack_rows',
      blocks(rows * rowBytes),
      THREADS,
      [from!, address],
      [rows, fromBytes, rowBytes],
    );
  }
  let [scales, groupSize, groups] = [0, columns, 1];
  if ('groupSize' in data.info.encoding && grouped) {
    groupSize = data.info.encoding.groupSize;
    groups = Math.ceil(columns / groupSize);
    const plain = plane('scale');
    scales = arena.allocate(plain.length, name);
    device.uploadBytes(scales, plain);
  }
  return { kind: 'dense', encoding, rows, columns, data: address, scales, rowBytes, groupSize, groups };
}

function addW11(
  device: Device,
  arena: Arena,
  data: TensorData,
  { groupSize, offsets }: { readonly groupSize: number; readonly offsets: boolean },
): W11Weight {
  const { name, shape } = data.info;
  const [rows, columns] = [shape[0]!, shape[1]!];
  const plane = requirePlanes(data);
  const tiles = Math.ceil(rows / TILE_ROWS);
  const spanUnits = groupSize === 256 ? 2 : 1;
  const units = roundUp(Math.ceil(columns / UNIT), spanUnits);
  const groups = groupSize < UNIT ? units * (UNIT / groupSize) : units / spanUnits;
  const levelBytes = offsets ? 8 : 4;
  const bits = arena.allocate(tiles * units * 512, name);
  const levels = arena.allocate(tiles * groups * TILE_ROWS * levelBytes, name);
  const rowSums = arena.allocate(4 * rows, name);
  const planes = [plane('sign'), plane('bitmap'), plane('alpha'), ...(offsets ? [plane('mu')] : [])];
  const [sign, bitmap, alpha, mu = 0] = uploadPlanes(device, arena, name, planes);
  const layout = layoutOf(groupSize);
  device.launch(
    'pack_bits',
    blocks(tiles * units * 32),
    THREADS,
    [sign!, bitmap!, bits],
    [rows, columns, units, layout],
  );
  device.launch(
    'pack_levels',
    [(tiles * TILE_ROWS) / 8, 1, 1],
    THREADS,
    [alpha!, mu, sign!, bitmap!, levels, rowSums],
    [rows, columns, groupSize, groups],
  );
  return { kind: 'w11', rows, columns, groupSize, offsets, bits, levels, rowSums, tiles };
}
