// Manifest -> header bytes, in one fixed order of calls, so that the same manifest gives the same bytes.
// docs/format.md, "Canonical form", lists the order.
import { Builder, type Offset } from 'flatbuffers';
import { encodingToFields } from './encodings.ts';
import { neededFeatures, neededMinor } from './features.ts';
import { ActivationQuantizer as ActivationTable } from './generated/duobit/activation-quantizer.ts';
import { ActivationScheme } from './generated/duobit/activation-scheme.ts';
import { Architecture as ArchitectureTable } from './generated/duobit/architecture.ts';
import { Asset as AssetTable } from './generated/duobit/asset.ts';
import { DataFile as DataFileTable } from './generated/duobit/data-file.ts';
import { InputRotation as InputRotationId } from './generated/duobit/input-rotation.ts';
import { KvCacheQuantization as KvCacheTable } from './generated/duobit/kv-cache-quantization.ts';
import { MetadataPair } from './generated/duobit/metadata-pair.ts';
import { Model } from './generated/duobit/model.ts';
import { Plane as PlaneTable } from './generated/duobit/plane.ts';
import { Provenance as ProvenanceTable } from './generated/duobit/provenance.ts';
import { RopeScaling as RopeScalingTable } from './generated/duobit/rope-scaling.ts';
import { RopeScalingKind } from './generated/duobit/rope-scaling-kind.ts';
import { Segment as SegmentTable } from './generated/duobit/segment.ts';
import { SpecialTokens as SpecialTokensTable } from './generated/duobit/special-tokens.ts';
import { Tensor as TensorTable } from './generated/duobit/tensor.ts';
import type {
  ActivationQuantizer,
  Architecture,
  Asset,
  DataFile,
  Manifest,
  Provenance,
  SpecialTokens,
  TensorInfo,
} from './manifest.ts';
import { bitsToFeatures, EXTENSION_BYTES, FILE_IDENTIFIER, writeExtension } from './preamble.ts';
import { assetRoleToId, planeRoleToId } from './registry.ts';
import { fromHex } from './sha256.ts';

/** A segment as the header stores it: in file 0 its offset counts from the segment base. */
export interface StoredSegment {
  readonly name: string;
  readonly file: number;
  readonly offset: number;
  readonly length: number;
  /** 32 bytes a chunk. */
  readonly chunkHashes: Uint8Array<ArrayBuffer>;
}

export interface HeaderContent
  extends Pick<
    Manifest,
    | 'architecture'
    | 'specialTokens'
    | 'assets'
    | 'tensors'
    | 'provenance'
    | 'metadata'
    | 'dataFiles'
    | 'kvCache'
    | 'compatibleFeatures'
  > {
  readonly segments: readonly StoredSegment[];
}

function encodeArchitecture(builder: Builder, architecture: Architecture): Offset {
  const family = builder.createString(architecture.family);
  const scaling = architecture.ropeScaling;
  let ropeScaling: Offset = 0;
  if (scaling) {
    RopeScalingTable.startRopeScaling(builder);
    RopeScalingTable.addKind(builder, RopeScalingKind[scaling.kind]);
    RopeScalingTable.addFactor(builder, scaling.factor);
    if (scaling.kind === 'llama3') {
      RopeScalingTable.addLowFrequencyFactor(builder, scaling.lowFrequencyFactor);
      RopeScalingTable.addHighFrequencyFactor(builder, scaling.highFrequencyFactor);
      RopeScalingTable.addOriginalContextLength(builder, scaling.originalContextLength);
    }
    ropeScaling = RopeScalingTable.endRopeScaling(builder);
  }
  ArchitectureTable.startArchitecture(builder);
  ArchitectureTable.addFamily(builder, family);
  ArchitectureTable.addVocabularySize(builder, architecture.vocabularySize);
  ArchitectureTable.addHiddenSize(builder, architecture.hiddenSize);
  ArchitectureTable.addIntermediateSize(builder, architecture.intermediateSize);
  ArchitectureTable.addBlockCount(builder, architecture.blockCount);
  ArchitectureTable.addHeadCount(builder, architecture.headCount);
  ArchitectureTable.addKvHeadCount(builder, architecture.kvHeadCount);
  ArchitectureTable.addHeadSize(builder, architecture.headSize);
  ArchitectureTable.addContextLength(builder, architecture.contextLength);
  ArchitectureTable.addNormEpsilon(builder, architecture.normEpsilon);
  ArchitectureTable.addRopeTheta(builder, architecture.ropeTheta);
  if (scaling) ArchitectureTable.addRopeScaling(builder, ropeScaling);
  if (architecture.slidingWindow !== null) {
    ArchitectureTable.addSlidingWindow(builder, architecture.slidingWindow);
  }
  ArchitectureTable.addTiedHead(builder, architecture.tiedHead);
  return ArchitectureTable.endArchitecture(builder);
}

function encodeSpecialTokens(builder: Builder, tokens: SpecialTokens): Offset {
  const eos = SpecialTokensTable.createEosVector(builder, [...tokens.eos]);
  SpecialTokensTable.startSpecialTokens(builder);
  if (tokens.bos !== null) SpecialTokensTable.addBos(builder, tokens.bos);
  SpecialTokensTable.addEos(builder, eos);
  if (tokens.pad !== null) SpecialTokensTable.addPad(builder, tokens.pad);
  SpecialTokensTable.addAddBos(builder, tokens.addBos);
  return SpecialTokensTable.endSpecialTokens(builder);
}

function encodeAsset(builder: Builder, asset: Asset): Offset {
  const mediaType = builder.createString(asset.mediaType);
  AssetTable.startAsset(builder);
  AssetTable.addRole(builder, assetRoleToId(asset.role));
  AssetTable.addMediaType(builder, mediaType);
  AssetTable.addSegment(builder, asset.segment);
  AssetTable.addOffset(builder, BigInt(asset.offset));
  AssetTable.addLength(builder, BigInt(asset.length));
  return AssetTable.endAsset(builder);
}

function encodeActivation(builder: Builder, quantizer: ActivationQuantizer): Offset {
  const { bits, clipLow, clipHigh, knee, planeScales } = quantizer;
  const scales = planeScales ? ActivationTable.createPlaneScalesVector(builder, [...planeScales]) : null;
  ActivationTable.startActivationQuantizer(builder);
  ActivationTable.addScheme(builder, ActivationScheme.dynamic_asymmetric);
  ActivationTable.addBits(builder, bits);
  ActivationTable.addClipLow(builder, clipLow);
  ActivationTable.addClipHigh(builder, clipHigh);
  if (knee) {
    ActivationTable.addKnee(builder, knee.code);
    ActivationTable.addSlopeRatio(builder, knee.slopeRatio);
  }
  if (scales !== null) ActivationTable.addPlaneScales(builder, scales);
  return ActivationTable.endActivationQuantizer(builder);
}

function encodeTensor(builder: Builder, tensor: TensorInfo): Offset {
  const name = builder.createString(tensor.name);
  const shape = TensorTable.createShapeVector(builder, tensor.shape.map(BigInt));
  const planeOffsets = tensor.planes.map((plane) =>
    PlaneTable.createPlane(
      builder,
      planeRoleToId(plane.role),
      plane.segment,
      BigInt(plane.offset),
      BigInt(plane.length),
    ),
  );
  const planes = TensorTable.createPlanesVector(builder, planeOffsets);
  const activation = tensor.activation ? encodeActivation(builder, tensor.activation) : null;
  const encoding = encodingToFields(tensor.encoding);
  TensorTable.startTensor(builder);
  TensorTable.addName(builder, name);
  TensorTable.addShape(builder, shape);
  TensorTable.addEncoding(builder, encoding.id);
  TensorTable.addGroupSize(builder, encoding.groupSize);
  TensorTable.addFlags(builder, encoding.flags);
  TensorTable.addPlanes(builder, planes);
  if (activation !== null) TensorTable.addActivation(builder, activation);
  TensorTable.addOutlierColumns(builder, encoding.outlierColumns);
  TensorTable.addSalientCount(builder, BigInt(encoding.salientCount));
  TensorTable.addInputRotation(builder, InputRotationId[tensor.inputRotation ?? 'none']);
  return TensorTable.endTensor(builder);
}

function encodeSegment(builder: Builder, segment: StoredSegment): Offset {
  const name = builder.createString(segment.name);
  const hashes = builder.createByteVector(segment.chunkHashes);
  return SegmentTable.createSegment(
    builder,
    name,
    BigInt(segment.offset),
    BigInt(segment.length),
    hashes,
    segment.file,
  );
}

function encodeDataFile(builder: Builder, file: DataFile): Offset {
  const name = builder.createString(file.name);
  const sha256 = builder.createByteVector(fromHex(file.sha256));
  return DataFileTable.createDataFile(builder, name, BigInt(file.length), sha256);
}

function encodeProvenance(builder: Builder, provenance: Provenance): Offset {
  const producer = builder.createString(provenance.producer);
  const sourceName = builder.createString(provenance.sourceName);
  const sourceSha256 = builder.createByteVector(fromHex(provenance.sourceSha256));
  const recipe = builder.createString(provenance.recipe);
  const calibration =
    provenance.calibrationSha256 === null
      ? null
      : builder.createByteVector(fromHex(provenance.calibrationSha256));
  ProvenanceTable.startProvenance(builder);
  ProvenanceTable.addProducer(builder, producer);
  ProvenanceTable.addSourceName(builder, sourceName);
  ProvenanceTable.addSourceSha256(builder, sourceSha256);
  ProvenanceTable.addRecipe(builder, recipe);
  if (calibration !== null) ProvenanceTable.addCalibrationSha256(builder, calibration);
  return ProvenanceTable.endProvenance(builder);
}

/**
 * The header with its hash field still zero. Its length does not depend on segment base, file length or hashes.
 */
export function encodeHeader(
  content: HeaderContent,
  segmentBase: number,
  fileLength: number,
): Uint8Array<ArrayBuffer> {
  const builder = new Builder(65_536);
  const architecture = encodeArchitecture(builder, content.architecture);
  const specialTokens = encodeSpecialTokens(builder, content.specialTokens);
  const assets = content.assets.map((asset) => encodeAsset(builder, asset));
  const assetVector = Model.createAssetsVector(builder, assets);
  const tensors = content.tensors.map((tensor) => encodeTensor(builder, tensor));
  const tensorVector = Model.createTensorsVector(builder, tensors);
  const segments = content.segments.map((segment) => encodeSegment(builder, segment));
  const segmentVector = Model.createSegmentsVector(builder, segments);
  const provenance = encodeProvenance(builder, content.provenance);
  // Sorted here too: JavaScript objects list keys that look like integers first.
  const entries = Object.entries(content.metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const pairs = entries.map(([key, value]) => {
    const keyOffset = builder.createString(key);
    return MetadataPair.createMetadataPair(builder, keyOffset, builder.createString(value));
  });
  const metadata = Model.createMetadataVector(builder, pairs);
  const { kvCache } = content;
  const kvCacheTable = kvCache
    ? KvCacheTable.createKvCacheQuantization(
        builder,
        kvCache.keyBits,
        kvCache.valueBits,
        kvCache.groupSize,
        kvCache.symmetric,
      )
    : null;
  const dataFiles = content.dataFiles.map((file) => encodeDataFile(builder, file));
  const dataFileVector = dataFiles.length > 0 ? Model.createDataFilesVector(builder, dataFiles) : null;
  Model.startModel(builder);
  Model.addArchitecture(builder, architecture);
  Model.addSpecialTokens(builder, specialTokens);
  Model.addAssets(builder, assetVector);
  Model.addTensors(builder, tensorVector);
  Model.addSegments(builder, segmentVector);
  Model.addProvenance(builder, provenance);
  Model.addMetadata(builder, metadata);
  if (kvCacheTable !== null) Model.addKvCache(builder, kvCacheTable);
  if (dataFileVector !== null) Model.addDataFiles(builder, dataFileVector);
  const root = Model.endModel(builder);
  builder.finish(root, FILE_IDENTIFIER);
  const plain = builder.asUint8Array();

  // Everything after the identifier moves up by a multiple of 8, so alignment holds; only the root offset,
  // which crosses the gap, changes.
  const header = new Uint8Array(plain.length + EXTENSION_BYTES);
  header.set(plain.subarray(0, 8), 0);
  header.set(plain.subarray(8), 8 + EXTENSION_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, view.getUint32(0, true) + EXTENSION_BYTES, true);
  writeExtension(header, {
    minor: neededMinor(content),
    segmentBase,
    fileLength,
    incompatible: neededFeatures(content),
    compatible: bitsToFeatures(content.compatibleFeatures),
  });
  return header;
}
