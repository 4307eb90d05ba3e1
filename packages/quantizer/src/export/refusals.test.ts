// What an export refuses, and that nothing of it is left when it refuses, fails or is stopped.
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createMemorySink, createMemorySource, type ModelSource, openContainer } from '@duobit/format';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../checkpoint/open.ts';
import { expectFailure } from '../checkpoint/testing/rejects.ts';
import { quantize } from '../quantize.ts';
import { makeMemoryCheckpoint } from '../testing/memory-checkpoint.ts';
import { exportFolder, exportSafetensors } from './export.ts';

const TINY_STORIES = fileURLToPath(new URL('../../../../fixtures/tinystories-656k', import.meta.url));

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'duobit-refusals-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** A folder of its own for a test, so that what is left in it can be listed. */
function makeFolder(): Promise<string> {
  return mkdtemp(join(root, 'case-'));
}

/** Every file below a folder, with its text. */
async function snapshot(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    files[path] = entry.isFile() ? await readFile(path, 'latin1') : entry.isDirectory() ? 'folder' : 'other';
  }
  return files;
}

/** Runs `act`, which must fail with `code` and leave `folder` as it was. */
async function expectNothingLeft(
  folder: string,
  act: () => Promise<unknown>,
  code: string,
  ...named: string[]
) {
  const before = await snapshot(folder);
  await expectFailure(act, code, ...named);
  expect(await snapshot(folder)).toEqual(before);
}

describe('an output that exists', () => {
  it('is kept: a folder that is not empty, a file, a file in place of a folder', async () => {
    const here = await makeFolder();
    const source = makeMemoryCheckpoint();
    await mkdir(join(here, 'full'));
    await writeFile(join(here, 'full', '.hidden'), 'x');
    await writeFile(join(here, 'file.safetensors'), 'x');
    await expectNothingLeft(
      here,
      () => exportFolder(source, join(here, 'full')),
      'EXPORT_EXISTS',
      '1 entries',
      '--force',
    );
    await expectNothingLeft(
      here,
      () => exportSafetensors(source, join(here, 'file.safetensors')),
      'EXPORT_EXISTS',
      '1 bytes',
    );
    await expectNothingLeft(
      here,
      () => exportFolder(source, join(here, 'file.safetensors'), { force: true }),
      'EXPORT_NOT_A_FOLDER',
    );
    await expectNothingLeft(
      here,
      () => exportSafetensors(source, join(here, 'full'), { force: true }),
      'SINK_NOT_A_FILE',
    );
    await exportSafetensors(source, join(here, 'file.safetensors'), { force: true });
    expect((await readFile(join(here, 'file.safetensors'))).length).toBeGreaterThan(1000);
  });

  it('is refused when it is what the model is read from, by whatever name', async () => {
    const here = await makeFolder();
    const home = join(here, 'checkpoint');
    await mkdir(home);
    for (const name of await readdir(TINY_STORIES))
      await copyFile(join(TINY_STORIES, name), join(home, name));
    await symlink(home, join(here, 'link'));
    await symlink(join(home, 'model.safetensors'), join(here, 'link.safetensors'));
    for (const opened of [home, join(home, 'config.json'), join(here, 'link')]) {
      const source = await openCheckpoint(opened);
      for (const out of [home, join(here, 'link')]) {
        await expectNothingLeft(here, () => exportFolder(source, out, { force: true }), 'EXPORT_SAME_PATH');
      }
      for (const out of [join(home, 'model.safetensors'), join(here, 'link.safetensors')]) {
        await expectNothingLeft(
          here,
          () => exportSafetensors(source, out, { force: true }),
          'EXPORT_SAME_PATH',
        );
      }
      await source.close();
    }
  });

  it('needs a place that can be written', async () => {
    const here = await makeFolder();
    const source = makeMemoryCheckpoint();
    await writeFile(join(here, 'file'), 'x');
    const cases: [string, string][] = [
      ['no/such/folder', 'SINK_FOLDER_MISSING'],
      ['file/below', 'SINK_IO'],
    ];
    for (const [out, code] of cases) {
      await expectNothingLeft(here, () => exportFolder(source, join(here, out)), code, out);
    }
  });
});

describe('values and tensors', () => {
  it.each([
    ['f32', Number.NaN, 'EXPORT_NOT_FINITE'],
    ['f32', Number.NEGATIVE_INFINITY, 'EXPORT_NOT_FINITE'],
    ['f16', Number.POSITIVE_INFINITY, 'EXPORT_NOT_FINITE'],
    ['f16', -65_520, 'EXPORT_OUT_OF_RANGE'],
    ['bf16', 2 ** 128 - 2 ** 119, 'EXPORT_OUT_OF_RANGE'],
  ] as const)('refuses in %s the value %d', async (dtype, value, code) => {
    const here = await makeFolder();
    const source = makeMemoryCheckpoint();
    const name = 'model.layers.1.mlp.up_proj.weight';
    source.tensors.get(name)![77] = value;
    const out = join(here, 'out');
    await expectNothingLeft(
      here,
      () => exportFolder(source, out, { dtype }),
      code,
      name,
      'element 77',
      `${value}`,
    );
    await expectNothingLeft(
      here,
      () => exportSafetensors(source, `${out}.safetensors`, { dtype }),
      code,
      name,
    );
  });

  it.each([
    ['f16', 65_519, 65_504],
    ['bf16', 3.39e38, 2 ** 128 - 2 ** 120],
  ] as const)(
    'rounds to %s what is within half a step of its largest value',
    async (dtype, value, rounded) => {
      const source = makeMemoryCheckpoint();
      source.tensors.get('model.norm.weight')![0] = value;
      const out = join(await makeFolder(), 'out');
      await exportFolder(source, out, { dtype });
      const checkpoint = await openCheckpoint(out);
      expect((await checkpoint.readF32('model.norm.weight'))[0]).toBe(rounded);
      await checkpoint.close();
    },
  );

  it('refuses tensors that a Hugging Face model would drop, but writes them alone', async () => {
    const here = await makeFolder();
    const plain = makeMemoryCheckpoint();
    const withTensor = (extra: string): ModelSource => {
      const known = (name: string) => (name === extra ? 'model.norm.weight' : name);
      return {
        ...plain,
        tensorNames: [...plain.tensorNames, extra],
        tensorInfo: (name) => ({ ...plain.tensorInfo(known(name)), name }),
        readTensor: (name) => plain.readTensor(known(name)),
      };
    };
    const bias = 'model.layers.0.self_attn.q_proj.bias';
    await expectNothingLeft(
      here,
      () => exportFolder(withTensor(bias), join(here, 'out')),
      'EXPORT_TENSOR_UNSUPPORTED',
      bias,
    );
    await expectNothingLeft(
      here,
      () => exportSafetensors(withTensor('__metadata__'), join(here, 'out.safetensors')),
      'EXPORT_TENSOR_UNSUPPORTED',
      '__metadata__',
    );
    // A key that a JavaScript object would swallow.
    const out = join(here, 'odd.safetensors');
    await exportSafetensors(withTensor('__proto__'), out);
    expect((await readFile(out)).toString('latin1')).toContain('"__proto__":{"dtype":"F32","shape":[24]');
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses a shard size of %d', async (shardSize) => {
    const here = await makeFolder();
    const out = join(here, 'out');
    await expectNothingLeft(
      here,
      async () => {
        try {
          await exportFolder(makeMemoryCheckpoint(), out, { shardSize });
        } catch (error) {
          expect(error).toMatchObject({ code: 'EXPORT_OPTION', where: 'shardSize', source: undefined });
          throw Object.assign(error as Error, { source: 'option' });
        }
      },
      'EXPORT_OPTION',
      `${shardSize}`,
    );
  });
});

describe('an export that does not end well', () => {
  it.each([false, true])(
    'leaves nothing when it is stopped (into a folder that exists: %s)',
    async (exists) => {
      const here = await makeFolder();
      if (exists) {
        await mkdir(join(here, 'out'));
        await writeFile(join(here, 'out', 'config.json'), 'the old one');
      }
      const source = makeMemoryCheckpoint();
      const half = source.tensorNames[10];
      const stopAt = () => {
        const controller = new AbortController();
        const onProgress = ({ tensor }: { tensor: string }) => tensor === half && controller.abort();
        return { signal: controller.signal, onProgress, force: exists };
      };
      const before = await snapshot(here);
      await expect(exportFolder(source, join(here, 'out'), stopAt())).rejects.toMatchObject({
        code: 'ABORTED',
      });
      await expect(exportSafetensors(source, join(here, 'out.safetensors'), stopAt())).rejects.toMatchObject({
        code: 'ABORTED',
      });
      expect(await snapshot(here)).toEqual(before);
    },
  );

  it('leaves nothing when the container is damaged', async () => {
    const here = await makeFolder();
    const sink = createMemorySink();
    await quantize(makeMemoryCheckpoint(), 'memory.duo', { openSink: async () => sink });
    const bytes = sink.bytes();
    const { manifest } = await openContainer(createMemorySource(bytes));
    const plane = manifest.tensors.find(({ name }) => name === 'lm_head.weight')!.planes[0]!;
    bytes[manifest.segments[plane.segment]!.offset + plane.offset]! ^= 1;
    const container = await openContainer(createMemorySource(bytes));
    await expectNothingLeft(
      here,
      () => exportFolder(container, join(here, 'out')),
      'CHUNK_HASH',
      'segment head',
    );
  });
});
