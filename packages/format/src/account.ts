// Sizes as they are printed: bytes on disk and bits a weight, everything included, linear-only beside it.
import { segmentOfTensor } from './architecture.ts';
import { elementCount } from './encodings.ts';
import type { Manifest, TensorInfo } from './manifest.ts';

/** What the bytes of a container are spent on. */
export interface SizeAccount {
  /** The container with its data files. */
  readonly fileBytes: number;
  /** Elements of all tensors; a tied head counts once. */
  readonly parameters: number;
  /** W(1+1) tensors only, with all their planes: sign, bitmap, alpha, mu, outliers. */
  readonly linear: {
    readonly weights: number;
    readonly bytes: number;
    readonly bitsPerWeight: number | null;
  };
  /** Everything, assets, header and padding included, over all parameters. */
  readonly bitsPerWeightFile: number;
  /** Adds up to `fileBytes`. */
  readonly bytes: {
    readonly header: number;
    readonly assets: number;
    readonly embedding: number;
    /** Matrices of the blocks, in whatever encoding. */
    readonly linear: number;
    readonly head: number;
    /** Vectors: norms and biases. */
    readonly norms: number;
    readonly other: number;
    readonly padding: number;
  };
}

function categoryOf(tensor: TensorInfo): 'embedding' | 'linear' | 'head' | 'norms' | 'other' {
  if (tensor.shape.length < 2) return 'norms';
  const segment = segmentOfTensor(tensor.name);
  if (segment.startsWith('block.')) return 'linear';
  return segment === 'embedding' || segment === 'head' ? segment : 'other';
}

/** Where a container's bytes go. */
export function accountSizes(manifest: Manifest): SizeAccount {
  const bytes = {
    header: manifest.headerLength,
    assets: 0,
    embedding: 0,
    linear: 0,
    head: 0,
    norms: 0,
    other: 0,
  };
  let parameters = 0;
  let linearWeights = 0;
  let linearBytes = 0;
  for (const asset of manifest.assets) bytes.assets += asset.length;
  for (const tensor of manifest.tensors) {
    const size = tensor.planes.reduce((sum, plane) => sum + plane.length, 0);
    const elements = elementCount(tensor.shape);
    parameters += elements;
    bytes[categoryOf(tensor)] += size;
    if (tensor.encoding.kind === 'w11' || tensor.encoding.kind === 'w11-outlier') {
      linearWeights += elements;
      linearBytes += size;
    }
  }
  const fileBytes = manifest.dataFiles.reduce((sum, file) => sum + file.length, manifest.fileLength);
  const padding = fileBytes - Object.values(bytes).reduce((sum, size) => sum + size, 0);
  return {
    fileBytes,
    parameters,
    linear: {
      weights: linearWeights,
      bytes: linearBytes,
      bitsPerWeight: linearWeights === 0 ? null : (8 * linearBytes) / linearWeights,
    },
    bitsPerWeightFile: (8 * fileBytes) / parameters,
    bytes: { ...bytes, padding },
  };
}
