// The reader of docs/reader.md gives what @duobit/format gives.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeTensor, openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT, readBlocks } from './blocks.ts';

interface Tensor {
  readonly shape: readonly number[];
  readonly encoding: number;
}
interface Reader {
  openDuo(path: string): ReadonlyMap<string, Tensor>;
  decodeW11(tensor: Tensor): Float32Array;
}
const W11 = 6;

const folder = mkdtempSync(join(tmpdir(), 'duobit-reader-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function loadReader(): Promise<Reader> {
  const [block] = readBlocks('docs/reader.md', readFileSync(join(ROOT, 'docs/reader.md'), 'utf8'));
  const path = join(folder, 'reader.mjs');
  writeFileSync(path, block!.text);
  return import(path);
}

describe('the reader of docs/reader.md', () => {
  it.each(['fixtures/embedded/tinystories-656k.duo', 'fixtures/good/w11.duo', 'fixtures/good/rotated.duo'])(
    'reads %s',
    async (name) => {
      const { openDuo, decodeW11 } = await loadReader();
      const tensors = openDuo(join(ROOT, name));
      const container = await openContainer(await createFileSource(join(ROOT, name)));
      try {
        expect([...tensors.keys()].sort()).toEqual([...container.tensorNames].sort());
        const decoded = [...tensors].filter(([, { encoding }]) => encoding === W11);
        expect(decoded.length).toBeGreaterThan(0);
        for (const [tensorName, tensor] of decoded) {
          const data = await container.readTensor(tensorName);
          expect(tensor.shape).toEqual(data.info.shape);
          const [read, expected] = [decodeW11(tensor), decodeTensor(data)];
          // By bytes, since expect is slow on large arrays.
          expect(Buffer.from(read.buffer).equals(Buffer.from(expected.buffer)), tensorName).toBe(true);
        }
      } finally {
        await container.close();
      }
    },
  );

  it('refuses what is no container, and a damaged header', async () => {
    const { openDuo } = await loadReader();
    expect(() => openDuo(join(ROOT, 'README.md'))).toThrow('no Duobit container');
    expect(() => openDuo(join(ROOT, 'fixtures/malformed/header-hash.duo'))).toThrow('damaged');
  });
});
