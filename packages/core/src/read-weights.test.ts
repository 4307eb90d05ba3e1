// What a backend is given while it loads: every tensor in order, whole, the next one read meanwhile into memory that is used again.
import type { Allocate, TensorData } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { outliersOf, splitOutliers } from './outliers.ts';
import { readWeights } from './read-weights.ts';

const SIZES = [10, 40, 5, 33, 17];
const NAMES = SIZES.map((_, i) => `w${i}`);

function makeTensor(
  name: string,
  planes: TensorData['planes'],
  encoding: unknown = { kind: 'f32' },
): TensorData {
  return { info: { name, shape: [1, 1], encoding, activation: null } as TensorData['info'], planes };
}

/** Reads tensor i as two planes of bytes i + 1, some time after it was asked for. */
function createReader(asked: string[] = [], failing?: string) {
  return async (name: string, allocate: Allocate = (length) => new Uint8Array(length)) => {
    asked.push(name);
    const i = NAMES.indexOf(name);
    const planes = { sign: allocate(SIZES[i]!), bitmap: allocate(1000) };
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (name === failing) throw new Error(`${name} is damaged`);
    for (const plane of Object.values(planes)) plane.fill(i + 1);
    return makeTensor(name, planes);
  };
}

const isWhole = (i: number, { planes }: TensorData) =>
  planes.sign?.length === SIZES[i] &&
  planes.bitmap?.length === 1000 &&
  Object.values(planes).every((plane) => plane.every((byte) => byte === i + 1));

describe('reading weights', () => {
  it('gives each in order while the next is read, in the memory of the last but one', async () => {
    const asked: string[] = [];
    const buffers: ArrayBuffer[] = [];
    let i = 0;
    for await (const [name, data] of readWeights(NAMES, createReader(asked))) {
      expect([name, data.info.name]).toEqual([NAMES[i], NAMES[i]]);
      expect(asked).toEqual(NAMES.slice(0, i + 2));
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(isWhole(i, data)).toBe(true);
      for (const { byteOffset } of Object.values(data.planes)) expect(byteOffset % 8).toBe(0);
      buffers.push(data.planes.sign!.buffer);
      i++;
    }
    expect(i).toBe(NAMES.length);
    // The first of each two finds out how much it takes.
    expect(buffers[4]).toBe(buffers[2]);
    expect(new Set(buffers).size).toBe(4);
  });

  it('gives nothing for no names, and much at a time memory of its own', async () => {
    for await (const _ of readWeights([], createReader())) expect.unreachable();
    const large = 65 * 2 ** 20;
    const buffers = new Set<ArrayBuffer>();
    const read = async (name: string, allocate?: Allocate) => makeTensor(name, { sign: allocate!(large) });
    for await (const [, { planes }] of readWeights(['a', 'b', 'c', 'd', 'e'], read))
      buffers.add(planes.sign!.buffer);
    expect(buffers.size).toBe(5);
  });

  it('throws what reading throws, when it comes to that tensor', async () => {
    const given: string[] = [];
    const reading = (async () => {
      for await (const [name] of readWeights(NAMES, createReader([], 'w2'))) {
        given.push(name);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    await expect(reading).rejects.toThrow('w2 is damaged');
    expect(given).toEqual(['w0', 'w1']);
  });

  it('reads nothing any more once its caller has left', async () => {
    let underWay = 0;
    const read = createReader();
    const counted = async (name: string, allocate?: Allocate) => {
      underWay += 1;
      return read(name, allocate).finally(() => {
        underWay -= 1;
      });
    };
    for await (const [name] of readWeights(NAMES, counted)) if (name === 'w1') break;
    expect(underWay).toBe(0);
  });

  it('keeps outlier columns that are asked for later, whatever memory they came in', async () => {
    const encoding = { kind: 'w11-outlier', groupSize: 32, offsets: false, outlierColumns: 1 };
    const roles = ['sign', 'bitmap', 'alpha', 'outlier-index', 'outlier-codes', 'outlier-scale'];
    const read = async (name: string, allocate?: Allocate) => {
      const value = 1 + 'abpq'.indexOf(name);
      return makeTensor(
        name,
        Object.fromEntries(roles.map((role) => [role, allocate!(4).fill(value)])),
        encoding,
      );
    };
    // From the third on they lie in memory that is used again.
    const names = ['p', 'q', 'a', 'b', outliersOf('a'), 'p', outliersOf('b'), 'q'];
    const seen: [string, string[], number][] = [];
    for await (const [name, { planes }] of readWeights(names, splitOutliers(read))) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push([name, Object.keys(planes), Object.values(planes)[0]![3]!]);
    }
    expect(seen.filter(([name]) => !/^[pq]$/.test(name))).toEqual([
      ['a', ['sign', 'bitmap', 'alpha'], 1],
      ['b', ['sign', 'bitmap', 'alpha'], 2],
      [outliersOf('a'), ['codes', 'scale'], 1],
      [outliersOf('b'), ['codes', 'scale'], 2],
    ]);
  });
});
