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

class PlacedRegion implements Region {
  readonly offset: number;
  readonly length: number;
  readonly tensor: TensorInfo | null;
  readonly role: string;

  constructor({ offset, length, role }: Plane | Asset, tensor: TensorInfo | null) {
    this.offset = offset;
    this.length = length;
    this.tensor = tensor;
    this.role = role;
  }

  get where(): string {
    return this.tensor ? `tensor ${this.tensor.name}, plane ${this.role}` : `asset ${this.role}`;
  }
}

/** The regions of every segment, sorted by offset; those of segments that do not exist are left out. */
export function listRegions(manifest: Pick<Manifest, 'assets' | 'tensors' | 'segments'>): Region[][] {
  const regions: Region[][] = manifest.segments.map(() => []);
  for (const asset of manifest.assets) regions[asset.segment]?.push(new PlacedRegion(asset, null));
  for (const tensor of manifest.tensors) {
    for (const plane of tensor.planes) regions[plane.segment]?.push(new PlacedRegion(plane, tensor));
  }
  for (const list of regions) list.sort((a, b) => a.offset - b.offset);
  return regions;
}

/** Reports every broken rule about places: of planes and assets in segments, and of segments in their files. */
export function checkLayout(manifest: Manifest, segmentBase: number, report: Report): void {
  const { segments } = manifest;
  if (segments.length === 0) report('SEGMENT_LAYOUT', 'segments', 'the file has no segment');
  checkSegments(manifest, segmentBase, report);
  checkSegmentIndices(manifest, report);
  for (const [i, regions] of listRegions(manifest).entries()) checkRegions(segments[i]!, regions, report);
}

function checkSegmentIndices({ assets, tensors, segments }: Manifest, report: Report): void {
  const check = (part: Plane | Asset, tensor: TensorInfo | null): void => {
    if (part.segment < segments.length) return;
    const message = `segment ${part.segment} does not exist; there are ${segments.length}`;
    report('PLANE_RANGE', new PlacedRegion(part, tensor).where, message);
  };
  for (const asset of assets) check(asset, null);
  for (const tensor of tensors) for (const plane of tensor.planes) check(plane, tensor);
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

function checkRegions(segment: Segment, regions: readonly Region[], report: Report): void {
  let end = 0;
  for (const region of regions) {
    const { offset, length } = region;
    // The subtraction cannot overflow, unlike offset + length.
    if (length > segment.length || offset > segment.length - length) {
      const range = `${length} bytes at ${offset}`;
      report(
        'PLANE_RANGE',
        region.where,
        `${range} do not fit in segment ${segment.name} of ${segment.length} bytes`,
      );
      return;
    }
    const expected = alignUp(end, LIMITS.planeAlignment);
    if (offset !== expected) {
      const message = `it begins at byte ${offset} of segment ${segment.name}, but must begin at ${expected}`;
      report(offset < end ? 'PLANE_OVERLAP' : 'PLANE_LAYOUT', region.where, message);
    }
    end = offset + length;
  }
  if (end !== segment.length) {
    const message = `its contents end at ${end}, but the segment at ${segment.length}`;
    report('SEGMENT_LAYOUT', `segment ${segment.name}`, message);
  }
}
