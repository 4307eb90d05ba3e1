// `duobit inspect`: what a container says about itself, where its bytes go, and what one tensor's values look like.
import { accountSizes, type Container, type Manifest, type TensorInfo } from '@duobit/format';
import type { Command } from 'commander';
import { withContainer } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { bitsPerWeight, countWeights, encodingName, packedBytes, shapeText } from '../encoding-text.ts';
import { listTree } from '../module-tree.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { formatBytes, formatCount, formatPairs, formatTable, plural } from '../text.ts';
import { inspectTensor } from './inspect-tensor.ts';

interface Options {
  readonly tensors: boolean;
  readonly tensor?: string;
  readonly json: boolean;
}

export function addInspectCommand(program: Command, context: Context): void {
  const command = program
    .command('inspect')
    .description(
      'Print architecture, modules, sizes, bits a weight and provenance of a container, or one tensor.',
    )
    .argument('<file>', '.duo file')
    .option('--tensors', 'list every tensor, not only the tree of modules', false)
    .option(
      '--tensor <name>',
      'one tensor: planes, statistics of its values, histogram of its levels or codes',
    )
    .action((path: string, options: Options) => runInspect(context, path, options));
  addJsonOption(command);
  addExamples(
    command,
    'duobit inspect tiny.duo',
    'duobit inspect tiny.duo --json',
    'duobit inspect tiny.duo --tensor model.layers.0.mlp.up_proj.weight',
  );
}

async function runInspect(context: Context, path: string, options: Options): Promise<void> {
  await withContainer(context, path, { store: false }, async (container) => {
    if (options.tensor !== undefined) {
      return inspectTensor(context, path, container, options.tensor, options.json);
    }
    emit(context, options.json, toJson(path, container.manifest), () =>
      formatManifest(path, container, options.tensors),
    );
  });
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
    kv_cache: manifest.kvCache,
    assets: manifest.assets.map(({ role, mediaType, length }) => ({
      role,
      media_type: mediaType,
      bytes: length,
    })),
    data_files: manifest.dataFiles.map(({ name, length, sha256 }) => ({ name, bytes: length, sha256 })),
    segments: manifest.segments.map(({ name, file, offset, length, chunkHashes }) => ({
      name,
      file,
      offset,
      bytes: length,
      chunks: chunkHashes.length,
    })),
    tensors: manifest.tensors.map((tensor) => ({
      name: tensor.name,
      shape: tensor.shape,
      encoding: tensor.encoding,
      bytes: packedBytes(tensor),
      bits_per_weight: bitsPerWeight(tensor),
      activation: tensor.activation,
      input_rotation: tensor.inputRotation ?? null,
    })),
    provenance: manifest.provenance,
    metadata: manifest.metadata,
  };
}

function formatManifest(path: string, container: Container, listTensors: boolean): string {
  const { manifest } = container;
  const sizes = accountSizes(manifest);
  const { architecture: a, provenance, kvCache, dataFiles } = manifest;
  const linear = sizes.linear.bitsPerWeight;
  const sections = [
    formatPairs([
      ['file', path],
      ['format', `duobit container ${manifest.formatVersion.major}.${manifest.formatVersion.minor}`],
      ['file size', formatBytes(sizes.fileBytes)],
      ...dataFiles.map(({ name, length }) => ['data file', `${name}, ${formatBytes(length)}`] as const),
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
      [
        'KV cache, advised',
        kvCache ? `${kvCache.keyBits}-bit keys, ${kvCache.valueBits}-bit values` : 'nothing',
      ],
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
    listTensors ? `${formatSegments(manifest)}\n${formatTensors(manifest)}` : formatTree(container),
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

function formatSegments(manifest: Manifest): string {
  return formatTable(
    ['segment', 'file', 'offset', 'bytes', 'chunks'],
    manifest.segments.map(({ name, file, offset, length, chunkHashes }) => [
      name,
      file === 0 ? 'this' : (manifest.dataFiles[file - 1]?.name ?? ''),
      formatCount(offset),
      formatCount(length),
      formatCount(chunkHashes.length),
    ]),
    ['offset', 'bytes', 'chunks'],
  );
}

function formatTensors(manifest: Manifest): string {
  return formatTable(
    ['tensor', 'shape', 'encoding', 'bytes', 'bits a weight', 'inputs'],
    manifest.tensors.map((tensor) => [
      tensor.name,
      shapeText(tensor.shape),
      encodingName(tensor.encoding),
      formatCount(packedBytes(tensor)),
      bitsPerWeight(tensor).toFixed(3),
      describeInputs(tensor),
    ]),
    ['bytes', 'bits a weight'],
  );
}

function describeInputs({ activation, inputRotation }: TensorInfo): string {
  const precision = activation === null ? 'float' : `${activation.bits}-bit`;
  return inputRotation === undefined ? precision : `${precision}, rotated`;
}

/** Modules in order of first use. */
function formatTree(container: Container): string {
  const tensors = container.tensorNames.map((name) => container.tensorInfo(name));
  const lines = listTree(
    tensors.map((tensor) => ({
      name: tensor.name,
      weights: countWeights(tensor),
      bytes: packedBytes(tensor),
      label: `${encodingName(tensor.encoding)}, ${shapeText(tensor.shape)}`,
    })),
  );
  const table = formatTable(
    ['module', 'weights', 'bytes', 'bits a weight', 'encoding, shape'],
    lines.map(({ depth, name, weights, bytes, label }) => [
      `${'  '.repeat(depth)}${name}`,
      formatCount(weights),
      formatCount(bytes),
      ((bytes * 8) / weights).toFixed(3),
      label,
    ]),
    ['weights', 'bytes', 'bits a weight'],
  );
  return `${table}${plural(tensors.length, 'tensor')}; --tensors lists them, --tensor shows one\n`;
}
