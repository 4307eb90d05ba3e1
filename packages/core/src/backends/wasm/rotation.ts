// What the rotation of rows of one width multiplies by, written down once: assembly/rotate.ts.
import { rotationSign, rotationSpan } from '@duobit/format';
import type { Heap } from './heap.ts';

/** A factor for each value before the first transform, then one for each between the two. */
export interface RotationTable {
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

/**
 * Signs are those of `rotateInput` in @duobit/format. The first transform's scale and the sign that follows are one product,
 * which rounds the same; values that the first transform passes by get both their signs at once.
 */
function makeTable(heap: Heap, width: number): RotationTable {
  const span = rotationSpan(width);
  const scale = Math.fround(1 / Math.sqrt(span));
  const pointer = heap.allocate(width * 8, 'signs of a rotation');
  const factors = heap.floats(pointer, 2 * width);
  for (let k = 0; k < width; k++) {
    factors[k] = rotationSign(k);
    factors[width + k] = rotationSign(5 * k) * (k < span ? scale : rotationSign(k));
  }
  return { pointer, span, scale };
}
