import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { makeFolder } from './make-folder.ts';

vi.mock('node:fs/promises', async (original) => {
  const actual = await original<typeof import('node:fs/promises')>();
  return { ...actual, mkdir: vi.fn(actual.mkdir) };
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'duobit-folder-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('makes what is missing, and says what it made first', async () => {
  expect(await makeFolder(join(folder, 'a', 'b', 'c'))).toBe(join(folder, 'a'));
  expect((await stat(join(folder, 'a', 'b', 'c'))).isDirectory()).toBe(true);
  expect(await makeFolder(join(folder, 'a', 'b', 'd'))).toBe(join(folder, 'a', 'b', 'd'));
  await symlink(join(folder, 'a'), join(folder, 'link'));
  for (const there of [join(folder, 'a', 'b'), join(folder, 'link'), folder, '.', '/'])
    expect(await makeFolder(there)).toBe(undefined);
});

it('makes one folder for all who want it at once', async () => {
  const deep = join(folder, 'x', 'y', 'z');
  await Promise.all(Array.from({ length: 20 }, () => makeFolder(deep)));
  expect((await stat(deep)).isDirectory()).toBe(true);
});

it('makes it where another process makes the one above, or the same, in the moment in which that is missing', async () => {
  const { mkdir: make } = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  const meanwhile = (...made: string[]) =>
    vi.mocked(mkdir).mockImplementationOnce(async (path) => {
      const failure = await make(path).catch((error: unknown) => error);
      for (const each of made) await make(join(folder, each));
      throw failure;
    });
  meanwhile('p');
  expect(await makeFolder(join(folder, 'p', 'q'))).toBe(join(folder, 'p', 'q'));
  meanwhile('r', 'r/s');
  expect(await makeFolder(join(folder, 'r', 's'))).toBe(undefined);
  for (const path of ['p/q', 'r/s']) expect((await stat(join(folder, path))).isDirectory()).toBe(true);
});

it('fails where no folder can be', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(makeFolder(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolder(join(folder, 'file', 'x', 'y'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  await symlink(join(folder, 'nowhere'), join(folder, 'broken'));
  await expect(makeFolder(join(folder, 'broken'))).rejects.toMatchObject({ code: 'EEXIST' });
  // Where there is such a file system: `mkdir` with `recursive` would try for ever.
  if (existsSync('/proc/self/stat'))
    for (const path of ['/proc/none', '/proc/none/deeper'])
      await expect(makeFolder(path)).rejects.toMatchObject({ code: 'ENOENT' });
});
