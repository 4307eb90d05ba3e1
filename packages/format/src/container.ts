// An opened container: a frozen manifest, and tensors and assets read on demand.
import { compareTensorNames } from './architecture.ts';
import { DuobitError } from './errors.ts';
import { FileSet, type OpenOptions } from './file-set.ts';
import { readManifest } from './header-read.ts';
import type {
  Allocate,
  AssetRole,
  Manifest,
  ModelSource,
  PlaneRole,
  TensorData,
  TensorInfo,
} from './manifest.ts';
import { requireRange } from './memory-source.ts';
import { REMEDY_UPDATE, throwProblems } from './problems.ts';
import { type ChunkSource, SegmentReader } from './segment-reader.ts';
import type { ByteSource } from './source.ts';

export interface Container extends ModelSource {
  readonly manifest: Manifest;
  tensorInfo(name: string): TensorInfo;
  readPlane(name: string, role: PlaneRole): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Bytes of a segment as they are, of planes of any encoding, once their chunk hashes were right.
   * @throws DuobitError `SOURCE_TRUNCATED` for a range that is not inside the segment, `CHUNK_HASH`, or what the source
   *   throws
   */
  readSegment(segment: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * Opens a container: checks its header wholly and its data not at all; chunk hashes are checked when their bytes
 * are first read. Data files are opened when they are first read. The container owns the source from then on, and
 * closes it with them.
 * @throws DuobitError any code of docs/format.md, "Validation", steps 1 to 5, or what the source throws; the source
 *   stays open then
 */
export async function openContainer(source: ByteSource, options: OpenOptions = {}): Promise<Container> {
  const manifest = await readManifest(source, throwProblems(source.name));
  // Unreachable: a missing manifest was reported, and reporting throws.
  if (!manifest)
    throw new DuobitError('INTERNAL', 'a header was refused without a reason', { source: source.name });
  return new OpenContainer(source, manifest, options);
}

class OpenContainer implements Container {
  readonly name: string;
  readonly manifest: Manifest;
  readonly tensorNames: readonly string[];
  readonly #source: ByteSource;
  readonly #files: FileSet;
  readonly #chunks: ChunkSource | null;
  readonly #reader: SegmentReader;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;

  constructor(source: ByteSource, manifest: Manifest, options: OpenOptions) {
    this.name = source.name;
    this.manifest = manifest;
    this.#source = source;
    this.#files = new FileSet(source, manifest.dataFiles, options);
    this.#chunks = options.chunks?.(manifest, (file) => this.#files.get(file)) ?? null;
    this.#reader = new SegmentReader(this.#files, manifest.segments, this.#chunks);
    this.#tensors = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
    this.tensorNames = Object.freeze([...this.#tensors.keys()].sort(compareTensorNames));
  }

  get architecture() {
    return this.manifest.architecture;
  }

  get specialTokens() {
    return this.manifest.specialTokens;
  }

  /** @throws DuobitError `TENSOR_UNKNOWN` */
  tensorInfo(name: string): TensorInfo {
    const info = this.#tensors.get(name);
    if (!info) {
      throw new DuobitError('TENSOR_UNKNOWN', 'the container has no tensor of this name', {
        source: this.name,
        where: `tensor ${name}`,
        remedy: 'List the names with `duobit inspect`',
      });
    }
    return info;
  }

  /**
   * @throws DuobitError `TENSOR_UNKNOWN`, `ENCODING_UNKNOWN`, `CHUNK_HASH`, `DATA_FILE_MISSING`, `DATA_FILE_LENGTH`,
   *   or what the source throws
   */
  async readTensor(name: string, allocate?: Allocate): Promise<TensorData> {
    const info = this.tensorInfo(name);
    if (info.encoding.kind === 'unknown') {
      throw new DuobitError('ENCODING_UNKNOWN', `encoding ${info.encoding.id} is not known to this release`, {
        source: this.name,
        where: `tensor ${name}`,
        remedy: REMEDY_UPDATE,
      });
    }
    const bytes = await this.#reader.readRanges(info.planes, allocate);
    const planes = Object.fromEntries(info.planes.map(({ role }, i) => [role, bytes[i]!]));
    return { info, planes };
  }

  /** @throws DuobitError `PLANE_MISSING`; otherwise as `readTensor` */
  async readPlane(name: string, role: PlaneRole): Promise<Uint8Array<ArrayBuffer>> {
    const plane = this.tensorInfo(name).planes.find((candidate) => candidate.role === role);
    if (!plane)
      throw new DuobitError('PLANE_MISSING', 'the tensor has no such plane', {
        source: this.name,
        where: `tensor ${name}, plane ${role}`,
        remedy: 'List the planes with `duobit inspect`',
      });
    return this.#reader.read(plane.segment, plane.offset, plane.length);
  }

  /** @throws DuobitError `CHUNK_HASH`, `DATA_FILE_MISSING`, `DATA_FILE_LENGTH`, or what the source throws */
  async readAsset(role: AssetRole): Promise<Uint8Array<ArrayBuffer> | null> {
    const asset = this.manifest.assets.find((candidate) => candidate.role === role);
    return asset ? this.#reader.read(asset.segment, asset.offset, asset.length) : null;
  }

  async readSegment(segment: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const where = this.manifest.segments[segment];
    requireRange(`${this.name}, segment ${where?.name ?? segment}`, where?.length ?? 0, offset, length);
    return this.#reader.read(segment, offset, length);
  }

  async close(): Promise<void> {
    await this.#files.close();
    await this.#source.close();
    await this.#chunks?.close();
  }
}
