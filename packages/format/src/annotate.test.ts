import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Annotation,
  annotateContainer,
  createMemorySource,
  DuobitError,
  openContainer,
} from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { forgeHeader, rehashHeader } from '../test/forge.ts';
import { createRandom, makeSpec, writeSample } from '../test/sample.ts';

async function annotate(
  bytes: Uint8Array,
  range: { start?: number; end?: number } = {},
): Promise<Annotation[]> {
  const runs: Annotation[] = [];
  for await (const run of annotateContainer(createMemorySource(bytes), range)) runs.push(run);
  return runs;
}

/** Every byte once, in order, and the bytes shown are the file's. */
function expectComplete(runs: readonly Annotation[], bytes: Uint8Array): void {
  let at = 0;
  for (const { offset, length, bytes: shown, meaning } of runs) {
    expect(offset).toBe(at);
    expect(length).toBeGreaterThan(0);
    expect(shown).toEqual(bytes.slice(offset, offset + Math.min(16, length)));
    expect(meaning).not.toBe('');
    at += length;
  }
  expect(at).toBe(bytes.length);
}

/** The run whose meaning begins so, which there must be exactly one of below `where`. */
function find(runs: readonly Annotation[], where: string, meaning: string): Annotation {
  const found = runs.filter((run) => run.where === where && run.meaning.startsWith(meaning));
  expect(found, `${where}: ${meaning}`).toHaveLength(1);
  return found[0]!;
}

describe('annotateContainer', () => {
  it('names every byte of the sample once, and none is unknown', async () => {
    const { bytes, summary } = await writeSample();
    const runs = await annotate(bytes);
    expectComplete(runs, bytes);
    expect(runs.filter(({ kind }) => kind === 'unknown')).toEqual([]);
    expect(find(runs, 'preamble.header_sha256', 'SHA-256').meaning).toContain('right');
    expect(find(runs, 'preamble.header_length', '').meaning).toBe(`header length = ${summary.headerLength}`);
    const padding = runs.filter(({ kind }) => kind === 'padding');
    for (const { offset, length } of padding) {
      expect(bytes.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
    }
  });

  it('shows values, enum names, texts and hashes of the header', async () => {
    const spec = makeSpec();
    const { bytes } = await writeSample(spec);
    const runs = await annotate(bytes);
    const root = new DataView(bytes.buffer).getUint32(0, true);
    expect(find(runs, 'Model', 'table Model').offset).toBe(root);
    expect(find(runs, 'Model.architecture.hidden_size', 'hidden_size').meaning).toBe('hidden_size = 36');
    expect(find(runs, 'Model.architecture.norm_epsilon', 'norm').meaning).toBe('norm_epsilon = 0.00001');
    expect(find(runs, 'Model.special_tokens.add_bos', 'add').meaning).toBe('add_bos = true');
    expect(find(runs, 'Model.special_tokens.eos', '[').meaning).toBe('[0, 2]');
    const names = spec.tensors.map(({ name }) => name).sort();
    for (const [i, name] of names.entries()) {
      find(runs, `Model.tensors[${i}].name`, `"${name}" and a final zero`);
    }
    const encoding = find(runs, `Model.tensors[${names.indexOf('lm_head.weight')}].encoding`, 'encoding');
    expect(encoding.meaning).toBe('encoding = 5 (int4)');
    const hash = find(runs, 'Model.segments[0].chunk_hashes', 'SHA-256 of chunk 0 = ');
    expect(hash).toMatchObject({ length: 32, kind: 'vector' });
    expect(find(runs, 'vtable of Model', 'assets').meaning).toMatch(/^assets: at byte \d+ of the table$/);
  });

  it('shows input rotations and the feature that announces them', async () => {
    const path = fileURLToPath(new URL('../../../fixtures/good/rotated.duo', import.meta.url));
    const runs = await annotate(new Uint8Array(readFileSync(path)));
    expect(find(runs, 'preamble.incompatible', '').meaning).toBe('incompatible features = 0x2');
    const rotations = runs.filter(({ where }) => where.endsWith('.input_rotation'));
    expect(rotations.map(({ meaning }) => meaning)).toEqual(Array(5).fill('input_rotation = 1 (hadamard)'));
  });

  it('names planes and assets at their places', async () => {
    const { bytes, weights } = await writeSample();
    const runs = await annotate(bytes);
    const planes = runs.filter(({ kind }) => kind === 'plane');
    expect(planes).toHaveLength([...weights.values()].flatMap((set) => Object.keys(set)).length);
    for (const { offset, meaning, length } of planes) {
      const [, role, name] = /^plane (\S+) of (\S+), /.exec(meaning)!;
      const plane = Object.entries(weights.get(name!)!).find(([key]) => key === role)![1];
      expect(bytes.slice(offset, offset + length)).toEqual(new Uint8Array(plane!));
    }
    expect(runs.filter(({ kind }) => kind === 'asset').map(({ length }) => length)).toEqual([76, 14]);
  });

  it('gives the runs that touch a range', async () => {
    const { bytes } = await writeSample();
    const runs = await annotate(bytes);
    expect((await annotate(bytes, { end: 128 })).map(({ where }) => where)).toEqual([
      'preamble.root_offset',
      'preamble.identifier',
      'preamble.magic',
      'preamble.major',
      'preamble.minor',
      'preamble.header_length',
      'preamble.segment_base',
      'preamble.file_length',
      'preamble.incompatible',
      'preamble.compatible',
      'preamble.header_sha256',
      'preamble.reserved',
    ]);
    for (const [start, end] of [
      [17, 19],
      [5000, 5001],
      [12_000, 17_000],
      [bytes.length - 1, bytes.length + 5],
    ] as const) {
      const expected = runs.filter(({ offset, length }) => offset < end && offset + length > start);
      expect(await annotate(bytes, { start, end })).toEqual(expected);
    }
    expect(await annotate(bytes, { start: bytes.length })).toEqual([]);
  });

  it('goes on where a hash is wrong, bytes are left over or padding is not zero', async () => {
    const { bytes, summary } = await writeSample();
    const damaged = new Uint8Array(bytes.length + 100);
    damaged.set(bytes);
    damaged[HASH] = damaged[HASH]! ^ 1;
    damaged[summary.headerLength + 5] = 7;
    damaged.fill(1, bytes.length);
    const runs = await annotate(damaged);
    expectComplete(runs, damaged);
    expect(find(runs, 'preamble.header_sha256', 'SHA-256').meaning).toContain('WRONG');
    const unknown = runs.filter(({ kind }) => kind === 'unknown');
    expect(unknown.map(({ offset }) => offset)).toEqual([summary.headerLength, bytes.length]);
  });

  it('covers files whose planes overlap, leave the file or are missing', async () => {
    const { bytes } = await writeSample();
    const forged = await forgeHeader(bytes, (content) => {
      const [first, second] = content.tensors;
      first!.planes[0]!.offset = second!.planes[0]!.offset;
      first!.planes[0]!.segment = second!.planes[0]!.segment;
      content.tensors.at(-1)!.planes[0]!.offset = 2 ** 40;
    });
    const runs = await annotate(forged);
    expectComplete(runs, forged);
    expect(runs.some(({ kind }) => kind === 'unknown')).toBe(true);
  });

  it('covers headers that share a table', async () => {
    const { bytes } = await writeSample();
    const view = new DataView(bytes.buffer);
    const runs = await annotate(bytes);
    const [first, second] = [0, 1].map((i) => find(runs, 'Model.tensors', `tensors[${i}] at`).offset) as [
      number,
      number,
    ];
    view.setUint32(second, first + view.getUint32(first, true) - second, true);
    const forged = await rehashHeader(bytes);
    const again = await annotate(forged);
    expectComplete(again, forged);
    expect(again.some(({ where }) => where.startsWith('Model.tensors[1].'))).toBe(false);
    expect(again.some(({ kind }) => kind === 'unknown')).toBe(true);
  });

  it('refuses what has no structure to show', async () => {
    const { bytes } = await writeSample();
    await expect(annotate(bytes.slice(0, 100))).rejects.toMatchObject({ code: 'FILE_TOO_SHORT' });
    await expect(annotate(new Uint8Array(500))).rejects.toMatchObject({ code: 'CONTAINER_MAGIC' });
    const broken = bytes.slice();
    new DataView(broken.buffer).setUint32(0, 0xfffffff0, true);
    await expect(annotate(broken)).rejects.toMatchObject({ code: 'HEADER_OFFSET' });
    await expect(annotate(bytes.slice(0, 500))).rejects.toMatchObject({ code: 'FILE_TRUNCATED' });
  });

  it('covers or refuses every damaged header, with a code', async () => {
    const { bytes, summary } = await writeSample();
    const random = createRandom(7);
    const outcomes = new Map<string, number>();
    for (let round = 0; round < 200; round++) {
      const mutant = bytes.slice();
      for (let edit = 0; edit <= round % 4; edit++) {
        mutant[128 + Math.floor(random() * (summary.headerLength - 128))] = Math.floor(random() * 256);
      }
      const outcome = await annotate(await rehashHeader(mutant)).then(
        (runs) => (coveredBytes(runs) === mutant.length ? 'complete' : 'incomplete'),
        (error: unknown) => (error instanceof DuobitError ? 'refused' : String(error)),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect([...outcomes.keys()].sort()).toEqual(['complete', 'refused']);
  });

  it('names every byte of every good file of the corpus, data files included', async () => {
    const files = listCorpus('good');
    expect(files.length).toBeGreaterThan(8);
    let dataFiles = 0;
    for (const path of files) {
      const bytes = readBytes(path);
      const runs = await annotate(bytes);
      expectComplete(runs, bytes);
      expectKnown(runs, path);
      const { manifest } = await openContainer(createMemorySource(bytes), {
        openDataFile: async (name) => createMemorySource(readBytes(join(dirname(path), name))),
      });
      for (const { name } of manifest.dataFiles) {
        const data = readBytes(join(dirname(path), name));
        const dataFile = { name, headerSource: createMemorySource(bytes) };
        const parts: Annotation[] = [];
        for await (const run of annotateContainer(createMemorySource(data), { dataFile })) parts.push(run);
        expectComplete(parts, data);
        expectKnown(parts, name);
        dataFiles += 1;
      }
    }
    expect(dataFiles).toBeGreaterThan(2);
  });

  it.each(['malformed', 'invalid', 'future'])(
    'covers or refuses every %s file of the corpus',
    async (kind) => {
      const files = listCorpus(kind);
      expect(files.length).toBeGreaterThan(3);
      let complete = 0;
      for (const path of files) {
        const bytes = readBytes(path);
        const runs = await annotate(bytes).catch((error: unknown) => {
          expect(error, path).toBeInstanceOf(DuobitError);
          return null;
        });
        if (!runs) continue;
        expect(coveredBytes(runs), path).toBe(bytes.length);
        complete += 1;
      }
      expect(complete).toBeGreaterThan(0);
    },
  );
});

const HASH = 56;

/** How far the runs go without gap or overlap. */
function coveredBytes(runs: readonly Annotation[]): number {
  let at = 0;
  for (const { offset, length } of runs) {
    if (offset !== at) break;
    at += length;
  }
  return at;
}

function expectKnown(runs: readonly Annotation[], name: string): void {
  const unknown = runs.filter(({ kind }) => kind === 'unknown');
  expect(unknown, name).toEqual([]);
}

function listCorpus(kind: string): string[] {
  const folder = fileURLToPath(new URL(`../../../fixtures/${kind}/`, import.meta.url));
  const names = readdirSync(folder).filter((name) => name.endsWith('.duo'));
  return names.map((name) => join(folder, name));
}

function readBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path));
}
