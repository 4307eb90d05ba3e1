// The page about a quantization.
import type { QuantizeReport } from '../report.ts';

export function renderReport(report: QuantizeReport): string {
  return report.sourceName;
}
