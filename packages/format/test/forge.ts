// Containers with a chosen defect and otherwise right, header hash included, so that a test meets one rule alone.
import { createMemorySource, fromHex, type Manifest, openContainer, sha256 } from '@duobit/format';
import { encodeHeader, type HeaderContent } from '../src/header-encode.ts';
import { alignUp, HASH_OFFSET } from '../src/preamble.ts';

type Mutable<T> = T extends Uint8Array
  ? T
  : T extends object
    ? { -readonly [K in keyof T]: Mutable<T[K]> }
    : T;

export type MutableContent = Mutable<HeaderContent>;

/** The tensor of a name, which exists. */
export const tensor = (content: MutableContent, name: string) =>
  content.tensors.find((candidate) => candidate.name === name)!;

/** The header content of a good file, as a copy that may be changed. */
export async function readContent(
  bytes: Uint8Array,
): Promise<{ content: MutableContent; manifest: Manifest }> {
  const { manifest } = await openContainer(createMemorySource(bytes));
  const base = alignUp(manifest.headerLength, 16_384);
  const segments = manifest.segments.map(({ name, file, offset, length, chunkHashes }) => ({
    name,
    file,
    offset: file === 0 ? offset - base : offset,
    length,
    chunkHashes: fromHex(chunkHashes.join('')),
  }));
  const content: HeaderContent = { ...manifest, segments };
  // One by one, as tensors of a manifest may share their encoding.
  const tensors = content.tensors.map((tensor) => structuredClone(tensor));
  return { content: { ...structuredClone(content), tensors } as MutableContent, manifest };
}

/** The file with another header; the data stays where it is unless the header's padded length changes. */
export async function forgeHeader(
  bytes: Uint8Array,
  change: (content: MutableContent) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { content, manifest } = await readContent(bytes);
  const oldBase = alignUp(manifest.headerLength, 16_384);
  change(content);
  const newBase = alignUp(encodeHeader(content, 0, 0).length, 16_384);
  const forged = new Uint8Array(newBase + bytes.length - oldBase);
  forged.set(encodeHeader(content, newBase, forged.length));
  forged.set(bytes.subarray(oldBase), newBase);
  return rehashHeader(forged);
}

/** Makes the header's hash right again after a change to its bytes. In place. */
export async function rehashHeader(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const length = Math.min(new DataView(bytes.buffer).getUint32(20, true), bytes.length);
  bytes.fill(0, HASH_OFFSET, HASH_OFFSET + 32);
  bytes.set(await sha256(bytes.slice(0, length)), HASH_OFFSET);
  return bytes;
}

/** Changes data bytes of a file whose segments have one chunk each, and makes all hashes right again. */
export async function forgeData(
  bytes: Uint8Array,
  change: (data: Uint8Array, manifest: Manifest) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { manifest } = await readContent(bytes);
  const changed = new Uint8Array(bytes);
  change(changed, manifest);
  const hashes: Uint8Array<ArrayBuffer>[] = [];
  for (const { offset, length } of manifest.segments) {
    hashes.push(await sha256(changed.slice(offset, offset + length)));
  }
  const forged = await forgeHeader(bytes, (content) => {
    for (const [i, segment] of content.segments.entries()) segment.chunkHashes = hashes[i]!;
  });
  const { offset } = manifest.segments[0]!;
  forged.set(changed.subarray(offset), offset);
  return forged;
}
