// What `duobit quantize` prints: its JSON, its summary, and a line about what each stage did.
import type { BlockOutcome, QuantizeReport, StageReport } from '@duobit/quantizer';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

/** Files beside the container; null for none. */
export interface SideFiles {
  readonly recipe: string | null;
  readonly report: string | null;
}

export function toJson(report: QuantizeReport, files: SideFiles): object {
  return {
    output: report.outPath,
    source: report.sourceName,
    file_bytes: report.fileBytes,
    header_sha256: report.headerSha256,
    tokenizer: report.hasTokenizer,
    parameters: report.parameters,
    linear_weights: report.linearWeights,
    linear_bytes: report.linearBytes,
    bits_per_weight_linear: report.bitsPerWeightLinear,
    bits_per_weight_file: report.bitsPerWeightFile,
    relative_error_linear: report.relativeErrorLinear,
    calibration_tokens: report.calibrationTokens,
    seconds: report.seconds,
    recipe_file: files.recipe,
    report_file: files.report,
    evaluation_tokens: report.evaluationTokens,
    stages: report.stages.map(({ stage, trainings, perplexity }) => ({
      stage,
      perplexity,
      trainings: trainings.map(({ losses, heldOutBefore, heldOutAfter, kept, divergences }) => ({
        steps: losses.length,
        held_out_before: heldOutBefore,
        held_out_after: heldOutAfter,
        kept,
        divergences,
      })),
    })),
    tensors: report.tensors.map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      encoding: tensor.encoding,
      bytes: tensor.bytes,
      weights: tensor.weights,
      bits_per_weight: tensor.bitsPerWeight,
      relative_error: tensor.relativeError,
      relative_error_uniform: tensor.relativeErrorUniform,
    })),
  };
}

/** At the end of a stage; null when there is nothing to tell. */
export function describeStage({ stage, trainings, perplexity }: StageReport): string | null {
  const parts: string[] = [];
  if (trainings.length > 0 && stage < 4) {
    const kept = trainings.filter((training) => training.kept).length;
    parts.push(`${kept} of ${trainings.length} blocks better on held-out text`);
  } else if (trainings.length > 0) parts.push(trainings[0]!.kept ? 'better on held-out text' : 'no better');
  if (perplexity) {
    const { original, a16, a4 } = perplexity;
    parts.push(
      `perplexity ${a16.toFixed(3)} with unquantized inputs, ${a4.toFixed(3)} with 4-bit inputs; unquantized model ${original.toFixed(3)}`,
    );
  }
  return parts.length > 0 ? `stage ${stage}: ${parts.join('; ')}` : null;
}

/** Null when training did not diverge. */
export function describeDivergence(stage: number, { block, training }: BlockOutcome): string | null {
  const { divergences, heldOutAfter, kept } = training;
  if (divergences.length === 0) return null;
  const place = stage === 4 ? 'stage 4' : `stage ${stage}, block ${block}`;
  const end =
    heldOutAfter === null ? 'given up, left as it was' : kept ? 'better then' : 'no better, left as it was';
  return `${place} diverged (${divergences.join('; ')}), begun anew with lower rates: ${end}`;
}

export function formatReport(report: QuantizeReport, files: SideFiles, tensors: boolean): string {
  const summary = formatPairs([
    ['written', report.outPath],
    ...(files.report === null ? [] : [['report', files.report] as const]),
    ...(files.recipe === null ? [] : [['recipe', files.recipe] as const]),
    ['file size', formatBytes(report.fileBytes)],
    ['parameters', formatCount(report.parameters)],
    ['bits a weight, linear layers only', report.bitsPerWeightLinear.toFixed(4)],
    ['bits a weight, whole file', report.bitsPerWeightFile.toFixed(4)],
    ['relative squared error, linear layers', report.relativeErrorLinear.toFixed(5)],
    [
      'calibration',
      report.calibrationTokens === 0 ? 'none (uniform)' : `${formatCount(report.calibrationTokens)} tokens`,
    ],
    ...(report.hasTokenizer ? [] : [['tokenizer', 'none'] as const]),
    ['header SHA-256', report.headerSha256],
    ['time', `${report.seconds.toFixed(1)} s`],
  ]);
  if (!tensors) return summary;
  const table = formatTable(
    ['tensor', 'shape', 'encoding', 'bytes', 'bits a weight', 'relative error'],
    report.tensors.map((tensor) => [
      tensor.name,
      tensor.shape.join(' x '),
      tensor.encoding,
      formatCount(tensor.bytes),
      tensor.bitsPerWeight.toFixed(3),
      tensor.relativeError.toExponential(2),
    ]),
    ['bytes', 'bits a weight', 'relative error'],
  );
  return `${summary}\n${table}`;
}
