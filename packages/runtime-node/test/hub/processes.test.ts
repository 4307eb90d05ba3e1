// Several processes and one cache: killed ones lose nothing, and two at once download once.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS } from '@duobit/format';
import { bundleForNode, type Program, runProgram } from '@duobit/testkit/hub';
import { beforeAll, describe, expect, it } from 'vitest';
import { openModelCache, type PulledModel, pullModel } from '../../src/index.ts';
import { errorOf, expectSame, useSetup } from './setup.ts';

const setup = useSetup();
const ADDRESS = 'hf:user/tiny';
let program = '';
beforeAll(async () => {
  program = await bundleForNode(
    'pull',
    `import { pullModel } from '../../src/hub/pull.ts';
    process.send(await pullModel(process.argv[2]), () => process.disconnect());`,
    import.meta.dirname,
  );
});
const pull = (): Program<PulledModel> => runProgram(program, [ADDRESS], setup.env);
/** Until the storage has sent so many bytes. */
const sent = async (bytes: number): Promise<void> => {
  while (setup.hub.bytesSent() < bytes) await sleep(5);
};

describe('processes', () => {
  it('two that pull the same model at once: one download, and both have it', async () => {
    setup.hub.add('user/tiny', { 'model.duo': setup.whole });
    setup.hub.bytesPerSecond = 20e6;
    const models = await Promise.all([pull().result, pull().result]);
    expect(models.map((model) => Math.sign(model!.downloaded)).sort()).toEqual([0, 1]);
    // Each reads preamble and header to know what it is about.
    const headers = setup.hub.bytesSent() - models.reduce((sum, model) => sum + model!.downloaded, 0);
    expect(headers).toBeLessThan(400_000);
    for (const model of models) expectSame(await readFile(model!.path), setup.whole);
  });

  it('one that waits goes on where the other was killed', async () => {
    setup.hub.add('user/tiny', { 'model.duo': setup.whole });
    setup.hub.bytesPerSecond = 20e6;
    const first = pull();
    await sent(2.2 * LIMITS.chunkBytes);
    const second = pull();
    await sent(3.2 * LIMITS.chunkBytes);
    first.kill();
    const started = performance.now();
    expect(await first.result).toBeNull();
    const model = await second.result;
    // It is known at once that a process of this machine is dead.
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(model!.downloaded).toBeLessThan(setup.whole.length - 2 * LIMITS.chunkBytes);
    expectSame(await readFile(model!.path), setup.whole);
  });

  it('killed at any moment, again and again: ends byte for byte, each chunk fetched once and the last one twice', async () => {
    setup.hub.add('user/tiny', setup.split);
    setup.hub.bytesPerSecond = 30e6;
    const total = Object.values(setup.split).reduce((sum, { length }) => sum + length, 0);
    const moments = [1_000, 0.1 * total, 0.35 * total, 0.62 * total, 0.97 * total];
    for (const moment of moments) {
      const child = pull();
      const before = setup.hub.bytesSent();
      await Promise.race([sent(before + moment / moments.length), child.result]);
      child.kill();
      await child.result.catch(() => {});
    }
    const model = await pull().result;
    for (const [name, bytes] of Object.entries(setup.split))
      expectSame(
        await readFile(name.endsWith('.duo') ? model!.path : join(dirname(model!.path), name)),
        bytes,
      );
    const again = setup.hub.bytesSent() - total;
    // What was in flight to a killed process, besides the chunk that it had not whole.
    expect(again).toBeLessThan(moments.length * (LIMITS.chunkBytes + 2 ** 20));
  });

  it('a lock of a machine that is gone is taken over; one of a live process is waited for', async () => {
    setup.hub.add('user/tiny', { 'model.duo': setup.whole });
    const { id } = await pullModel(ADDRESS, { env: setup.env });
    const cache = openModelCache({ env: setup.env });
    await cache.remove(ADDRESS);
    await mkdir(cache.folderOf(id), { recursive: true });
    const hold = (pid: number) =>
      writeFile(cache.lockOf(id), JSON.stringify({ pid, host: hostname(), id: 'somebody' }));
    // No process has this number: it is above what systems give out.
    await hold(2 ** 30);
    expect((await pullModel(ADDRESS, { env: setup.env })).downloaded).toBeGreaterThan(0);
    await cache.remove(ADDRESS);
    await mkdir(cache.folderOf(id), { recursive: true });
    await hold(process.pid);
    const notices: string[] = [];
    const signal = AbortSignal.timeout(700);
    const waiting = await errorOf(
      pullModel(ADDRESS, { env: setup.env, signal, onNotice: (line) => notices.push(line) }),
    );
    expect(waiting.code).toBe('ABORTED');
    expect(notices).toEqual(['note: another process downloads this model; waiting for it']);
  });
});
