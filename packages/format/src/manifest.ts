// What a container says about itself, as plain frozen objects. These types are the public face of the header;
// no generated FlatBuffers accessor leaves this package. See docs/format.md for the bytes behind them.

import type { InputRotation } from './rotation.ts';

/** RoPE frequency scaling (Llama 3: "llama3"; position interpolation: "linear"). */
export type RopeScaling =
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  | { readonly kind: 'linear'; readonly factor: number };

/** Typed hyperparameters of a decoder-only transformer; names follow GGUF where it has one. */
export interface Architecture {
  /** Model family that decides the plan: 'llama' covers Llama, SmolLM2; 'mistral' adds a sliding window. */
  readonly family: 'llama' | 'mistral';
  readonly vocabularySize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly blockCount: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headSize: number;
  readonly contextLength: number;
  readonly normEpsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  /** Attention sees at most this many latest positions; null means all. */
  readonly slidingWindow: number | null;
  /** The output head is the embedding; it is stored once. */
  readonly tiedHead: boolean;
}

/** How a tensor's values are written in its planes. Bit-exact definitions: docs/format.md, "Encodings". */
export type Encoding =
  | { readonly kind: 'f32' | 'f16' | 'bf16' }
  /** Grouped symmetric integers: w = scale * code; planes 'codes' and 'scale' (f16 per row and group). */
  | { readonly kind: 'int8' | 'int4'; readonly groupSize: number }
  /**
   * W(1+1): planes 'sign', 'bitmap', 'alpha' and, when `offsets`, 'mu' (f16, [N, groups, 2], index m last).
   * w = mu[m] + alpha[m] * (2 s - 1)
   */
  | { readonly kind: 'w11'; readonly groupSize: number; readonly offsets: boolean }
  /**
   * W(1+1) with some columns in 8 bits: the planes of 'w11', then 'outlier-index' (u32 column numbers, ascending),
   * 'outlier-codes' (int8 [N, outlierColumns]) and 'outlier-scale' (f16 a row). In those columns w = scale * code.
   */
  | {
      readonly kind: 'w11-outlier';
      readonly groupSize: number;
      readonly offsets: boolean;
      readonly outlierColumns: number;
    }
  /**
   * Binary with single weights in 8 bits (PB-LLM): 'sign', 'alpha' and 'mu' (f16 [N, groups]), 'salient-mask' (a bit a
   * weight), 'salient-codes' (u8, those of set mask bits in order), 'salient-scale' (f16 [N, 2]: scale, minimum) and
   * 'salient-offsets' (u32 [N + 1]). w = minimum + scale * code where salient, else mu + alpha * (2 s - 1)
   */
  | { readonly kind: 'partial-binary'; readonly groupSize: number; readonly salientCount: number }
  /**
   * An encoding this reader does not know: it can be listed and skipped, never decoded. The other fields are kept
   * as they were.
   */
  | {
      readonly kind: 'unknown';
      readonly id: number;
      readonly groupSize: number;
      readonly flags: number;
      readonly outlierColumns: number;
      readonly salientCount: number;
    };

/** What the bytes of a plane are; docs/format.md, "Encodings". */
export type PlaneRole =
  | 'dense'
  | 'codes'
  | 'scale'
  | 'sign'
  | 'bitmap'
  | 'alpha'
  | 'mu'
  | 'outlier-index'
  | 'outlier-codes'
  | 'outlier-scale'
  | 'salient-mask'
  | 'salient-codes'
  | 'salient-scale'
  | 'salient-offsets';

/** A role that this reader does not know, by its number in the schema. Listed and skipped, never read. */
export type UnknownRole = `unknown-${number}`;

/** One contiguous run of bytes of a tensor, inside a segment. */
export interface Plane {
  /** Unknown only in tensors of an unknown encoding. */
  readonly role: PlaneRole | UnknownRole;
  /** Index in `Manifest.segments`. */
  readonly segment: number;
  /** From the start of the segment, a multiple of 256. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Dynamic 4-bit quantizer of a linear layer's input: lo = clipLow * min(x), hi = clipHigh * max(x). A code q stands
 * for lo + D * t(q), D = (hi - lo) / t(15); t(q) = q unless there is a knee or plane scales, which exclude each other.
 */
export interface ActivationQuantizer {
  readonly bits: 4;
  readonly clipLow: number;
  readonly clipHigh: number;
  /** Two slopes: t(q) = min(q, code) + slopeRatio * max(q - code, 0); code 1..14, slopeRatio 2..8. */
  readonly knee: { readonly code: number; readonly slopeRatio: number } | null;
  /** Four positive values: t(q) is the sum of those whose bit of q is set. */
  readonly planeScales: readonly number[] | null;
}

/** What the header says of a tensor. */
export interface TensorInfo {
  /** Hugging Face name, for example `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** Row-major; a linear weight is [N out, K in]. */
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  readonly planes: readonly Plane[];
  /** Set on linear weights that run on quantized activations. */
  readonly activation: ActivationQuantizer | null;
  /** Set on linear weights that are stored for a rotated input, which the layer then reads instead of its own. */
  readonly inputRotation?: InputRotation | undefined;
}

/** A run of bytes of a file, with planes or assets, hashed in chunks of 4 MiB. */
export interface Segment {
  /** For people: 'assets', 'embedding', 'block.0', …, 'head'. */
  readonly name: string;
  /** 0: the container's own file; i: `Manifest.dataFiles[i - 1]`. */
  readonly file: number;
  /** Absolute offset in that file, a multiple of 16,384. */
  readonly offset: number;
  readonly length: number;
  /** SHA-256 of each 4 MiB chunk, lower-case hex; the last chunk may be short. */
  readonly chunkHashes: readonly string[];
}

/** A file beside the container that holds segments and nothing else. */
export interface DataFile {
  /** A plain file name: no folder, no dot first. */
  readonly name: string;
  readonly length: number;
  /** Of the whole file, hex. */
  readonly sha256: string;
}

/** What a runtime may keep keys and values in; advice, which it is free to ignore. */
export interface KvCacheQuantization {
  readonly keyBits: 4 | 8 | 16;
  readonly valueBits: 4 | 8 | 16;
  /** Values that share a scale; 0: one scale a head. */
  readonly groupSize: 0 | 32 | 64 | 128;
  readonly symmetric: boolean;
}

/** What a file that is carried along is. */
export type AssetRole = 'tokenizer' | 'tokenizer-config' | 'chat-template' | 'generation-config' | 'license';

/** A file carried along, byte for byte, such as tokenizer.json. */
export interface Asset {
  readonly role: AssetRole | UnknownRole;
  readonly mediaType: string;
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** Tokens that begin, end and pad a text. */
export interface SpecialTokens {
  readonly bos: number | null;
  /** Any of these ends generation. A container holds them sorted. */
  readonly eos: readonly number[];
  readonly pad: number | null;
  /** Whether a prompt is encoded with a leading BOS. */
  readonly addBos: boolean;
}

/** Where the weights came from and how they were made. Free of timestamps: the same input gives the same bytes. */
export interface Provenance {
  /** For example 'duobit 0.1.0'. */
  readonly producer: string;
  /** Folder or file name of the checkpoint, without its path. */
  readonly sourceName: string;
  /** SHA-256 over the checkpoint's weight bytes, hex; see docs/format.md. */
  readonly sourceSha256: string;
  /** Canonical JSON of the options that made this file. */
  readonly recipe: string;
  /** SHA-256 of the calibration text, hex; null without calibration. */
  readonly calibrationSha256: string | null;
}

/** A container's header, decoded, validated and frozen. */
export interface Manifest {
  readonly formatVersion: { readonly major: number; readonly minor: number };
  /** Numbers of the bits set in the preamble's compatible features, ascending; none has a meaning yet. */
  readonly compatibleFeatures: readonly number[];
  /** Of the container's own file, data files not counted. */
  readonly fileLength: number;
  readonly headerLength: number;
  /** The model's identity: SHA-256 of the header with its own hash field zeroed, hex. */
  readonly headerSha256: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  readonly assets: readonly Asset[];
  /** Sorted by name (code units), unique. */
  readonly tensors: readonly TensorInfo[];
  /** In file order, which is order of first use; those of the container's own file first, then file by file. */
  readonly segments: readonly Segment[];
  /** Empty when the container's own file holds everything. */
  readonly dataFiles: readonly DataFile[];
  readonly kvCache: KvCacheQuantization | null;
  readonly provenance: Provenance;
  /** Free text pairs, sorted by key. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Gives memory of any content, which begins at a multiple of 8 bytes and may be shared with other threads; calls follow each other. */
export type Allocate = (length: number) => Uint8Array<ArrayBuffer>;

/** The bytes of one tensor's planes. Each array owns its buffer, unless the reader brought memory of its own. */
export interface TensorData {
  readonly info: Pick<TensorInfo, 'name' | 'shape' | 'encoding' | 'activation' | 'inputRotation'>;
  readonly planes: Readonly<Partial<Record<PlaneRole, Uint8Array<ArrayBuffer>>>>;
}

/**
 * Whatever a model can be run from: an opened container, or a full-precision checkpoint (whose tensors
 * are all 'f32', 'f16' or 'bf16' with one 'dense' plane, little-endian).
 */
export interface ModelSource {
  readonly name: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  /** Names in the order of first use. */
  readonly tensorNames: readonly string[];
  /** @throws DuobitError for a name that does not exist */
  tensorInfo(name: string): Pick<TensorInfo, 'name' | 'shape' | 'encoding' | 'activation' | 'inputRotation'>;
  /**
   * All planes of a tensor, checked against their hashes.
   * @param allocate memory for the planes, where the caller has some: new memory costs more than to read into it. A source may
   *   do without
   * @throws DuobitError for a name that does not exist, or damaged bytes
   */
  readTensor(name: string, allocate?: Allocate): Promise<TensorData>;
  /** Bytes of one plane, where a source can do without the tensor's others. */
  readPlane?(name: string, role: PlaneRole): Promise<Uint8Array<ArrayBuffer>>;
  /** Bytes of an asset or null when the model has none of that role. */
  readAsset(role: AssetRole): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Closes what it has opened. */
  close(): Promise<void>;
}
