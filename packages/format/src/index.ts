// Public face of @duobit/format: everything that runs in browsers and Node alike.
export { accountSizes, type SizeAccount } from './account.ts';
export {
  activationLadder,
  decodeActivations,
  type QuantizedRow,
  quantizeActivations,
} from './activation.ts';
export { type AnnotateOptions, type Annotation, annotateContainer } from './annotate.ts';
export type { ClaimKind } from './annotate-header.ts';
export {
  type BlockWeights,
  blockWeights,
  compareTensorNames,
  LLAMA,
  listBlockTensors,
  listModelTensors,
  type ModelTensor,
  segmentOfTensor,
} from './architecture.ts';
export { createBlobSource } from './blob-source.ts';
export { type ChunkPlace, ChunkPlaces } from './chunk-places.ts';
export { ChunkBuffers, streamChunks } from './chunk-stream.ts';
export { type Container, openContainer } from './container.ts';
export {
  type ContentDigest,
  type ContentDigestOptions,
  contentDigest,
  type TensorDigest,
} from './content-digest.ts';
export { decodeLayerWeights, decodeTensor } from './decode.ts';
export {
  type CompareOptions,
  type ContainerDifference,
  compareContainers,
  type FieldDifference,
  type RenamedTensor,
  type TensorDifference,
  type ValueDifference,
} from './diff.ts';
export {
  bitRowStride,
  elementCount,
  encodedPlaneLengths,
  GROUP_SIZES,
  groupCount,
  int4RowStride,
  int8RowStride,
} from './encodings.ts';
export { DuobitError, type ErrorFacts } from './errors.ts';
export type { OpenDataFile, OpenOptions } from './file-set.ts';
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './float16.ts';
export { LIMITS } from './generated/limits.ts';
export { createReadingBuffer } from './hash-threads.ts';
export { type Identity, readIdentity } from './header-read.ts';
export type { Fetch } from './http-request.ts';
export { createHttpSource, type HttpRead, type HttpSourceOptions } from './http-source.ts';
export {
  DEFAULT_ENDPOINT,
  type HubAddress,
  isHubAddress,
  isRemoteAddress,
  parseHubAddress,
  refuseHubPage,
} from './hub-address.ts';
export { type HubFile, locateHubFile } from './hub-file.ts';
export { describeHubStatus } from './hub-status.ts';
export { type AssetSpec, type ContainerSpec, type Layout, planLayout, type TensorSpec } from './layout.ts';
export type {
  ActivationQuantizer,
  Allocate,
  Architecture,
  Asset,
  AssetRole,
  DataFile,
  Encoding,
  KvCacheQuantization,
  Manifest,
  ModelSource,
  Plane,
  PlaneRole,
  Provenance,
  RopeScaling,
  Segment,
  SpecialTokens,
  TensorData,
  TensorInfo,
  UnknownRole,
} from './manifest.ts';
export { createMemorySource } from './memory-source.ts';
export {
  type IntegerInput,
  type PartialBinaryInput,
  type Planes,
  packBits,
  packDense,
  packInt4,
  packInt8,
  packPartialBinary,
  packW11,
  packW11Outlier,
  unpackBits,
  type W11Input,
  type W11OutlierInput,
} from './packing.ts';
export type { Problem } from './problems.ts';
export {
  type InputRotation,
  rotateInput,
  rotationSign,
  rotationSpan,
  undoInputRotation,
} from './rotation.ts';
export { decodeRowBlocks, readRowBlocks } from './row-blocks.ts';
export { type ChunkSource, checkChunk } from './segment-reader.ts';
export { fromHex, sha256, toHex } from './sha256.ts';
export { type ByteSink, createMemorySink, type MemorySink } from './sink.ts';
export { type ByteSource, type OnBytes, readInto } from './source.ts';
export {
  type MergeOptions,
  mergeContainer,
  type OpenSink,
  type SplitOptions,
  splitContainer,
} from './split.ts';
export { computeTensorStatistics, type HistogramBar, type TensorStatistics } from './tensor-statistics.ts';
export { type ValidateOptions, type ValidationReport, validateContainer } from './validate.ts';
export { type ContainerSummary, type ContainerWriter, createContainerWriter } from './writer.ts';
