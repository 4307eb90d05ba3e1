// The 4-bit quantizer of an input as what stage 3 moves: its clips, and the slope above the knee.
import { type ActivationQuantizer, DuobitError } from '@duobit/format';
import type { Engine, Tensor1D, TensorQuantizer, Variable } from '@duobit/tfjs';

/** Of docs/format.md, "Activations". */
const MOST_SLOPE = 8;

export class QuantizerParameters {
  /** [2]: low, high */
  readonly clips: Variable;
  /** [1]: how many times as far apart codes above the knee are; null without a knee. */
  readonly slope: Variable | null;
  readonly #knee: number | null;

  /** @param knee the code that the knee is at, or null for an even quantizer */
  constructor({ tf }: Engine, { clipLow, clipHigh, knee: before }: ActivationQuantizer, knee: number | null) {
    const variable = (values: number[]): Variable => tf.tidy(() => tf.variable(tf.tensor1d(values)));
    this.clips = variable([clipLow, clipHigh]);
    this.#knee = knee;
    this.slope = knee === null ? null : variable([before?.slopeRatio ?? 1]);
  }

  tensors(): TensorQuantizer {
    const knee =
      this.slope && this.#knee !== null
        ? { code: this.#knee, slopeRatio: this.slope as unknown as Tensor1D }
        : null;
    return { clips: this.clips as unknown as Tensor1D, knee };
  }

  /**
   * With the slope as the whole number that the container holds; 1 is no knee.
   * @throws DuobitError `QUANTIZE_OUT_OF_RANGE` for clips that are not above 0
   */
  async harden(): Promise<ActivationQuantizer> {
    const [clipLow, clipHigh] = (await this.clips.data()) as Float32Array;
    if (!(clipLow! > 0 && clipHigh! > 0))
      throw new DuobitError('QUANTIZE_OUT_OF_RANGE', `clips of ${clipLow} and ${clipHigh} cannot be stored`, {
        where: 'clips',
        remedy: 'Lower the rate of clips',
      });
    const soft = this.slope ? (await this.slope.data())[0]! : 1;
    const slopeRatio = Math.min(MOST_SLOPE, Math.max(1, Math.round(soft)));
    return {
      bits: 4,
      clipLow: clipLow!,
      clipHigh: clipHigh!,
      knee: slopeRatio > 1 && this.#knee !== null ? { code: this.#knee, slopeRatio } : null,
      planeScales: null,
    };
  }

  dispose(): void {
    this.clips.dispose();
    this.slope?.dispose();
  }
}

/** A quantizer as it is, as tensors of the caller's scope. */
export function quantizerTensors({ tf }: Engine, quantizer: ActivationQuantizer): TensorQuantizer {
  const { clipLow, clipHigh, knee } = quantizer;
  return {
    clips: tf.tensor1d([clipLow, clipHigh]),
    knee: knee && { code: knee.code, slopeRatio: tf.tensor1d([knee.slopeRatio]) },
  };
}
