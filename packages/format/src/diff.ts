// Whether two containers hold the same model, and what differs: names, places, words about it, or values. Equal
// chunk hashes count as equal bytes; the rest is read in pieces, so that models of any size compare.
import type { Container } from './container.ts';
import { decodeLayerWeights, decodeTensor } from './decode.ts';
import { elementCount } from './encodings.ts';
import { LIMITS } from './generated/limits.ts';
import type { Asset, Encoding, Plane, TensorData, TensorInfo } from './manifest.ts';
import type { InputRotation } from './rotation.ts';
import { readRowBlocks } from './row-blocks.ts';
import { sha256, toHex } from './sha256.ts';

const CHUNK = LIMITS.chunkBytes;
/** Values are compared without being asked for up to this many. */
const FEW_VALUES = 2 ** 18;

/** `a` and `b` are JSON values; undefined where a side has no such field. */
export interface FieldDifference {
  readonly field: string;
  readonly a: unknown;
  readonly b: unknown;
}

/** How far the values of a tensor are apart. */
export interface ValueDifference {
  /** Values that are not equal. */
  readonly count: number;
  /** Greatest |a - b|. */
  readonly maximum: number;
  /** Root of sum (a - b)^2 / sum a^2; null when a is all zero and b is not. */
  readonly relativeRms: number | null;
}

/** A tensor of one name that is not the same on both sides. */
export interface TensorDifference {
  readonly name: string;
  readonly shape: { readonly a: readonly number[]; readonly b: readonly number[] } | null;
  readonly encoding: { readonly a: Encoding; readonly b: Encoding } | null;
  readonly inputRotation: {
    readonly a: InputRotation | undefined;
    readonly b: InputRotation | undefined;
  } | null;
  /** Fields of the activation quantizer. */
  readonly activation: readonly FieldDifference[];
  /** Roles of planes whose bytes differ; empty when shape or encoding differ. */
  readonly planes: readonly string[];
  /**
   * Of what is stored, or where the input rotations differ of the layers' own weights, to which they are undone. Null when
   * not compared: bytes and rotations are equal, the shapes differ, an encoding is unknown, or it was
   * not asked for.
   */
  readonly values: ValueDifference | null;
}

/** A tensor that both sides have under two names. */
export interface RenamedTensor {
  readonly a: string;
  readonly b: string;
  readonly activation: readonly FieldDifference[];
}

/** What `compareContainers` found. */
export interface ContainerDifference {
  /**
   * 'identical': equal headers, which bind the data; 'repacked': the same content in other places; 'metadata': the
   * same model, other words about it; 'different': not the same model, nor the same content digest.
   */
  readonly verdict: 'identical' | 'repacked' | 'metadata' | 'different';
  /** Architecture and special tokens. */
  readonly model: readonly FieldDifference[];
  /** By role; `a` and `b` say what each side has. */
  readonly assets: readonly FieldDifference[];
  /** Provenance, metadata, KV cache advice, media types. */
  readonly metadata: readonly FieldDifference[];
  /** Version, sizes, segments, data files. */
  readonly layout: readonly FieldDifference[];
  readonly tensors: {
    readonly equal: number;
    readonly renamed: readonly RenamedTensor[];
    readonly removed: readonly TensorInfo[];
    readonly added: readonly TensorInfo[];
    readonly changed: readonly TensorDifference[];
  };
}

/** Options of `compareContainers`. */
export interface CompareOptions {
  /** Compare the decoded values of every changed tensor; default: only of those up to 2^18 values. */
  readonly values?: boolean;
  /** Called after each tensor. May throw to stop. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Compares two opened containers. Hashes in the headers are trusted where they are equal; bytes that are read are
 * checked against theirs.
 * @throws DuobitError `CHUNK_HASH`, or what the sources throw
 */
export async function compareContainers(
  a: Container,
  b: Container,
  options: CompareOptions = {},
): Promise<ContainerDifference> {
  return new Comparison(a, b, options).run();
}

/** Differences of two JSON-like values, field by field; lists of objects count as one field. */
export function compareFields(a: unknown, b: unknown, path = ''): FieldDifference[] {
  if (isRecord(a) && isRecord(b)) {
    const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
    return names.flatMap((name) => compareFields(a[name], b[name], path === '' ? name : `${path}.${name}`));
  }
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [{ field: path, a, b }];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

type Decode = (tensor: TensorData) => Float32Array<ArrayBuffer>;
type Range = Pick<Plane, 'segment' | 'offset' | 'length'>;

class Comparison {
  readonly #a: Container;
  readonly #b: Container;
  readonly #options: CompareOptions;

  constructor(a: Container, b: Container, options: CompareOptions) {
    this.#a = a;
    this.#b = b;
    this.#options = options;
  }

  async run(): Promise<ContainerDifference> {
    const [a, b] = [this.#a.manifest, this.#b.manifest];
    const model = compareFields(pickModel(this.#a), pickModel(this.#b));
    const metadata = compareFields(pickWords(this.#a, b.assets), pickWords(this.#b, a.assets));
    const layout = compareFields(pickLayout(this.#a), pickLayout(this.#b));
    if (a.headerSha256 === b.headerSha256) {
      const tensors = { equal: a.tensors.length, renamed: [], removed: [], added: [], changed: [] };
      return { verdict: 'identical', model, assets: [], metadata, layout, tensors };
    }
    const assets = await this.#compareAssets();
    const tensors = await this.#compareTensors();
    const { renamed, removed, added, changed } = tensors;
    const sameTensors = [renamed, removed, added, changed].every((list) => list.length === 0);
    const sameModel = model.length === 0 && assets.length === 0 && sameTensors;
    const verdict = !sameModel ? 'different' : metadata.length > 0 ? 'metadata' : 'repacked';
    return { verdict, model, assets, metadata, layout, tensors };
  }

  async #compareAssets(): Promise<FieldDifference[]> {
    const [a, b] = [this.#a.manifest.assets, this.#b.manifest.assets].map(
      (list) => new Map<string, Asset>(list.map((asset) => [asset.role, asset])),
    ) as [Map<string, Asset>, Map<string, Asset>];
    const differences: FieldDifference[] = [];
    for (const role of new Set([...a.keys(), ...b.keys()])) {
      const [x, y] = [a.get(role), b.get(role)];
      if (x && y && (await this.#areEqual(x, y))) continue;
      differences.push({
        field: role,
        a: await describeAsset(this.#a, x),
        b: await describeAsset(this.#b, y),
      });
    }
    return differences;
  }

  async #compareTensors(): Promise<ContainerDifference['tensors']> {
    const others = new Map(this.#b.tensorNames.map((name) => [name, this.#b.tensorInfo(name)]));
    const names = this.#a.tensorNames;
    const gone: TensorInfo[] = [];
    const changed: TensorDifference[] = [];
    let equal = 0;
    for (const [index, name] of names.entries()) {
      const tensor = this.#a.tensorInfo(name);
      const other = others.get(name);
      others.delete(name);
      const difference = other && (await this.#compareTensor(tensor, other));
      if (!other) gone.push(tensor);
      else if (difference) changed.push(difference);
      else equal += 1;
      this.#options.onProgress?.(index + 1, names.length);
    }
    const come = [...others.values()];
    const renamed = await this.#findRenamed(gone, come);
    const left = new Set(renamed.map(({ a }) => a));
    const found = new Set(renamed.map(({ b }) => b));
    return {
      equal,
      renamed,
      removed: gone.filter(({ name }) => !left.has(name)),
      added: come.filter(({ name }) => !found.has(name)),
      changed,
    };
  }

  async #compareTensor(a: TensorInfo, b: TensorInfo): Promise<TensorDifference | null> {
    const sameShape = JSON.stringify(a.shape) === JSON.stringify(b.shape);
    const sameEncoding = compareFields(a.encoding, b.encoding).length === 0;
    const sameRotation = a.inputRotation === b.inputRotation;
    const activation = compareFields(a.activation, b.activation, 'activation');
    const planes: string[] = [];
    if (sameShape && sameEncoding) {
      for (const [i, plane] of a.planes.entries()) {
        const other = b.planes[i];
        if (other?.role !== plane.role || !(await this.#areEqual(plane, other))) planes.push(plane.role);
      }
      for (const { role } of b.planes.slice(a.planes.length)) planes.push(role);
      if (planes.length === 0 && activation.length === 0 && sameRotation) return null;
    }
    const known = a.encoding.kind !== 'unknown' && b.encoding.kind !== 'unknown';
    const wanted = this.#options.values === true || elementCount(a.shape) <= FEW_VALUES;
    const valuesMayDiffer = !sameEncoding || !sameRotation || planes.length > 0;
    return {
      name: a.name,
      shape: sameShape ? null : { a: a.shape, b: b.shape },
      encoding: sameEncoding ? null : { a: a.encoding, b: b.encoding },
      inputRotation: sameRotation ? null : { a: a.inputRotation, b: b.inputRotation },
      activation,
      planes,
      values:
        sameShape && valuesMayDiffer && known && wanted
          ? await this.#compareValues(
              a.name,
              sameRotation && !isSplit(a) && !isSplit(b) ? decodeTensor : decodeLayerWeights,
            )
          : null,
    };
  }

  async #compareValues(name: string, decode: Decode): Promise<ValueDifference> {
    const others = new ValueReader(this.#b, name, decode);
    let [count, maximum, error, power] = [0, 0, 0, 0];
    for await (const block of readRowBlocks(this.#a, name)) {
      const values = decode(block);
      const other = await others.take(values.length);
      for (const [i, value] of values.entries()) {
        const distance = Math.abs(value - other[i]!);
        power += value * value;
        if (distance === 0) continue;
        count += 1;
        error += distance * distance;
        // Written so that NaN, of which a valid file has none, is not lost.
        if (!(distance <= maximum)) maximum = distance;
      }
    }
    return { count, maximum, relativeRms: error === 0 ? 0 : power > 0 ? Math.sqrt(error / power) : null };
  }

  /** Pairs tensors of equal shape, encoding, input rotation and bytes under two names. */
  async #findRenamed(gone: readonly TensorInfo[], come: readonly TensorInfo[]): Promise<RenamedTensor[]> {
    const key = ({ shape, encoding, inputRotation, planes }: TensorInfo): string =>
      JSON.stringify([
        shape,
        Object.entries(encoding).sort(),
        inputRotation,
        planes.map(({ role, length }) => [role, length]),
      ]);
    const candidates = new Map<string, { tensor: TensorInfo; print: string | null }[]>();
    for (const tensor of come) {
      const list = candidates.get(key(tensor)) ?? [];
      list.push({ tensor, print: null });
      candidates.set(key(tensor), list);
    }
    const renamed: RenamedTensor[] = [];
    for (const tensor of gone) {
      const list = candidates.get(key(tensor)) ?? [];
      if (list.length === 0) continue;
      const print = await fingerprint(this.#a, tensor);
      for (const [i, candidate] of list.entries()) {
        candidate.print ??= await fingerprint(this.#b, candidate.tensor);
        if (candidate.print !== print) continue;
        const activation = compareFields(tensor.activation, candidate.tensor.activation, 'activation');
        renamed.push({ a: tensor.name, b: candidate.tensor.name, activation });
        list.splice(i, 1);
        break;
      }
    }
    return renamed;
  }

  /** Whether a range of A and one of B hold equal bytes; reads what the chunk hashes leave open. */
  async #areEqual(a: Range, b: Range): Promise<boolean> {
    if (a.length !== b.length) return false;
    const hashes = [this.#a.manifest.segments[a.segment]!, this.#b.manifest.segments[b.segment]!];
    const aligned = a.offset % CHUNK === b.offset % CHUNK;
    for (let done = 0; done < a.length; ) {
      const from = a.offset + done;
      const size = Math.min(CHUNK - (from % CHUNK), a.length - done);
      const [x, y] = [from, b.offset + done].map((at, i) => hashes[i]!.chunkHashes[Math.floor(at / CHUNK)]);
      if (!aligned || x !== y) {
        const left = await this.#a.readSegment(a.segment, from, size);
        const right = await this.#b.readSegment(b.segment, b.offset + done, size);
        if (!areEqualBytes(left, right)) return false;
      }
      done += size;
    }
    return true;
  }
}

function pickModel({ manifest }: Container): object {
  const { architecture, specialTokens } = manifest;
  return { architecture, specialTokens };
}

/** What is said about a model and changes nothing that it computes. Media types only of assets that both have. */
function pickWords({ manifest }: Container, otherAssets: readonly Asset[]): object {
  const { provenance, metadata, kvCache, assets } = manifest;
  const roles = new Set(otherAssets.map(({ role }) => role));
  const shared = assets.filter(({ role }) => roles.has(role));
  const mediaTypes = Object.fromEntries(shared.map(({ role, mediaType }) => [role, mediaType]));
  return { provenance, metadata, kvCache, mediaTypes };
}

function pickLayout({ manifest }: Container): object {
  const { formatVersion, compatibleFeatures, fileLength, headerLength, segments, dataFiles } = manifest;
  return {
    formatVersion: `${formatVersion.major}.${formatVersion.minor}`,
    compatibleFeatures,
    fileLength,
    headerLength,
    segments: segments.map(({ name, file, length }) => ({ name, file, length })),
    dataFiles: dataFiles.map(({ name, length }) => ({ name, length })),
  };
}

async function describeAsset(container: Container, asset: Asset | undefined): Promise<object | null> {
  if (!asset) return null;
  const bytes = await container.readSegment(asset.segment, asset.offset, asset.length);
  return { mediaType: asset.mediaType, length: asset.length, sha256: toHex(await sha256(bytes)) };
}

/** A plain loop: `every` with a function is several times slower. */
function areEqualBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Hash over the hashes of 4 MiB pieces of every plane. */
async function fingerprint(container: Container, tensor: TensorInfo): Promise<string> {
  let hashes = '';
  for (const { segment, offset, length } of tensor.planes) {
    for (let done = 0; done < length; done += CHUNK) {
      const piece = await container.readSegment(segment, offset + done, Math.min(CHUNK, length - done));
      hashes += toHex(await sha256(piece));
    }
  }
  return toHex(await sha256(new TextEncoder().encode(hashes)));
}

/** Decoded values in pieces of any length, however the tensor is cut into blocks. */
class ValueReader {
  readonly #blocks: AsyncGenerator<TensorData, void>;
  readonly #decode: Decode;
  #rest = new Float32Array(0);

  constructor(container: Container, name: string, decode: Decode) {
    this.#blocks = readRowBlocks(container, name);
    this.#decode = decode;
  }

  /** The next `count` values, which there must be. */
  async take(count: number): Promise<Float32Array> {
    const taken = new Float32Array(count);
    for (let done = 0; done < count; ) {
      if (this.#rest.length === 0) {
        const { value } = await this.#blocks.next();
        if (!value) break;
        this.#rest = this.#decode(value);
      }
      const size = Math.min(count - done, this.#rest.length);
      taken.set(this.#rest.subarray(0, size), done);
      this.#rest = this.#rest.subarray(size);
      done += size;
    }
    return taken;
  }
}

/** Whether what is stored is not all that the layer's weights are made of, as `decodeTensor` gives the rotated part only. */
function isSplit({ encoding, inputRotation }: TensorInfo): boolean {
  return encoding.kind === 'w11-outlier' && inputRotation !== undefined;
}
