// Canonical form: the one way in which this package writes a model. docs/format.md, "Canonical form".
import { compareTensorNames, segmentOfTensor } from './architecture.ts';
import { LIMITS } from './generated/limits.ts';
import { encodeHeader, type HeaderContent } from './header-encode.ts';
import type { Manifest } from './manifest.ts';
import { listRegions } from './places.ts';
import { alignUp } from './preamble.ts';
import type { Report } from './problems.ts';
import { fromHex } from './sha256.ts';

/** What the header of a manifest stores. */
export function toHeaderContent(manifest: Manifest): HeaderContent {
  const base = alignUp(manifest.headerLength, LIMITS.segmentAlignment);
  const segments = manifest.segments.map(({ name, file, offset, length, chunkHashes }) => ({
    name,
    file,
    offset: file === 0 ? offset - base : offset,
    length,
    chunkHashes: fromHex(chunkHashes.join('')),
  }));
  return { ...manifest, segments };
}

/** Whether encoding the manifest again gives these header bytes, whose hash field is zero. Reports where not. */
export function checkCanonicalHeader(manifest: Manifest, header: Uint8Array, report: Report): boolean {
  const base = alignUp(manifest.headerLength, LIMITS.segmentAlignment);
  const expected = encodeHeader(toHeaderContent(manifest), base, manifest.fileLength);
  const shorter = Math.min(header.length, expected.length);
  let at = 0;
  while (at < shorter && header[at] === expected[at]) at += 1;
  if (at === shorter && header.length === expected.length) return true;
  const lengths =
    header.length === expected.length ? '' : ` and has ${header.length} bytes, not ${expected.length}`;
  report('CANONICAL_HEADER', `header, byte ${at}`, `the header differs from its canonical form${lengths}`);
  return false;
}

/** Reports the first plane or asset that does not come where order of first use puts it. */
export function checkCanonicalOrder(manifest: Manifest, report: Report): void {
  const assets = manifest.assets.map(({ role }) => ({ segment: 'assets', key: `asset ${role}` }));
  const tensors = [...manifest.tensors].sort((a, b) => compareTensorNames(a.name, b.name));
  const planes = tensors.flatMap(({ name, planes }) =>
    planes.map(({ role }) => ({ segment: segmentOfTensor(name), key: `tensor ${name}, plane ${role}` })),
  );
  const expected = [...assets, ...planes];
  let next = 0;
  for (const [index, regions] of listRegions(manifest).entries()) {
    for (const { where } of regions) {
      const due = expected[next++]!;
      const segment = manifest.segments[index]!.name;
      if (where === due.key && segment === due.segment) continue;
      const message = `${where} is in segment ${segment} where ${due.key} is due in ${due.segment}`;
      report('CANONICAL_LAYOUT', where, message);
      return;
    }
  }
}
