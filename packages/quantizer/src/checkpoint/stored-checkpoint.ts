// The Checkpoint over tensors that lie in files: reading whole tensors, checked rows, and the hash of the weights.
import { createHash } from 'node:crypto';
import {
  type Architecture,
  type AssetRole,
  type ByteSource,
  DuobitError,
  type SpecialTokens,
  type TensorData,
} from '@duobit/format';
import type { Checkpoint } from './checkpoint.ts';
import { cutRows, readStoredRows, type StoredTensor } from './stored-tensor.ts';
import { findNonFinite, widen } from './values.ts';

const HASH_CHUNK_BYTES = 4 * 1024 * 1024;

export interface StoredCheckpointParts {
  readonly kind: Checkpoint['kind'];
  readonly path: string;
  readonly name: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  /** Every tensor of the model, in order of first use. */
  readonly tensors: readonly StoredTensor[];
  readonly readAsset: (role: AssetRole) => Promise<Uint8Array<ArrayBuffer> | null>;
  /** Closed with the checkpoint. */
  readonly sources: readonly ByteSource[];
}

export class StoredCheckpoint implements Checkpoint {
  readonly kind: Checkpoint['kind'];
  readonly path: string;
  readonly name: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  readonly tensorNames: readonly string[];
  readonly #parts: StoredCheckpointParts;
  readonly #tensors: ReadonlyMap<string, StoredTensor>;

  constructor(parts: StoredCheckpointParts) {
    this.kind = parts.kind;
    this.path = parts.path;
    this.name = parts.name;
    this.architecture = Object.freeze(parts.architecture);
    this.specialTokens = Object.freeze(parts.specialTokens);
    this.tensorNames = Object.freeze(parts.tensors.map((tensor) => tensor.name));
    this.#parts = parts;
    this.#tensors = new Map(parts.tensors.map((tensor) => [tensor.name, tensor]));
  }

  tensorInfo(name: string): TensorData['info'] {
    const { shape, encoding } = this.#find(name);
    return { name, shape, encoding: { kind: encoding }, activation: null };
  }

  async readTensor(name: string): Promise<TensorData> {
    const tensor = this.#find(name);
    const info = this.tensorInfo(name);
    if (tensor.dequantize === null) {
      return { info, planes: { dense: await readStoredRows(tensor, 0, tensor.rows) } };
    }
    const values = new Float32Array(tensor.rows * tensor.columns);
    await decodeRows(tensor, 0, tensor.rows, values);
    return { info, planes: { dense: new Uint8Array(values.buffer) } };
  }

  async readRows(name: string, start: number, end: number): Promise<Float32Array<ArrayBuffer>> {
    const tensor = this.#find(name);
    const inside = Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end;
    if (!inside || end > tensor.rows) {
      throw new DuobitError(
        'CHECKPOINT_ROW_RANGE',
        `rows ${start} to ${end} of ${tensor.rows} do not exist`,
        {
          source: this.name,
          where: name,
          remedy: 'Ask for rows inside the tensor',
        },
      );
    }
    const values = new Float32Array((end - start) * tensor.columns);
    await decodeRows(tensor, start, end, values);
    const broken = findNonFinite(values);
    if (broken >= 0) {
      const row = start + Math.floor(broken / tensor.columns);
      const column = broken % tensor.columns;
      const index = tensor.shape.length === 1 ? `[${column}]` : `[${row}, ${column}]`;
      throw new DuobitError('CHECKPOINT_NOT_FINITE', `the weight at ${index} is ${values[broken]}`, {
        source: this.name,
        where: name,
        remedy: 'Get the checkpoint again; a model with such a weight cannot work',
      });
    }
    return values;
  }

  async readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    return this.readRows(name, 0, this.#find(name).rows);
  }

  async weightsSha256(signal?: AbortSignal): Promise<string> {
    const hash = createHash('sha256');
    for (const name of [...this.tensorNames].sort((a, b) => (a < b ? -1 : 1))) {
      const { source, offset, rows, rowBytes } = this.#find(name);
      const end = offset + rows * rowBytes;
      for (let at = offset; at < end; at += HASH_CHUNK_BYTES) {
        signal?.throwIfAborted();
        hash.update(await source.read(at, Math.min(HASH_CHUNK_BYTES, end - at)));
      }
    }
    return hash.digest('hex');
  }

  readAsset(role: AssetRole): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.#parts.readAsset(role);
  }

  async close(): Promise<void> {
    await Promise.all(this.#parts.sources.map((source) => source.close()));
  }

  #find(name: string): StoredTensor {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      throw new DuobitError('CHECKPOINT_TENSOR_UNKNOWN', `the model has no tensor ${JSON.stringify(name)}`, {
        source: this.name,
        where: name,
        remedy: 'Use one of the names in tensorNames',
      });
    }
    return tensor;
  }
}

async function decodeRows(
  tensor: StoredTensor,
  start: number,
  end: number,
  out: Float32Array<ArrayBuffer>,
): Promise<void> {
  for (const [from, to] of cutRows(tensor, start, end)) {
    const bytes = await readStoredRows(tensor, from, to);
    const at = (from - start) * tensor.columns;
    if (tensor.dequantize === null) widen(bytes, tensor.encoding, out, at);
    else tensor.dequantize(bytes, out, at);
  }
}
