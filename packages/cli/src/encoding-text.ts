// Tensors in words: encodings, shapes and sizes, as every table of this package prints them.
import type { Encoding, TensorInfo } from '@duobit/format';

export function encodingName(encoding: Encoding): string {
  switch (encoding.kind) {
    case 'w11':
      return `w11 group ${encoding.groupSize}${encoding.offsets ? '' : ' symmetric'}`;
    case 'w11-outlier': {
      const symmetric = encoding.offsets ? '' : ' symmetric';
      return `w11-outlier group ${encoding.groupSize}${symmetric}, ${encoding.outlierColumns} outlier columns`;
    }
    case 'partial-binary':
      return `partial-binary group ${encoding.groupSize}, ${encoding.salientCount} salient`;
    case 'int8':
    case 'int4':
      return `${encoding.kind} group ${encoding.groupSize}`;
    case 'unknown':
      return `unknown (${encoding.id})`;
    default:
      return encoding.kind;
  }
}

export function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join(' x ');
}

export function countWeights(tensor: Pick<TensorInfo, 'shape'>): number {
  return tensor.shape.reduce((product, extent) => product * extent, 1);
}

/** Packed bytes of one tensor, scales included. */
export function packedBytes(tensor: Pick<TensorInfo, 'planes'>): number {
  return tensor.planes.reduce((sum, plane) => sum + plane.length, 0);
}

export function bitsPerWeight(tensor: TensorInfo): number {
  return (packedBytes(tensor) * 8) / countWeights(tensor);
}
