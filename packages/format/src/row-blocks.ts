// A tensor in pieces of whole rows, so that statistics and comparisons of any model fit in memory.
import type { Container } from './container.ts';
import { decodeTensor } from './decode.ts';
import { elementCount } from './encodings.ts';
import { DuobitError } from './errors.ts';
import type { PlaneRole, TensorData, TensorInfo } from './manifest.ts';
import { REMEDY_UPDATE } from './problems.ts';

/** Values in one block, unless a single row has more. */
const BLOCK_VALUES = 2 ** 20;

/** Planes with one entry a column: every block has the whole of them. */
const COLUMN_PLANES: readonly string[] = ['outlier-index'];

/**
 * Consecutive rows as tensors of their own: the shape's first dimension is smaller, all else is the same. A
 * partially binarized tensor comes whole, since its codes have no fixed place.
 * @throws DuobitError `TENSOR_UNKNOWN`, `ENCODING_UNKNOWN`, `CHUNK_HASH`, or what the source throws
 */
export async function* readRowBlocks(
  container: Container,
  name: string,
  blockValues = BLOCK_VALUES,
): AsyncGenerator<TensorData, void> {
  const info = container.tensorInfo(name);
  const { encoding } = info;
  if (encoding.kind === 'unknown') {
    throw new DuobitError('ENCODING_UNKNOWN', `encoding ${encoding.id} is not known to this release`, {
      source: container.name,
      where: `tensor ${name}`,
      remedy: REMEDY_UPDATE,
    });
  }
  const rows = info.shape[0] ?? 1;
  const rowValues = elementCount(info.shape) / rows;
  const most = Math.max(1, Math.floor(blockValues / rowValues));
  const step = encoding.kind === 'partial-binary' ? rows : Math.min(rows, most);
  for (let row = 0; row < rows; row += step) {
    yield await readRows(container, info, row, Math.min(step, rows - row));
  }
}

async function readRows(
  container: Container,
  info: TensorInfo,
  row: number,
  count: number,
): Promise<TensorData> {
  const [rows = 1, ...rest] = info.shape;
  const planes: Partial<Record<PlaneRole, Uint8Array<ArrayBuffer>>> = {};
  for (const { role, segment, offset, length } of info.planes) {
    const whole = COLUMN_PLANES.includes(role) || count === rows;
    const rowBytes = length / rows;
    planes[role as PlaneRole] = whole
      ? await container.readSegment(segment, offset, length)
      : await container.readSegment(segment, offset + row * rowBytes, count * rowBytes);
  }
  const { planes: _, ...kept } = info;
  // A tensor without dimensions has one row, and stays as it is.
  return { info: { ...kept, shape: info.shape.length === 0 ? [] : [count, ...rest] }, planes };
}

/** The decoded values of a tensor in order, in pieces. @throws DuobitError as `readRowBlocks` */
export async function* decodeRowBlocks(
  container: Container,
  name: string,
  blockValues = BLOCK_VALUES,
): AsyncGenerator<Float32Array<ArrayBuffer>, void> {
  for await (const block of readRowBlocks(container, name, blockValues)) yield decodeTensor(block);
}
