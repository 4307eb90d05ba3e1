// What a model is, whatever file it lies in: one SHA-256 that stays the same when a container is split, merged or
// packed anew, and one a tensor to tell which differ. docs/format.md, section 19.1, has the exact bytes.
import { encodingToFields } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { InputRotation as InputRotationId } from './generated/duobit/input-rotation.ts';
import { LIMITS } from './generated/limits.ts';
import type { Manifest, Plane, PlaneRole, TensorInfo, UnknownRole } from './manifest.ts';
import { assetRoleToId, planeRoleToId } from './registry.ts';
import { sha256, toHex } from './sha256.ts';
import { createSha256 } from './sha256-stream.ts';

/** What is needed of an opened container. */
export interface ContentSource {
  readonly name: string;
  readonly manifest: Manifest;
  /** Bytes of a segment, whose chunk hashes were right. */
  readSegment(segment: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

export interface PlaneDigest {
  readonly role: PlaneRole | UnknownRole;
  readonly length: number;
  /** SHA-256 of the plane's bytes, hex. */
  readonly sha256: string;
}

/** The hash of one tensor, and those of its planes. */
export interface TensorDigest {
  readonly name: string;
  /** Over everything but the name: two tensors with the same digest have the same values. */
  readonly sha256: string;
  readonly planes: readonly PlaneDigest[];
}

/** Hash of what a model computes with, wherever its bytes lie. */
export interface ContentDigest {
  readonly sha256: string;
  /** The canonical JSON that `sha256` is the hash of. */
  readonly text: string;
  /** Sorted by name. */
  readonly tensors: readonly TensorDigest[];
}

/** Options of `contentDigest`. */
export interface ContentDigestOptions {
  /** Ends the work with `ABORTED`. */
  readonly signal?: AbortSignal;
  /** Called after each piece, with bytes of planes and assets. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Reads all tensors and assets once. Neither metadata, provenance and KV cache advice nor the order and places of
 * anything have a part in the digest.
 * @throws DuobitError `ABORTED`, `CHUNK_HASH`, or what the source throws
 */
export async function contentDigest(
  source: ContentSource,
  options: ContentDigestOptions = {},
): Promise<ContentDigest> {
  const { architecture, specialTokens, assets, tensors } = source.manifest;
  const hashes = await hashPlaces(source, options);
  const hashOf = (place: Place): string => hashes.get(placeKey(place))!;
  const assetEntries = assets.map((asset) => ({ role: assetRoleToId(asset.role), sha256: hashOf(asset) }));
  const digests: TensorDigest[] = [];
  for (const tensor of tensors) {
    const planes = tensor.planes.map((plane) => {
      return { role: plane.role, length: plane.length, sha256: hashOf(plane) };
    });
    digests.push({ name: tensor.name, sha256: await hashText(tensorText(tensor, planes)), planes });
  }
  const text = canonicalJson({
    type: 'duobit-content',
    version: 1,
    architecture: toJson(architecture),
    special_tokens: toJson(specialTokens),
    assets: assetEntries,
    tensors: digests.map(({ name, sha256 }) => ({ name, sha256 })),
  });
  return { sha256: await hashText(text), text, tensors: digests };
}

/** The canonical JSON of a tensor without its name. */
function tensorText(tensor: TensorInfo, planes: readonly PlaneDigest[]): string {
  const { id, ...fields } = encodingToFields(tensor.encoding);
  // Fields at 0, the schema's default, are left out, so that fields to come do not change what there is.
  const parameters = Object.entries(fields).filter(([, value]) => value !== 0);
  return canonicalJson({
    shape: toJson(tensor.shape),
    encoding: toJson({ id, ...Object.fromEntries(parameters) }),
    ...(tensor.activation ? { activation: toJson(tensor.activation) } : {}),
    ...(tensor.inputRotation ? { input_rotation: InputRotationId[tensor.inputRotation] } : {}),
    planes: planes
      .map(({ role, sha256 }) => ({ role: planeRoleToId(role), sha256 }))
      .sort((a, b) => a.role - b.role),
  });
}

type Place = Pick<Plane, 'segment' | 'offset' | 'length'>;

function placeKey({ segment, offset }: Place): string {
  return `${segment}:${offset}`;
}

/**
 * SHA-256 of every plane and asset, hex, by its place. In file order and in pieces that end where chunks end, so
 * that each chunk is read and checked once.
 */
async function hashPlaces(
  source: ContentSource,
  { signal, onProgress }: ContentDigestOptions,
): Promise<Map<string, string>> {
  const { assets, tensors } = source.manifest;
  const places: Place[] = [...assets, ...tensors.flatMap(({ planes }) => planes)];
  places.sort((a, b) => a.segment - b.segment || a.offset - b.offset);
  const total = places.reduce((sum, { length }) => sum + length, 0);
  const hashes = new Map<string, string>();
  let done = 0;
  for (const place of places) {
    const stream = createSha256();
    const end = place.offset + place.length;
    for (let at = place.offset; at < end; ) {
      if (signal?.aborted) {
        throw new DuobitError('ABORTED', 'hashing was stopped by the caller', { source: source.name });
      }
      const border = (Math.floor(at / LIMITS.chunkBytes) + 1) * LIMITS.chunkBytes;
      const size = Math.min(border, end) - at;
      stream.update(await source.readSegment(place.segment, at, size));
      at += size;
      done += size;
      onProgress?.(done, total);
    }
    hashes.set(placeKey(place), toHex(await stream.digest()));
  }
  return hashes;
}

function hashText(text: string): Promise<string> {
  return sha256(new TextEncoder().encode(text)).then(toHex);
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/**
 * A part of a manifest as JSON whose text no language writes differently: names in snake_case, members that are null
 * left out, numbers that are not safe integers as the 16 hexadecimal digits of their binary64, most significant first.
 */
function toJson(value: unknown): Json {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : float64Hex(value);
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== null);
    return Object.fromEntries(members.map(([key, member]) => [snakeCase(key), toJson(member)]));
  }
  return typeof value === 'boolean' ? value : String(value);
}

function float64Hex(value: number): string {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return toHex(new Uint8Array(view.buffer));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * RFC 8785 for what occurs here: no white space, members sorted by name. (Its rules for fractions are never needed, and
 * all strings are printable ASCII.)
 */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`;
}
