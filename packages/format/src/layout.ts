// Where everything lies in a file: planned for the writer, checked for readers. A header fixes the layout
// completely, so there is one way to place given planes in given order, with no gap, overlap or trailing byte.
import { compareTensorNames, segmentOfTensor } from './architecture.ts';
import { encodedPlaneLengths } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import { encodeHeader, type HeaderContent, type StoredSegment } from './header-encode.ts';
import type {
  Architecture,
  Asset,
  AssetRole,
  Manifest,
  Plane,
  PlaneRole,
  Provenance,
  SpecialTokens,
  TensorInfo,
} from './manifest.ts';
import { alignUp } from './preamble.ts';
import { type Report, throwProblems } from './problems.ts';
import { assetRoleToId } from './registry.ts';
import { checkManifest } from './rules.ts';

export type TensorSpec = Pick<TensorInfo, 'name' | 'shape' | 'encoding' | 'activation'>;

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

/** A run of bytes of a segment that belongs to one plane or asset. */
export interface Region {
  readonly offset: number;
  readonly length: number;
  readonly tensor: TensorInfo | null;
  /** Role of the plane or asset. */
  readonly role: string;
  /** For messages. */
  readonly where: string;
}

/** The regions of every segment, sorted by offset; those of segments that do not exist are left out. */
export function listRegions(manifest: Pick<Manifest, 'assets' | 'tensors' | 'segments'>): Region[][] {
  const regions: Region[][] = manifest.segments.map(() => []);
  for (const asset of manifest.assets) {
    const { offset, length, role } = asset;
    regions[asset.segment]?.push({ offset, length, tensor: null, role, where: `asset ${role}` });
  }
  for (const tensor of manifest.tensors) {
    for (const { segment, offset, length, role } of tensor.planes) {
      regions[segment]?.push({ offset, length, tensor, role, where: `tensor ${tensor.name}, plane ${role}` });
    }
  }
  for (const list of regions) list.sort((a, b) => a.offset - b.offset);
  return regions;
}

/** Reports every broken rule about places: of planes and assets in segments, and of segments in the file. */
export function checkLayout(manifest: Manifest, segmentBase: number, report: Report): void {
  const { segments } = manifest;
  if (segments.length === 0) report('SEGMENT_LAYOUT', 'segments', 'the file has no segment');
  const names = new Set<string>();
  let expected = segmentBase;
  for (const segment of segments) {
    const where = `segment ${segment.name.slice(0, LIMITS.maxNameBytes)}`;
    if (!/^[!-~]{1,255}$/.test(segment.name)) {
      report('NAME_INVALID', where, 'the name is not 1 to 255 printable ASCII characters');
    }
    if (names.has(segment.name)) report('SEGMENT_DUPLICATE', where, 'two segments have this name');
    names.add(segment.name);
    if (segment.offset !== expected) {
      report(
        'SEGMENT_LAYOUT',
        where,
        `the segment begins at byte ${segment.offset}, but must begin at ${expected}`,
      );
    }
    if (segment.length < 1) report('SEGMENT_LAYOUT', where, 'the segment is empty');
    expected = alignUp(segment.offset + segment.length, LIMITS.segmentAlignment);
  }
  const last = segments.at(-1);
  if (last && last.offset + last.length !== manifest.fileLength) {
    const end = last.offset + last.length;
    report(
      'FILE_LENGTH',
      'file length',
      `the last segment ends at ${end}, but the file at ${manifest.fileLength}`,
    );
  }
  const entries = [
    ...manifest.assets.map(({ role, segment }) => ({ segment, where: `asset ${role}` })),
    ...manifest.tensors.flatMap((tensor) =>
      tensor.planes.map(({ role, segment }) => ({ segment, where: `tensor ${tensor.name}, plane ${role}` })),
    ),
  ];
  for (const { segment, where } of entries) {
    if (segment >= segments.length) {
      report('PLANE_RANGE', where, `segment ${segment} does not exist; there are ${segments.length}`);
    }
  }
  for (const [i, regions] of listRegions(manifest).entries()) checkSegment(manifest, i, regions, report);
}

function checkSegment(manifest: Manifest, index: number, regions: readonly Region[], report: Report): void {
  const segment = manifest.segments[index]!;
  let end = 0;
  for (const { offset, length, where } of regions) {
    // The subtraction cannot overflow, unlike offset + length.
    if (length > segment.length || offset > segment.length - length) {
      const range = `${length} bytes at ${offset}`;
      report(
        'PLANE_RANGE',
        where,
        `${range} do not fit in segment ${segment.name} of ${segment.length} bytes`,
      );
      return;
    }
    const expected = alignUp(end, LIMITS.planeAlignment);
    if (offset !== expected) {
      const message = `it begins at byte ${offset} of segment ${segment.name}, but must begin at ${expected}`;
      report(offset < end ? 'PLANE_OVERLAP' : 'PLANE_LAYOUT', where, message);
    }
    end = offset + length;
  }
  if (end !== segment.length) {
    const message = `its contents end at ${end}, but the segment at ${segment.length}`;
    report('SEGMENT_LAYOUT', `segment ${segment.name}`, message);
  }
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
      const stored = { name, offset, length, chunkHashes };
      offset = alignUp(offset + length, LIMITS.segmentAlignment);
      return stored;
    });
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Plans a file: the same specification gives the same layout, in whatever order its parts are given.
 * @throws DuobitError any code of docs/format.md, "Validation", that the header of such a file would earn
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
    .map(({ name, shape, encoding, activation }): TensorInfo => {
      const planes = listPlanes({ name, shape, encoding }, report).map(
        ([role, length]): Plane => ({ role, ...planner.place(segmentOfTensor(name), length), length }),
      );
      return { name, shape, encoding, planes, activation };
    })
    .sort((a, b) => byText(a.name, b.name));
  const specialTokens = {
    ...spec.specialTokens,
    eos: [...new Set(spec.specialTokens.eos)].sort((a, b) => a - b),
  };
  const { architecture, provenance, metadata } = spec;
  checkText(spec, report);
  const content = {
    architecture,
    specialTokens,
    assets,
    tensors,
    provenance,
    metadata,
    segments: planner.store(),
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
    formatVersion: { major: LIMITS.formatMajor, minor: LIMITS.formatMinor },
    fileLength,
    headerLength,
    headerSha256: '',
  };
  checkManifest(manifest, report);
  checkLayout(manifest, segmentBase, report);
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
