// Parts of the chat page that need no browser: bits and levels as the reference decoder has them, settings that were stored or typed,
// numbers as they are shown.
import { readFileSync } from 'node:fs';
import { createMemorySource, DuobitError, decodeTensor, openContainer } from '@duobit/format';
import { TINY_ARCHITECTURE } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { kvCacheBytes } from '../../demo/src/engine.ts';
import {
  levelIndex,
  listBitTensors,
  paintPlanes,
  readBitPlanes,
  readWeight,
  shareOfOnes,
} from '../../demo/src/planes.ts';
import { DEFAULT_SETTINGS, mergeSettings, toGenerateOptions } from '../../demo/src/settings.ts';
import { createStore } from '../../demo/src/store.ts';
import { describeFailure, formatBytes, formatCount, formatLevel } from '../../demo/src/text.ts';

const open = (name: string) =>
  openContainer(
    createMemorySource(
      new Uint8Array(readFileSync(new URL(`../../../../fixtures/${name}`, import.meta.url))),
    ),
  );

describe('bit planes', () => {
  it.each(['good/w11.duo', 'good/rotated.duo', 'embedded/tinystories-656k.duo'])(
    'of %s give the weights that are decoded',
    async (name) => {
      const container = await open(name);
      const [tensor] = listBitTensors(container);
      const planes = await readBitPlanes(container, tensor!);
      const values = decodeTensor(await container.readTensor(tensor!));
      const { rows, columns } = planes;
      expect(values).toHaveLength(rows * columns);
      let ones = 0;
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++) {
          const { levels, sign, bitmap } = readWeight(planes, row, column);
          ones += bitmap;
          expect(Math.fround(levels[levelIndex(sign, bitmap)])).toBe(values[row * columns + column]);
        }
      expect(shareOfOnes(planes.bitmap, rows * columns)).toBe(ones / (rows * columns));
    },
  );

  it('are painted a pixel a weight, and clear beyond the tensor', async () => {
    const container = await open('embedded/tinystories-656k.duo');
    const planes = await readBitPlanes(container, 'model.layers.0.self_attn.k_proj.weight');
    const colours = [
      [0, 0, 0],
      [1, 0, 0],
      [2, 0, 0],
      [3, 0, 0],
    ] as const;
    const window = { row: 60, column: 120, rows: 6, columns: 10 };
    const pixels = paintPlanes(planes, 'levels', window, colours);
    for (let y = 0; y < 6; y++)
      for (let x = 0; x < 10; x++) {
        const [level, alpha] = [pixels[4 * (10 * y + x)], pixels[4 * (10 * y + x) + 3]];
        if (y >= 4 || x >= 8) expect(alpha).toBe(0);
        else {
          const { sign, bitmap } = readWeight(planes, 60 + y, 120 + x);
          expect([level, alpha]).toEqual([levelIndex(sign, bitmap), 255]);
        }
      }
  });
});

describe('settings', () => {
  it('take over what is in range and leave the rest', () => {
    const found = {
      ...{ temperature: 1.5, topK: 3.2, topP: 7, minP: '0.1', repetitionPenalty: Number.NaN, maxTokens: 0 },
      ...{ seed: -1, system: 'Be brief.', stop: 3, other: true },
    };
    expect(mergeSettings(DEFAULT_SETTINGS, found)).toEqual({
      ...DEFAULT_SETTINGS,
      temperature: 1.5,
      topK: 3,
      system: 'Be brief.',
    });
    for (const nothing of [null, undefined, 'text', 3])
      expect(mergeSettings(DEFAULT_SETTINGS, nothing)).toBe(DEFAULT_SETTINGS);
  });

  it('draw a seed where none is given, and take stop texts by lines', () => {
    const options = toGenerateOptions({ ...DEFAULT_SETTINGS, stop: 'one\n\n two\n' });
    expect(options.stop).toEqual(['one', ' two']);
    expect(Number.isSafeInteger(options.seed)).toBe(true);
    expect(toGenerateOptions({ ...DEFAULT_SETTINGS, seed: 7 }).seed).toBe(7);
  });
});

describe('what is shown', () => {
  it('has sizes of a few digits', () => {
    expect([0, 999, 1000, 524_800, 999_600, 51_500_000, 8.03e9].map(formatBytes)).toEqual([
      ...['0 bytes', '999 bytes', '1.0 kB', '525 kB', '1.0 MB', '51.5 MB', '8.0 GB'],
    ]);
    expect([656_000, 134_515_008, 8_030_000_000].map(formatCount)).toEqual([
      ...['656,000', '134.5 million', '8.03 billion'],
    ]);
    expect([0.03125, -0.5].map(formatLevel)).toEqual(['+0.0313', '\u22120.5000']);
  });

  it('says of an error what and where, and what to do', () => {
    const error = new DuobitError('CHUNK_HASH', 'it is damaged', {
      where: 'chunk 3',
      remedy: 'Get it again',
    });
    const shown = { code: 'CHUNK_HASH', message: 'it is damaged (chunk 3)', remedy: 'Get it again' };
    expect(describeFailure(error)).toEqual(shown);
    expect(describeFailure(new Error('oh'))).toEqual({ code: 'INTERNAL', message: 'oh', remedy: null });
  });

  it('counts a KV cache as docs/numerics.md does', () => {
    const architecture = { ...TINY_ARCHITECTURE, blockCount: 1, kvHeadCount: 1, headSize: 32 };
    const bytes = (['f32', 'f16', 'int8', 'int4'] as const).map((kv) => kvCacheBytes(architecture, 1, kv));
    expect(bytes).toEqual([256, 128, 72, 40]);
  });

  it('changes when what it is made of does, and only then', () => {
    const store = createStore({ a: 1, b: 1 });
    const seen: number[] = [];
    store.watch(
      ({ a }) => a,
      (a) => seen.push(a),
    );
    store.update({ b: 2 });
    store.update({ a: 2 });
    store.update({ a: 2 });
    expect(seen).toEqual([1, 2]);
    expect(store.state).toEqual({ a: 2, b: 2 });
  });
});
