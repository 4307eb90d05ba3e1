// Values kept as they are (f32) or rounded to 16 bits (f16): norms, and embeddings on request.
import { DuobitError, f16ToF32, f32ToF16, packDense } from '@duobit/format';
import type { EncodedRows, RowBlock, TensorMethod } from './tensor-method.ts';

/** Stores values as they are, or rounded to f16. */
export function createDenseMethod(kind: 'f32' | 'f16'): TensorMethod {
  return {
    encoding: { kind },
    encode(block: RowBlock): EncodedRows {
      if (kind === 'f32') return { planes: packDense(block.values, kind), approximation: block.values };
      const approximation = new Float32Array(block.values.length);
      for (let i = 0; i < approximation.length; i++) {
        const rounded = f16ToF32(f32ToF16(block.values[i]!));
        if (!Number.isFinite(rounded)) {
          throw new DuobitError(
            'QUANTIZE_OUT_OF_RANGE',
            `row ${block.firstRow + Math.floor(i / block.columns)} holds ${block.values[i]}; the largest f16 is 65504`,
            { where: block.name, remedy: 'Store this tensor in 8 bits (--embedding q8) instead' },
          );
        }
        approximation[i] = rounded;
      }
      return { planes: packDense(approximation, kind), approximation };
    },
  };
}
