// Blocks that are done, kept in files so that a run that was cut short goes on where it was. A file belongs to one run's
// inputs: its name carries a hash of them, so another checkpoint, text or recipe never finds it.
import { open, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ActivationQuantizer,
  DuobitError,
  type PlaneRole,
  sha256,
  type TensorInfo,
  toHex,
} from '@duobit/format';
import { makeFolder } from '@duobit/format/node';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { TrainingRecord } from '../distillation/retry.ts';
import type { LayerResult } from '../methods/layer-method.ts';
import { verifyError } from '../tensor-encoding.ts';
import { readResult } from './outliers.ts';

type LayerInfo = Pick<TensorInfo, 'name' | 'shape'>;

/**
 * What a file has on its second line, as JSON; the planes follow in this order, then nothing. The first line is the SHA-256 of all
 * that comes after it.
 */
interface Contents {
  readonly training: StoredRecord | null;
  readonly layers: readonly {
    readonly name: string;
    readonly encoding: NonNullable<LayerResult['packed']>['encoding'];
    readonly error: number;
    readonly activation: ActivationQuantizer;
    readonly planes: readonly { readonly role: PlaneRole; readonly bytes: number }[];
  }[];
}

/** A layer that is done, with the error that its report gives. */
export interface QuantizedLayer {
  readonly result: LayerResult;
  /** |(W - W^) X|^2 / |W X|^2 over the calibration tokens. */
  readonly error: number;
  /** Of the layer's input. */
  readonly activation: ActivationQuantizer;
}

/** JSON has no NaN and no infinity: those are strings. */
type StoredRecord = Omit<TrainingRecord, 'losses' | 'heldOutBefore'> & {
  readonly losses: readonly (number | string)[];
  readonly heldOutBefore: number | string;
};

/** Layers of a block by name, in order of use. */
export type BlockLayers = ReadonlyMap<string, QuantizedLayer>;

/** A block as it is kept. */
export interface KeptBlock {
  readonly layers: BlockLayers;
  /** How it was trained; null after stage 1, which trains nothing. */
  readonly training: TrainingRecord | null;
}

export interface BlockStore {
  /** Null when the block is not there, or what is there is damaged. */
  load(block: number, tensorInfo: (name: string) => LayerInfo): Promise<KeptBlock | null>;
  /** @throws DuobitError `WORK_FOLDER` when the disk is full or the folder cannot be written */
  save(block: number, kept: KeptBlock): Promise<void>;
  /** Removes the files of this run, and the folder when it is empty then. */
  clear(): Promise<void>;
}

/** Layers of a block that has been saved. @throws DuobitError `QUANTIZE_VERIFY` when they are damaged */
export async function loadLayers(
  store: BlockStore,
  checkpoint: Pick<Checkpoint, 'name' | 'tensorInfo'>,
  block: number,
): Promise<BlockLayers> {
  const kept = await store.load(block, (name) => checkpoint.tensorInfo(name));
  if (!kept) throw verifyError(checkpoint.name, `block ${block}`, 'it was damaged after it was kept');
  return kept.layers;
}

/** Keeps packed blocks in memory, for runs that are not to leave anything on disk. */
export function createMemoryStore(): BlockStore {
  const blocks = new Map<number, Uint8Array>();
  return {
    async load(block, tensorInfo) {
      const bytes = blocks.get(block);
      return bytes ? unpackBlock(Buffer.from(bytes), tensorInfo) : null;
    },
    async save(block, kept) {
      blocks.set(block, await packBlock(kept));
    },
    clear: async () => blocks.clear(),
  };
}

/**
 * @param folder made when the first block is saved
 * @param identity everything that the bytes depend on
 */
export async function createBlockStore(folder: string, identity: string): Promise<BlockStore> {
  const key = toHex(await sha256(new TextEncoder().encode(identity))).slice(0, 16);
  const pathOf = (block: number) => join(folder, `${key}-${String(block).padStart(4, '0')}.block`);
  const saved = new Set<number>();
  return {
    async load(block, tensorInfo) {
      const bytes = await readFile(pathOf(block)).catch(() => null);
      const kept = bytes && (await unpackBlock(bytes, tensorInfo));
      if (kept) saved.add(block);
      return kept;
    },
    async save(block, kept) {
      const path = pathOf(block);
      try {
        await makeFolder(folder);
        await writeDurably(`${path}.tmp`, await packBlock(kept));
        await rename(`${path}.tmp`, path);
        saved.add(block);
      } catch (cause) {
        await rm(`${path}.tmp`, { force: true }).catch(() => {});
        throw new DuobitError('WORK_FOLDER', `block ${block} cannot be kept: ${(cause as Error).message}`, {
          source: folder,
          remedy: 'Free space or name another folder; the blocks that are there will be used again',
          cause,
        });
      }
    },
    async clear() {
      for (const block of saved) await rm(pathOf(block), { force: true });
      await rmdir(folder).catch(() => {});
    },
  };
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A block as its file holds it. */
export async function packBlock({ layers, training }: KeptBlock): Promise<Buffer<ArrayBuffer>> {
  const planes: Uint8Array[] = [];
  const list: Contents['layers'][number][] = [];
  for (const [name, { result, error, activation }] of layers) {
    const { encoding, planes: own } = result.packed!;
    const entries = Object.entries(own) as [PlaneRole, Uint8Array][];
    planes.push(...entries.map(([, plane]) => plane));
    list.push({
      name,
      encoding,
      error,
      activation,
      planes: entries.map(([role, plane]) => ({ role, bytes: plane.length })),
    });
  }
  const contents: Contents = {
    training: training && {
      ...training,
      losses: training.losses.map(storeNumber),
      heldOutBefore: storeNumber(training.heldOutBefore),
    },
    layers: list,
  };
  const body = Buffer.concat([Buffer.from(`${JSON.stringify(contents)}\n`), ...planes]);
  return Buffer.concat([Buffer.from(`${toHex(await sha256(body))}\n`), body]);
}

function storeNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}

/** What `packBlock` was given; null when the bytes are damaged. */
export async function unpackBlock(
  bytes: Buffer,
  tensorInfo: (name: string) => LayerInfo,
): Promise<KeptBlock | null> {
  try {
    const first = bytes.indexOf(10);
    if (toHex(await sha256(bytes.subarray(first + 1))) !== bytes.toString('utf8', 0, first)) return null;
    const second = bytes.indexOf(10, first + 1);
    const { training, ...contents } = JSON.parse(bytes.toString('utf8', first + 1, second)) as Contents;
    const body = bytes.subarray(second + 1);
    let at = 0;
    const layers = new Map<string, QuantizedLayer>();
    for (const { name, encoding, error, activation, planes } of contents.layers) {
      const own: Partial<Record<PlaneRole, Uint8Array<ArrayBuffer>>> = {};
      for (const plane of planes) {
        own[plane.role] = Uint8Array.from(body.subarray(at, at + plane.bytes));
        at += plane.bytes;
      }
      const result = readResult(name, tensorInfo(name).shape, encoding, own);
      layers.set(name, { result, error, activation });
    }
    const record = training && {
      ...training,
      losses: training.losses.map(Number),
      heldOutBefore: Number(training.heldOutBefore),
    };
    return { layers, training: record };
  } catch {
    return null;
  }
}
