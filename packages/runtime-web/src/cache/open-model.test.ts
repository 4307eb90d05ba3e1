// Models on a hub by their address, where there is no place to store them: what a page without OPFS does.
import { readFileSync } from 'node:fs';
import { startHubServer } from '@duobit/testkit/hub';
import { afterEach, expect, it, vi } from 'vitest';
import { openModel } from './open-model.ts';

afterEach(() => {
  vi.unstubAllGlobals();
});

it('reads what hf: stands for, data files of the same commit included', async () => {
  const fixture = (name: string) =>
    readFileSync(new URL(`../../../../fixtures/good/${name}`, import.meta.url));
  const names = ['sharded.duo', 'sharded-00001.duodata', 'sharded-00002.duodata'];
  const hub = await startHubServer();
  const repository = hub.add('user/tiny', Object.fromEntries(names.map((name) => [name, fixture(name)])));
  const { fetch } = globalThis;
  vi.stubGlobal('fetch', (url: string, init?: RequestInit) =>
    fetch(url.replace('https://huggingface.co', hub.url), init),
  );
  try {
    const container = await openModel('hf:user/tiny');
    // Another version, uploaded after the model was opened.
    hub.replace(repository, {
      'sharded-00001.duodata': new Uint8Array(64),
      'sharded-00002.duodata': new Uint8Array(16_400),
    });
    for (const name of container.tensorNames) await container.readTensor(name);
    await container.close();
    await expect(openModel('hf:user/none')).rejects.toMatchObject({ code: 'HUB_NOT_FOUND' });
    await expect(openModel('hf:user')).rejects.toMatchObject({ code: 'HUB_ADDRESS' });
    const page = openModel('https://huggingface.co/user/tiny');
    await expect(page).rejects.toMatchObject({ code: 'MODEL_ADDRESS', remedy: 'Write hf:user/tiny' });
  } finally {
    await hub.close();
  }
});
