// `duobit inspect`: what a container says about itself, and where its bytes go.
import { accountSizes, type Encoding, type Manifest, openContainer, type TensorInfo } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import type { Command } from 'commander';
import { type Context, emit } from '../context.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { formatBytes, formatCount, formatPairs, formatTable, plural } from '../text.ts';

interface Options {
  readonly tensors: boolean;
  readonly json: boolean;
}

export function addInspectCommand(program: Command, context: Context): void {
  const command = program
    .command('inspect')
    .description('Print architecture, sizes, bits a weight, segments and provenance of a container.')
    .argument('<file>', '.duo file')
    .option('--tensors', 'list every tensor, not only a summary by encoding', false)
    .action((path: string, options: Options) => runInspect(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit inspect tiny.duo', 'duobit inspect tiny.duo --json');
}

async function runInspect(context: Context, path: string, options: Options): Promise<void> {
  const file = await createFileSource(path);
  try {
    const { manifest } = await openContainer(file);
    emit(context, options.json, toJson(path, manifest), () =>
      formatManifest(path, manifest, options.tensors),
    );
  } finally {
    await file.close();
  }
}

/** Packed bytes of one tensor, scales included. */
function packedBytes(tensor: TensorInfo): number {
  return tensor.planes.reduce((sum, plane) => sum + plane.length, 0);
}

function countWeights(tensor: TensorInfo): number {
  return tensor.shape.reduce((product, extent) => product * extent, 1);
}

function encodingName(encoding: Encoding): string {
  switch (encoding.kind) {
    case 'w11':
      return `w11 group ${encoding.groupSize}${encoding.offsets ? '' : ' symmetric'}`;
    case 'int8':
    case 'int4':
      return `${encoding.kind} group ${encoding.groupSize}`;
    case 'unknown':
      return `unknown (${encoding.id})`;
    default:
      return encoding.kind;
  }
}

function toJson(path: string, manifest: Manifest): object {
  const sizes = accountSizes(manifest);
  return {
    file: path,
    format_version: `${manifest.formatVersion.major}.${manifest.formatVersion.minor}`,
    file_bytes: sizes.fileBytes,
    header_bytes: manifest.headerLength,
    header_sha256: manifest.headerSha256,
    parameters: sizes.parameters,
    linear_weights: sizes.linear.weights,
    linear_bytes: sizes.linear.bytes,
    bits_per_weight_linear: sizes.linear.bitsPerWeight,
    bits_per_weight_file: sizes.bitsPerWeightFile,
    bytes: sizes.bytes,
    architecture: manifest.architecture,
    special_tokens: manifest.specialTokens,
    assets: manifest.assets.map(({ role, mediaType, length }) => ({
      role,
      media_type: mediaType,
      bytes: length,
    })),
    segments: manifest.segments.map(({ name, offset, length, chunkHashes }) => ({
      name,
      offset,
      bytes: length,
      chunks: chunkHashes.length,
    })),
    tensors: manifest.tensors.map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      encoding: tensor.encoding,
      bytes: packedBytes(tensor),
      bits_per_weight: (packedBytes(tensor) * 8) / countWeights(tensor),
      activation: tensor.activation,
    })),
    provenance: manifest.provenance,
    metadata: manifest.metadata,
  };
}

function formatManifest(path: string, manifest: Manifest, listTensors: boolean): string {
  const sizes = accountSizes(manifest);
  const { architecture: a, provenance } = manifest;
  const linear = sizes.linear.bitsPerWeight;
  const sections = [
    formatPairs([
      ['file', path],
      ['format', `duobit container ${manifest.formatVersion.major}.${manifest.formatVersion.minor}`],
      ['file size', formatBytes(sizes.fileBytes)],
      ['parameters', formatCount(sizes.parameters)],
      [
        'bits a weight, linear layers only',
        linear === null ? 'no quantized linear layers' : linear.toFixed(4),
      ],
      ['bits a weight, whole file', sizes.bitsPerWeightFile.toFixed(4)],
      ['header SHA-256', manifest.headerSha256],
    ]),
    formatPairs([
      ['architecture', a.family],
      ['blocks', formatCount(a.blockCount)],
      ['hidden, intermediate', `${a.hiddenSize}, ${a.intermediateSize}`],
      ['heads, KV heads, head size', `${a.headCount}, ${a.kvHeadCount}, ${a.headSize}`],
      ['vocabulary, context', `${formatCount(a.vocabularySize)}, ${formatCount(a.contextLength)}`],
      ['RoPE theta, scaling', `${a.ropeTheta}, ${a.ropeScaling?.kind ?? 'none'}`],
      ['head', a.tiedHead ? 'tied to the embedding' : 'separate'],
    ]),
    formatTable(
      ['bytes by use', 'bytes', 'share'],
      Object.entries(sizes.bytes).map(([use, bytes]) => [
        use,
        formatCount(bytes),
        `${((bytes * 100) / sizes.fileBytes).toFixed(2)} %`,
      ]),
      ['bytes', 'share'],
    ),
    formatTable(
      ['segment', 'offset', 'bytes', 'chunks'],
      manifest.segments.map(({ name, offset, length, chunkHashes }) => [
        name,
        formatCount(offset),
        formatCount(length),
        formatCount(chunkHashes.length),
      ]),
      ['offset', 'bytes', 'chunks'],
    ),
    listTensors ? formatTensors(manifest) : formatEncodings(manifest),
    formatPairs([
      ['producer', provenance.producer],
      ['made from', `${provenance.sourceName}, SHA-256 ${provenance.sourceSha256}`],
      ['recipe', provenance.recipe],
      ['calibration SHA-256', provenance.calibrationSha256 ?? 'none'],
      ...Object.entries(manifest.metadata).map(([key, value]) => [key, value] as const),
    ]),
  ];
  return sections.join('\n');
}

function formatTensors(manifest: Manifest): string {
  return formatTable(
    ['tensor', 'shape', 'encoding', 'bytes', 'bits a weight', 'inputs'],
    manifest.tensors.map((tensor) => [
      tensor.name,
      tensor.shape.join(' x '),
      encodingName(tensor.encoding),
      formatCount(packedBytes(tensor)),
      ((packedBytes(tensor) * 8) / countWeights(tensor)).toFixed(3),
      tensor.activation === null ? 'float' : `${tensor.activation.bits}-bit`,
    ]),
    ['bytes', 'bits a weight'],
  );
}

function formatEncodings(manifest: Manifest): string {
  const groups = new Map<string, { tensors: number; weights: number; bytes: number }>();
  for (const tensor of manifest.tensors) {
    const name = encodingName(tensor.encoding);
    const group = groups.get(name) ?? { tensors: 0, weights: 0, bytes: 0 };
    group.tensors += 1;
    group.weights += countWeights(tensor);
    group.bytes += packedBytes(tensor);
    groups.set(name, group);
  }
  const table = formatTable(
    ['encoding', 'tensors', 'weights', 'bytes', 'bits a weight'],
    [...groups].map(([name, group]) => [
      name,
      formatCount(group.tensors),
      formatCount(group.weights),
      formatCount(group.bytes),
      ((group.bytes * 8) / group.weights).toFixed(3),
    ]),
    ['tensors', 'weights', 'bytes', 'bits a weight'],
  );
  return `${table}${plural(manifest.tensors.length, 'tensor')}; --tensors lists them\n`;
}
