// The signs that assembly/rotate.ts takes, those of `rotateInput` in @duobit/format, written down once for each width.
import { rotationSign, rotationSpan } from '@duobit/format';
import type { Heap } from './heap.ts';

export interface RotationTable {
  /** A sign for each value before the first transform, then one for each before the second, as f32. */
  readonly pointer: number;
  /** Values that a transform takes. */
  readonly span: number;
  /** Of a transform. */
  readonly scale: number;
}

/** Gives the table of a width, which is made when it is first asked for. */
export function createRotationTables(heap: Heap): (width: number) => RotationTable {
  const made = new Map<number, RotationTable>();
  return (width) => {
    const table = made.get(width) ?? makeTable(heap, width);
    made.set(width, table);
    return table;
  };
}

function makeTable(heap: Heap, width: number): RotationTable {
  const span = rotationSpan(width);
  const pointer = heap.allocate(width * 8, 'signs of a rotation');
  const signs = heap.floats(pointer, 2 * width);
  for (let k = 0; k < width; k++) {
    signs[k] = rotationSign(k);
    signs[width + k] = rotationSign(5 * k);
  }
  return { pointer, span, scale: Math.fround(1 / Math.sqrt(span)) };
}
