// `duobit inspect --tensor`: one tensor's encoding, places, statistics and a histogram in text.
import {
  type Container,
  computeTensorStatistics,
  DuobitError,
  type HistogramBar,
  type TensorInfo,
  type TensorStatistics,
} from '@duobit/format';
import { type Context, emit } from '../context.ts';
import { bitsPerWeight, countWeights, encodingName, packedBytes, shapeText } from '../encoding-text.ts';
import { findNearest } from '../nearest.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

const BAR_WIDTH = 40;

/** Reads the tensor's bytes, checked against their hashes. @throws DuobitError `TENSOR_UNKNOWN`, `CHUNK_HASH` */
export async function inspectTensor(
  context: Context,
  path: string,
  container: Container,
  name: string,
  json: boolean,
): Promise<void> {
  const { manifest } = container;
  const tensor = manifest.tensors.find((candidate) => candidate.name === name);
  if (!tensor) {
    const nearest = findNearest(
      name,
      manifest.tensors.map((candidate) => candidate.name),
    );
    throw new DuobitError('TENSOR_UNKNOWN', 'the container has no tensor of this name', {
      source: path,
      where: `tensor ${name}`,
      remedy: `Nearest names: ${nearest.join(', ')}`,
    });
  }
  const statistics =
    tensor.encoding.kind === 'unknown' ? null : await computeTensorStatistics(container, name);
  emit(context, json, toJson(path, container, tensor, statistics), () =>
    formatTensor(container, tensor, statistics),
  );
}

/** Each plane's place in its file; the file's name is null for the container itself. */
function listPlaces({ manifest }: Container, tensor: TensorInfo) {
  return tensor.planes.map(({ role, segment, offset, length }) => {
    const { name, file, offset: start } = manifest.segments[segment]!;
    const dataFile = file === 0 ? null : manifest.dataFiles[file - 1]!.name;
    return { role, segment: name, offset, dataFile, fileOffset: start + offset, length };
  });
}

function toJson(
  path: string,
  container: Container,
  tensor: TensorInfo,
  statistics: TensorStatistics | null,
): object {
  return {
    file: path,
    name: tensor.name,
    shape: tensor.shape,
    encoding: tensor.encoding,
    activation: tensor.activation,
    input_rotation: tensor.inputRotation ?? null,
    bytes: packedBytes(tensor),
    bits_per_weight: bitsPerWeight(tensor),
    planes: listPlaces(container, tensor).map(({ role, segment, offset, dataFile, fileOffset, length }) => ({
      role,
      segment,
      offset,
      data_file: dataFile,
      file_offset: fileOffset,
      bytes: length,
    })),
    statistics: statistics && {
      count: statistics.count,
      minimum: statistics.minimum,
      maximum: statistics.maximum,
      mean: statistics.mean,
      standard_deviation: statistics.standardDeviation,
      zeros: statistics.zeros,
      histogram: statistics.histogram.map(({ label, count }) => ({
        label,
        count,
        share: count / statistics.count,
      })),
      scales: statistics.scales,
    },
  };
}

function formatTensor(container: Container, tensor: TensorInfo, statistics: TensorStatistics | null): string {
  const { activation } = tensor;
  const knee = activation?.knee;
  const sections = [
    formatPairs([
      ['tensor', tensor.name],
      ['shape', `${shapeText(tensor.shape)} (${formatCount(countWeights(tensor))} weights)`],
      ['encoding', encodingName(tensor.encoding)],
      ['size', `${formatBytes(packedBytes(tensor))}, ${bitsPerWeight(tensor).toFixed(4)} bits a weight`],
      [
        'inputs',
        activation === null
          ? 'float'
          : `${activation.bits}-bit, clip ${activation.clipLow} and ${activation.clipHigh}`,
      ],
      ...(tensor.inputRotation
        ? [['rotation', `${tensor.inputRotation}; values are those stored for a rotated input`] as const]
        : []),
      ...(knee ? [['knee', `after code ${knee.code}, slope ${knee.slopeRatio}`] as const] : []),
      ...(activation?.planeScales ? [['plane scales', activation.planeScales.join(', ')] as const] : []),
    ]),
    formatTable(
      ['plane', 'segment', 'offset', 'file', 'offset in file', 'bytes'],
      listPlaces(container, tensor).map(({ role, segment, offset, dataFile, fileOffset, length }) => [
        role,
        segment,
        formatCount(offset),
        dataFile ?? 'this',
        formatCount(fileOffset),
        formatCount(length),
      ]),
      ['offset', 'offset in file', 'bytes'],
    ),
  ];
  if (!statistics) return `${sections.join('\n')}\nthis release cannot decode the encoding\n`;
  const { count, minimum, maximum, mean, standardDeviation, zeros, scales, histogram } = statistics;
  sections.push(
    formatPairs([
      ['least, greatest', `${show(minimum)}, ${show(maximum)}`],
      ['mean, standard deviation', `${show(mean)}, ${show(standardDeviation)}`],
      ['exactly 0', `${formatCount(zeros)} (${((100 * zeros) / count).toFixed(2)} %)`],
      ...scales.map(
        (range) => [`range of ${range.name}`, `${show(range.minimum)} to ${show(range.maximum)}`] as const,
      ),
    ]),
    formatHistogram(histogram, count),
  );
  return sections.join('\n');
}

function show(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** One bar a line; the longest has the full width. */
function formatHistogram(bars: readonly HistogramBar[], total: number): string {
  const most = Math.max(...bars.map(({ count }) => count));
  return formatTable(
    ['level or code', 'count', 'share', ''],
    bars.map(({ label, count }) => [
      label,
      formatCount(count),
      `${((100 * count) / total).toFixed(2)} %`,
      '#'.repeat(Math.round((BAR_WIDTH * count) / most)),
    ]),
    ['count', 'share'],
  );
}
