// Where everything lies in a file, planned for the writer: there is one way to place given planes in given order.
import { compareTensorNames, segmentOfTensor } from './architecture.ts';
import { encodedPlaneLengths } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { neededMinor } from './features.ts';
import { LIMITS } from './generated/limits.ts';
import { encodeHeader, type HeaderContent, type StoredSegment } from './header-encode.ts';
import type {
  Architecture,
  Asset,
  AssetRole,
  KvCacheQuantization,
  Manifest,
  Plane,
  PlaneRole,
  Provenance,
  SpecialTokens,
  TensorInfo,
} from './manifest.ts';
import { checkLayout } from './places.ts';
import { alignUp } from './preamble.ts';
import { type Report, throwProblems } from './problems.ts';
import { assetRoleToId } from './registry.ts';
import { checkManifest } from './rules.ts';
import { checkTokenizerBytes } from './tokenizer-check.ts';

/** A tensor that a container will have. */
export type TensorSpec = Pick<TensorInfo, 'name' | 'shape' | 'encoding' | 'activation' | 'inputRotation'>;

/** An asset that a container will have. */
export interface AssetSpec {
  readonly role: AssetRole;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** A whole model without its weights, in any order. */
export interface ContainerSpec {
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  readonly assets: readonly AssetSpec[];
  readonly tensors: readonly TensorSpec[];
  readonly provenance: Provenance;
  readonly metadata: Readonly<Record<string, string>>;
  readonly kvCache?: KvCacheQuantization | null | undefined;
}

/** Everything about a file but the chunk hashes, which are zero in `content`. */
export interface Layout {
  readonly content: HeaderContent;
  readonly headerLength: number;
  readonly segmentBase: number;
  readonly fileLength: number;
  /** Tensor names in file order. */
  readonly order: readonly string[];
}

class SegmentPlanner {
  readonly segments: { name: string; length: number }[] = [];

  /** Places `length` bytes at the end of the segment, which is the last one or a new one. */
  place(name: string, length: number): { segment: number; offset: number } {
    if (this.segments.at(-1)?.name !== name) this.segments.push({ name, length: 0 });
    const segment = this.segments.at(-1)!;
    const offset = alignUp(segment.length, LIMITS.planeAlignment);
    segment.length = offset + length;
    return { segment: this.segments.length - 1, offset };
  }

  store(): StoredSegment[] {
    let offset = 0;
    return this.segments.map(({ name, length }) => {
      const chunkHashes = new Uint8Array(32 * Math.ceil(length / LIMITS.chunkBytes));
      const stored = { name, file: 0, offset, length, chunkHashes };
      offset = alignUp(offset + length, LIMITS.segmentAlignment);
      return stored;
    });
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Plans a file: the same specification gives the same layout, in whatever order its parts are given.
 * @throws DuobitError any code of docs/format.md, "Validation", that the header or the tokenizer of such a file would earn
 */
export function planLayout(spec: ContainerSpec, name = 'container'): Layout {
  const report = throwProblems(name);
  const planner = new SegmentPlanner();
  const assets = [...spec.assets]
    .sort((a, b) => assetRoleToId(a.role) - assetRoleToId(b.role))
    .map(({ role, mediaType, bytes }): Asset => {
      return { role, mediaType, ...planner.place('assets', bytes.length), length: bytes.length };
    });
  const ordered = [...spec.tensors].sort((a, b) => compareTensorNames(a.name, b.name));
  const tensors = ordered
    .map(({ name, shape, encoding, activation, inputRotation }): TensorInfo => {
      const planes = listPlanes({ name, shape, encoding }, report).map(
        ([role, length]): Plane => ({ role, ...planner.place(segmentOfTensor(name), length), length }),
      );
      return { name, shape, encoding, planes, activation, inputRotation };
    })
    .sort((a, b) => byText(a.name, b.name));
  const specialTokens = {
    ...spec.specialTokens,
    eos: [...new Set(spec.specialTokens.eos)].sort((a, b) => a - b),
  };
  const { architecture, provenance, metadata } = spec;
  checkText(spec, report);
  const content: HeaderContent = {
    architecture,
    specialTokens,
    assets,
    tensors,
    provenance,
    metadata,
    segments: planner.store(),
    dataFiles: [],
    kvCache: spec.kvCache ?? null,
    compatibleFeatures: [],
  };

  const headerLength = encodeHeader(content, 0, 0).length;
  if (headerLength > LIMITS.maxHeaderBytes) {
    report(
      'LIMIT_EXCEEDED',
      'header',
      `the header would have ${headerLength} bytes; at most ${LIMITS.maxHeaderBytes} are allowed`,
    );
  }
  const segmentBase = alignUp(headerLength, LIMITS.segmentAlignment);
  const last = content.segments.at(-1);
  const fileLength = segmentBase + (last ? last.offset + last.length : 0);
  if (!Number.isSafeInteger(fileLength))
    report('OFFSET_UNSAFE', 'file length', 'the file would pass 2^53 - 1 bytes');
  const manifest: Manifest = {
    ...content,
    segments: content.segments.map((segment) => ({
      ...segment,
      offset: segmentBase + segment.offset,
      chunkHashes: [],
    })),
    formatVersion: { major: LIMITS.formatMajor, minor: neededMinor(content) },
    fileLength,
    headerLength,
    headerSha256: '',
  };
  checkManifest(manifest, report);
  checkLayout(manifest, segmentBase, report);
  for (const { role, bytes } of spec.assets) {
    if (role === 'tokenizer') checkTokenizerBytes(bytes, architecture.vocabularySize, report);
  }
  return { content, headerLength, segmentBase, fileLength, order: ordered.map((tensor) => tensor.name) };
}

/** Roles and lengths of a tensor's planes, in storage order. */
function listPlanes(
  tensor: Pick<TensorSpec, 'name' | 'shape' | 'encoding'>,
  report: Report,
): [PlaneRole, number][] {
  try {
    return Object.entries(encodedPlaneLengths(tensor.encoding, tensor.shape)) as [PlaneRole, number][];
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    report(error.code, `tensor ${tensor.name}`, error.message, error.remedy);
    return [];
  }
}

/** Rules that a reader meets as structure or count, and a writer must meet before it encodes. */
function checkText(spec: ContainerSpec, report: Report): void {
  const counts: [string, number, number][] = [
    ['tensors', spec.tensors.length, LIMITS.maxTensors],
    ['metadata pairs', Object.keys(spec.metadata).length, LIMITS.maxMetadataPairs],
    ['end-of-sequence tokens', spec.specialTokens.eos.length, LIMITS.maxEosTokens],
  ];
  for (const [what, count, most] of counts) {
    if (count > most)
      report('LIMIT_EXCEEDED', what, `there are ${count} ${what}; at most ${most} are allowed`);
  }
  const { sourceSha256, calibrationSha256 } = spec.provenance;
  for (const hash of [sourceSha256, calibrationSha256 ?? sourceSha256]) {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
      report(
        'PROVENANCE_HASH',
        'provenance',
        `"${hash.slice(0, 80)}" is not 64 lower-case hexadecimal digits`,
      );
    }
  }
  const texts = [spec.provenance.producer, spec.provenance.sourceName, spec.provenance.recipe];
  for (const text of [...texts, ...Object.values(spec.metadata)]) {
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > LIMITS.maxTextBytes) {
      report(
        'LIMIT_EXCEEDED',
        'text',
        `a text has ${bytes} bytes; at most ${LIMITS.maxTextBytes} are allowed`,
      );
    }
  }
}
