// What every full-precision checkpoint offers beyond a ModelSource: rows and tensors as checked f32, and an identity.
import type { ModelSource } from '@duobit/format';

/**
 * A full-precision checkpoint. Tensor names are Hugging Face names whatever the file calls them; `tensorNames` is
 * the complete model in order of first use, and its shapes are checked on opening. `readTensor` gives one 'dense'
 * plane (f32, f16 or bf16 as stored; quantized GGUF types come out as f32) and does not look at the values;
 * `readRows` and `readF32` do.
 */
export interface Checkpoint extends ModelSource {
  readonly kind: 'huggingface' | 'gguf';
  /** The path that was opened. */
  readonly path: string;
  /**
   * Rows [start, end) of a tensor as f32, row-major: (end - start) x shape[1] values. A 1-D tensor is one row.
   * Memory is bounded by the rows asked for, not by the tensor.
   * @throws DuobitError `CHECKPOINT_NOT_FINITE` naming tensor and index of a NaN or infinity,
   * `CHECKPOINT_TENSOR_UNKNOWN`, `CHECKPOINT_ROW_RANGE`
   */
  readRows(name: string, start: number, end: number): Promise<Float32Array<ArrayBuffer>>;
  /** The whole tensor as f32, with the checks of `readRows`. */
  readF32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /**
   * SHA-256 (lower-case hex) over the bytes of the tensors of the model as they are stored in the file, one tensor
   * after the other in the order of their Hugging Face names by UTF-16 code units, without names, headers or
   * padding. Streamed.
   * @throws whatever `signal` was aborted with.
   */
  weightsSha256(signal?: AbortSignal): Promise<string>;
}
