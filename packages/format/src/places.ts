// Where everything must lie: a header fixes the layout completely, with no gap, overlap or trailing byte in any file.
import { LIMITS } from './generated/limits.ts';
import type { Asset, Manifest, Plane, Segment, TensorInfo } from './manifest.ts';
import { alignUp } from './preamble.ts';
import type { Report } from './problems.ts';

/** A run of bytes of a segment that belongs to one plane or asset. */
export interface Region {
  readonly offset: number;
  readonly length: number;
  readonly tensor: TensorInfo | null;
  /** Role of the plane or asset. */
  readonly role: string;
  /** For messages; made when asked for, as headers may list very many. */
  readonly where: string;
}

/** All planes and assets of a header, and for each the tensor it belongs to: lists, as headers may have very many. */
interface Parts {
  readonly parts: readonly (Plane | Asset)[];
  readonly owners: readonly (TensorInfo | null)[];
  /** Indices of parts by segment, sorted by offset; those of segments that do not exist are left out. */
  readonly bySegment: readonly number[][];
}

function listParts({ assets, tensors, segments }: Pick<Manifest, 'assets' | 'tensors' | 'segments'>): Parts {
  const parts: (Plane | Asset)[] = [...assets];
  const owners: (TensorInfo | null)[] = assets.map(() => null);
  for (const tensor of tensors) {
    for (const plane of tensor.planes) {
      parts.push(plane);
      owners.push(tensor);
    }
  }
  const bySegment: number[][] = segments.map(() => []);
  for (let i = 0; i < parts.length; i++) bySegment[parts[i]!.segment]?.push(i);
  const byOffset = (a: number, b: number): number => parts[a]!.offset - parts[b]!.offset;
  for (const indices of bySegment) indices.sort(byOffset);
  return { parts, owners, bySegment };
}

function placeOf({ role }: Plane | Asset, tensor: TensorInfo | null): string {
  return tensor ? `tensor ${tensor.name}, plane ${role}` : `asset ${role}`;
}

class PlacedRegion implements Region {
  readonly offset: number;
  readonly length: number;
  readonly tensor: TensorInfo | null;
  readonly #part: Plane | Asset;

  constructor(part: Plane | Asset, tensor: TensorInfo | null) {
    this.offset = part.offset;
    this.length = part.length;
    this.tensor = tensor;
    this.#part = part;
  }

  get role(): string {
    return this.#part.role;
  }

  get where(): string {
    return placeOf(this.#part, this.tensor);
  }
}

/** The regions of every segment, sorted by offset; those of segments that do not exist are left out. */
export function listRegions(manifest: Pick<Manifest, 'assets' | 'tensors' | 'segments'>): Region[][] {
  const { parts, owners, bySegment } = listParts(manifest);
  return bySegment.map((indices) => indices.map((i) => new PlacedRegion(parts[i]!, owners[i]!)));
}

/** Reports every broken rule about places: of planes and assets in segments, and of segments in their files. */
export function checkLayout(manifest: Manifest, segmentBase: number, report: Report): void {
  const { segments } = manifest;
  if (segments.length === 0) report('SEGMENT_LAYOUT', 'segments', 'the file has no segment');
  checkSegments(manifest, segmentBase, report);
  const placed = listParts(manifest);
  checkSegmentIndices(placed, segments.length, report);
  for (let i = 0; i < segments.length; i++) checkSegment(segments[i]!, placed, placed.bySegment[i]!, report);
}

function checkSegmentIndices({ parts, owners }: Parts, count: number, report: Report): void {
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (part.segment < count) continue;
    const message = `segment ${part.segment} does not exist; there are ${count}`;
    report('PLANE_RANGE', placeOf(part, owners[i]!), message);
  }
}

/** Segments lie one after the other, file after file, and each file ends where its last one does. */
function checkSegments(manifest: Manifest, segmentBase: number, report: Report): void {
  const { segments, dataFiles } = manifest;
  const names = new Set<string>();
  let file = 0;
  /** Of the current file so far. */
  let end = segmentBase;
  for (const segment of segments) {
    const where = `segment ${segment.name.slice(0, LIMITS.maxNameBytes)}`;
    if (!/^[!-~]{1,255}$/.test(segment.name)) {
      report('NAME_INVALID', where, 'the name is not 1 to 255 printable ASCII characters');
    }
    if (names.has(segment.name)) report('SEGMENT_DUPLICATE', where, 'two segments have this name');
    names.add(segment.name);
    if (segment.file === file + 1 && segment.file <= dataFiles.length) {
      checkFileEnd(manifest, file, end, report);
      file += 1;
      end = 0;
    }
    if (segment.file !== file) {
      const message = `the segment is in file ${segment.file} of ${dataFiles.length}, after segments of file ${file}`;
      report('DATA_FILE_LAYOUT', where, message);
      return;
    }
    const expected = alignUp(end, LIMITS.segmentAlignment);
    if (segment.offset !== expected) {
      report(
        'SEGMENT_LAYOUT',
        where,
        `the segment begins at byte ${segment.offset}, but must begin at ${expected}`,
      );
    }
    if (segment.length < 1) report('SEGMENT_LAYOUT', where, 'the segment is empty');
    end = segment.offset + segment.length;
  }
  checkFileEnd(manifest, file, end, report);
  if (file < dataFiles.length) {
    report('DATA_FILE_LAYOUT', `data file ${file + 1}`, 'no segment is in the file');
  }
}

function checkFileEnd(manifest: Manifest, file: number, end: number, report: Report): void {
  const length = file === 0 ? manifest.fileLength : manifest.dataFiles[file - 1]!.length;
  if (end === length) return;
  const message = `the last segment ends at ${end}, but the file at ${length}`;
  if (file === 0) report('FILE_LENGTH', 'file length', message);
  else report('DATA_FILE_LAYOUT', `data file ${file}`, message);
}

function checkSegment(
  segment: Segment,
  { parts, owners }: Parts,
  indices: readonly number[],
  report: Report,
): void {
  let end = 0;
  for (const index of indices) {
    const part = parts[index]!;
    const { offset, length } = part;
    // The subtraction cannot overflow, unlike offset + length.
    if (length > segment.length || offset > segment.length - length) {
      const range = `${length} bytes at ${offset}`;
      report(
        'PLANE_RANGE',
        placeOf(part, owners[index]!),
        `${range} do not fit in segment ${segment.name} of ${segment.length} bytes`,
      );
      return;
    }
    const expected = alignUp(end, LIMITS.planeAlignment);
    if (offset !== expected) {
      const message = `it begins at byte ${offset} of segment ${segment.name}, but must begin at ${expected}`;
      report(offset < end ? 'PLANE_OVERLAP' : 'PLANE_LAYOUT', placeOf(part, owners[index]!), message);
    }
    end = offset + length;
  }
  if (end !== segment.length) {
    const message = `its contents end at ${end}, but the segment at ${segment.length}`;
    report('SEGMENT_LAYOUT', `segment ${segment.name}`, message);
  }
}
