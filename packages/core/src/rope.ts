// Angular frequencies of rotary position embedding (Su et al. 2021, RoFormer), with the scalings the Llama family uses.
import { type Architecture, DuobitError } from '@duobit/format';

/**
 * Angular frequency of each rotated pair in radians a position, in double precision: `headSize / 2` values,
 * `theta^(-2i / headSize)`, then scaled as the architecture says ("llama3": Llama 3.1 model card; "linear": Chen et
 * al. 2023, position interpolation).
 * @throws DuobitError `PLAN_ARCHITECTURE_INVALID` when a value cannot define frequencies.
 */
export function ropeFrequencies(
  architecture: Pick<Architecture, 'headSize' | 'ropeTheta' | 'ropeScaling'>,
): Float64Array {
  const { headSize, ropeTheta, ropeScaling } = architecture;
  if (!Number.isInteger(headSize) || headSize < 2 || headSize % 2 !== 0)
    throw invalid(`head size is ${headSize}; rotary embedding needs a positive even number`, 'headSize');
  if (!(ropeTheta > 0 && Number.isFinite(ropeTheta)))
    throw invalid(`rope theta is ${ropeTheta}; it must be a positive number`, 'ropeTheta');
  const frequencies = new Float64Array(headSize / 2);
  for (let i = 0; i < frequencies.length; i++) frequencies[i] = ropeTheta ** ((-2 * i) / headSize);
  if (ropeScaling === null) return frequencies;
  if (!(ropeScaling.factor > 0 && Number.isFinite(ropeScaling.factor)))
    throw invalid(
      `rope scaling factor is ${ropeScaling.factor}; it must be a positive number`,
      'ropeScaling',
    );
  if (ropeScaling.kind === 'linear') return frequencies.map((frequency) => frequency / ropeScaling.factor);

  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength } = ropeScaling;
  if (!(lowFrequencyFactor > 0 && highFrequencyFactor > lowFrequencyFactor && originalContextLength > 0))
    throw invalid(
      `llama3 rope scaling has low ${lowFrequencyFactor}, high ${highFrequencyFactor}, original context ` +
        `${originalContextLength}; it needs 0 < low < high and a positive context`,
      'ropeScaling',
    );
  return frequencies.map((frequency) => {
    // How many turns this pair makes over the context the model was first trained on.
    const turns = (originalContextLength * frequency) / (2 * Math.PI);
    if (turns < lowFrequencyFactor) return frequency / factor;
    if (turns > highFrequencyFactor) return frequency;
    const blend = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
    return (1 - blend) * (frequency / factor) + blend * frequency;
  });
}

function invalid(message: string, where: string): DuobitError {
  return new DuobitError('PLAN_ARCHITECTURE_INVALID', message, {
    where,
    remedy: "Check the model's configuration",
  });
}
