// A manifest in the JSON form of docs/format.md, appendix A: what the twins of the corpus hold.
import type { AssetRole, Encoding, Manifest, PlaneRole, RopeScaling, TensorInfo } from '@duobit/format';
import { encodingToFields } from '../src/encodings.ts';
import { alignUp, bitsToFeatures } from '../src/preamble.ts';

const ENCODINGS = [
  'unspecified',
  'f32',
  'f16',
  'bf16',
  'int8',
  'int4',
  'w11',
  'w11_outlier',
  'partial_binary',
];

/** Roles are named as in the schema; 0 is named there and unknown to the manifest. */
function roleToJson(role: PlaneRole | AssetRole | `unknown-${number}`): string | number {
  if (role === 'unknown-0') return 'unspecified';
  return role.startsWith('unknown-') ? Number(role.slice('unknown-'.length)) : role.replaceAll('-', '_');
}

function ropeScalingToJson(scaling: RopeScaling | null) {
  if (!scaling) return null;
  const llama3 = scaling.kind === 'llama3' ? scaling : null;
  return {
    kind: scaling.kind,
    factor: scaling.factor,
    low_frequency_factor: llama3?.lowFrequencyFactor ?? 0,
    high_frequency_factor: llama3?.highFrequencyFactor ?? 0,
    original_context_length: llama3?.originalContextLength ?? 0,
  };
}

function encodingToJson(encoding: Encoding) {
  const { id, groupSize, flags, outlierColumns, salientCount } = encodingToFields(encoding);
  return {
    encoding: ENCODINGS[id] ?? id,
    group_size: groupSize,
    flags,
    outlier_columns: outlierColumns,
    salient_count: String(salientCount),
  };
}

function tensorToJson({ name, shape, encoding, planes, activation, inputRotation }: TensorInfo) {
  return {
    name,
    shape: shape.map(String),
    ...encodingToJson(encoding),
    planes: planes.map(({ role, segment, offset, length }) => ({
      role: roleToJson(role),
      segment,
      offset: String(offset),
      length: String(length),
    })),
    activation: activation && {
      scheme: 'dynamic_asymmetric',
      bits: activation.bits,
      clip_low: activation.clipLow,
      clip_high: activation.clipHigh,
      knee: activation.knee?.code ?? null,
      slope_ratio: activation.knee?.slopeRatio ?? 0,
      plane_scales: activation.planeScales ?? [],
    },
    input_rotation: inputRotation ?? 'none',
  };
}

/** The feature bits of the preamble follow from data files and rotations. */
export function manifestToJson(manifest: Manifest) {
  const { architecture, specialTokens, provenance, kvCache } = manifest;
  const base = alignUp(manifest.headerLength, 16_384);
  const rotated = manifest.tensors.some(({ inputRotation }) => inputRotation !== undefined);
  return {
    format_version: manifest.formatVersion,
    incompatible_features: String((manifest.dataFiles.length > 0 ? 1 : 0) + (rotated ? 2 : 0)),
    compatible_features: String(bitsToFeatures(manifest.compatibleFeatures)),
    header_length: manifest.headerLength,
    segment_base: String(base),
    file_length: String(manifest.fileLength),
    model: {
      architecture: {
        family: architecture.family,
        vocabulary_size: architecture.vocabularySize,
        hidden_size: architecture.hiddenSize,
        intermediate_size: architecture.intermediateSize,
        block_count: architecture.blockCount,
        head_count: architecture.headCount,
        kv_head_count: architecture.kvHeadCount,
        head_size: architecture.headSize,
        context_length: architecture.contextLength,
        norm_epsilon: architecture.normEpsilon,
        rope_theta: architecture.ropeTheta,
        rope_scaling: ropeScalingToJson(architecture.ropeScaling),
        sliding_window: architecture.slidingWindow,
        tied_head: architecture.tiedHead,
      },
      special_tokens: {
        bos: specialTokens.bos,
        eos: specialTokens.eos,
        pad: specialTokens.pad,
        add_bos: specialTokens.addBos,
      },
      assets: manifest.assets.map(({ role, mediaType, segment, offset, length }) => ({
        role: roleToJson(role),
        media_type: mediaType,
        segment,
        offset: String(offset),
        length: String(length),
      })),
      tensors: manifest.tensors.map(tensorToJson),
      segments: manifest.segments.map(({ name, file, offset, length, chunkHashes }) => ({
        name,
        offset: String(file === 0 ? offset - base : offset),
        length: String(length),
        chunk_hashes: chunkHashes.join(''),
        file,
      })),
      provenance: {
        producer: provenance.producer,
        source_name: provenance.sourceName,
        source_sha256: provenance.sourceSha256,
        recipe: provenance.recipe,
        calibration_sha256: provenance.calibrationSha256,
      },
      metadata: Object.entries(manifest.metadata)
        .map(([key, value]) => ({ key, value }))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
      kv_cache: kvCache && {
        key_bits: kvCache.keyBits,
        value_bits: kvCache.valueBits,
        group_size: kvCache.groupSize,
        symmetric: kvCache.symmetric,
      },
      data_files: manifest.dataFiles.map(({ name, length, sha256 }) => ({
        name,
        length: String(length),
        sha256,
      })),
    },
  };
}
