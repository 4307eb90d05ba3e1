// Damage to good files, made from a seed: the same seed and number give the same mutant, whatever ran before.
import { createHash } from 'node:crypto';
import { LIMITS } from '@duobit/format';
import { HASH_BYTES, HASH_OFFSET } from '../../src/preamble.ts';
import { createRandom } from '../sample.ts';
import type { GoodFile } from './good-files.ts';

/** The most that an extension adds. */
const MOST_EXTRA = 40_000;

/** Where a mutant is made, again and again in the same memory. */
export class Arena {
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(largest: number) {
    this.#buffer = new Uint8Array(largest + MOST_EXTRA);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  load(bytes: Uint8Array): void {
    this.#length = bytes.length;
    this.bytes.set(bytes);
  }

  /** Keeps what is there; what is new is zero. */
  resize(length: number): void {
    if (length > this.#length) this.#buffer.fill(0, this.#length, length);
    this.#length = length;
  }
}

/** Which hashes are made right again, so that the rules behind them are reached. */
export type Repair = 'none' | 'header' | 'all';
export const REPAIRS: readonly Repair[] = ['none', 'header', 'all'];

/** Makes hashes right where the good file has them: chunks of the bytes at their places, then the header. */
export function repairHashes(bytes: Uint8Array, file: GoodFile, repair: Repair): void {
  if (repair === 'none' || bytes.length < LIMITS.preambleBytes) return;
  const digest = (part: Uint8Array) => createHash('sha256').update(part).digest();
  if (repair === 'all') {
    for (const { start, length, hashAt } of file.chunks) {
      if (start + length <= bytes.length) bytes.set(digest(bytes.subarray(start, start + length)), hashAt);
    }
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = bytes.subarray(0, Math.min(view.getUint32(20, true), bytes.length));
  bytes.fill(0, HASH_OFFSET, HASH_OFFSET + HASH_BYTES);
  bytes.set(digest(header), HASH_OFFSET);
}

/** Values at which readers of lengths and offsets go wrong. */
const LIKELY: readonly bigint[] = [
  0n,
  1n,
  4n,
  0x7fn,
  0xffn,
  0x7fffn,
  0xffffn,
  0x4000n,
  2n ** 24n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 4n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

export interface RandomCase {
  readonly file: GoodFile;
  readonly repair: Repair;
  /** What was done, for people. */
  readonly changes: readonly string[];
}

/** Puts mutant number `index` of `seed` into the arena. */
export function makeRandomCase(
  arena: Arena,
  files: readonly GoodFile[],
  seed: number,
  index: number,
): RandomCase {
  const random = createRandom(Math.imul(seed, 0x9e3779b1) ^ index);
  const below = (count: number) => Math.floor(random() * count);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const file = pick(files);
  arena.load(file.bytes);
  const changes: string[] = [];
  const note = (text: string) => changes.push(text);

  /** Somewhere: half in the header, which is a small part, a third in the data. */
  const place = (room: number): number => {
    const { bytes } = arena;
    const draw = random();
    const chunk = pick(file.chunks);
    const [from, length] =
      draw < 0.5 ? [0, file.headerLength] : draw < 0.8 ? [chunk.start, chunk.length] : [0, bytes.length];
    return Math.max(0, Math.min(from + below(length), bytes.length - room));
  };
  const editBytes = (): void => {
    const count = 1 + below(8);
    for (let i = 0; i < count && arena.bytes.length > 0; i++) {
      const at = place(1);
      const old = arena.bytes[at]!;
      const values = [below(256), old ^ (1 << below(8)), old + 1, old - 1, pick([0, 1, 0x7f, 0x80, 0xff])];
      arena.bytes[at] = pick(values);
      note(`byte ${at}: ${old} -> ${arena.bytes[at]}`);
    }
  };
  const writeInteger = (): void => {
    const size = pick([2, 4, 8]);
    if (arena.bytes.length < size) return;
    const room = place(size);
    const at = room - (room % size);
    const value = pick([...LIKELY, BigInt(file.headerLength), BigInt(file.bytes.length), BigInt(at)]);
    for (let i = 0; i < size; i++) arena.bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
    note(`${8 * size} bits at ${at}: ${BigInt.asUintN(8 * size, value)}`);
  };
  const truncate = (): void => {
    const length =
      random() < 0.5 ? below(arena.bytes.length) : Math.max(0, arena.bytes.length - 1 - below(64));
    arena.resize(length);
    note(`cut to ${length} bytes`);
  };
  const extend = (): void => {
    const extra = 1 + below(random() < 0.5 ? 64 : MOST_EXTRA);
    const from = arena.bytes.length;
    arena.resize(from + extra);
    const zeros = random() < 0.5;
    if (!zeros) for (let i = 0; i < extra; i++) arena.bytes[from + i] = below(256);
    note(`${extra} ${zeros ? 'zero' : 'random'} bytes added`);
  };
  const splice = (): void => {
    const other = pick(files);
    const length = 1 + below(random() < 0.5 ? 64 : 8192);
    const from = below(other.bytes.length);
    const at = random() < 0.5 ? from : place(1);
    const part = other.bytes.subarray(from, Math.min(from + length, from + arena.bytes.length - at));
    if (at > arena.bytes.length) return;
    arena.bytes.set(part, at);
    note(`${part.length} bytes at ${at} from ${other.name} at ${from}`);
  };
  const swapTail = (): void => {
    const other = pick(files);
    const cut = Math.min(
      pick([file.headerLength, file.segmentBase, below(file.bytes.length)]),
      other.bytes.length,
    );
    const tail = other.bytes.subarray(cut);
    arena.resize(cut + tail.length);
    arena.bytes.set(tail, cut);
    note(`${other.name} from byte ${cut} on`);
  };
  const removeOrRepeat = (): void => {
    const at = place(1);
    const count = 1 + below(64);
    const tail = arena.bytes.slice(random() < 0.5 ? at + count : Math.max(0, at - count));
    arena.resize(at + tail.length);
    arena.bytes.set(tail, at);
    note(`from byte ${at} on: the last ${tail.length} bytes`);
  };

  const draw = random();
  if (draw < 0.5) editBytes();
  else if (draw < 0.7) writeInteger();
  else if (draw < 0.76) truncate();
  else if (draw < 0.82) extend();
  else if (draw < 0.9) splice();
  else if (draw < 0.95) swapTail();
  else removeOrRepeat();
  // Sometimes damage on damage.
  if (random() < 0.15) pick([editBytes, writeInteger, splice])();
  const repair = pick(REPAIRS);
  repairHashes(arena.bytes, file, repair);
  return { file, repair, changes };
}
