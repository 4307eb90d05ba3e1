// What a calibrated method is: a whole linear layer with the Hessian of its inputs in, its quantized weights out. W(1+1) and
// every baseline have this shape, so that calibration, error streams, accounting and evaluation are written once.
import type { Encoding, TensorData } from '@duobit/format';
import type { Workspace } from '../linalg/index.ts';
import type { W11LayerOptions } from './w11-layer-method.ts';

/** A layer and the statistics of its inputs. */
export interface LayerProblem {
  /** Hugging Face name of the weight, for messages. */
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  /**
   * W [rows, columns], finite: what the layer should compute with on the inputs it will really see. The checkpoint's weights,
   * or these corrected for the errors of earlier layers.
   */
  readonly weights: Float32Array;
  /** H = sum x x^T over the calibration tokens [columns, columns], symmetric, undamped. */
  readonly hessian: Float32Array;
}

/** Planes of a container, for methods that have an encoding there. */
export interface PackedLayer {
  readonly encoding: Encoding;
  readonly planes: TensorData['planes'];
}

/** A quantized layer. */
export interface LayerResult {
  /** Shape [rows, columns]; the values that the stored form stands for. */
  readonly approximation: Float32Array;
  /** Shape [rows, C]; values of the outlier columns, where the layer has some; the approximation is of the rest. */
  readonly outliers?: Float32Array;
  /** Bytes of the stored form: codes, bitmaps, scales and indices, nothing left out. */
  readonly bytes: number;
  /** Null for baselines, whose stored form is counted but has no runtime. */
  readonly packed: PackedLayer | null;
}

/** A way to quantize a linear layer, given its inputs. */
export interface LayerMethod {
  /** As results name it: 'w11', 'gptq-4', … */
  readonly name: string;
  /** What makes the same method on another thread, when it quantizes rows independently of each other. */
  readonly rowOptions?: W11LayerOptions;
  /** @throws DuobitError `QUANTIZE_OUT_OF_RANGE`, `LINALG_NOT_FINITE`, `LINALG_NOT_DEFINITE` */
  quantize(problem: LayerProblem, space: Workspace): LayerResult;
}
