// The tensor types of GGUF: those that are read, with the bytes of a block, and the names of the others for messages.
// Numbers and layouts: ggml-common.h and the enum ggml_type of ggml.

export interface BlockType {
  readonly name: string;
  /** Weights in a block, and its bytes. */
  readonly weights: number;
  readonly bytes: number;
}

export type ReadableType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q4_K' | 'Q6_K';

export const READABLE_TYPES: ReadonlyMap<number, BlockType & { readonly name: ReadableType }> = new Map([
  [0, { name: 'F32', weights: 1, bytes: 4 }],
  [1, { name: 'F16', weights: 1, bytes: 2 }],
  [2, { name: 'Q4_0', weights: 32, bytes: 18 }],
  [3, { name: 'Q4_1', weights: 32, bytes: 20 }],
  [8, { name: 'Q8_0', weights: 32, bytes: 34 }],
  [12, { name: 'Q4_K', weights: 256, bytes: 144 }],
  [14, { name: 'Q6_K', weights: 256, bytes: 210 }],
  [30, { name: 'BF16', weights: 1, bytes: 2 }],
]);

const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [9, 'Q8_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [13, 'Q5_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
]);

export function describeType(type: number): string {
  return READABLE_TYPES.get(type)?.name ?? OTHER_TYPES.get(type) ?? `number ${type}`;
}
