// `duobit quantize --queue` and `duobit worker` with Debian's Redis: workers are processes of their own (the built command, so this needs
// `npm run build`), which are stopped and killed in the middle.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { nativeSupport } from '@duobit/runtime-node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT, HELDOUT, ROOT, runCli, runJson, useFolder } from './harness.ts';

const folder = useFolder();
const BIN = join(ROOT, 'packages/cli/bin/duobit.mjs');
const REDIS = spawnSync('redis-server', ['--version']).status === 0;
const BUILT = existsSync(join(ROOT, 'packages/cli/dist/main.js'));
/** CI has both; elsewhere one may be absent. */
const ABLE = (REDIS && BUILT) || process.env.CI !== undefined;
const DEVICE = nativeSupport().available ? 'native' : 'cpu';
const STAGES = ['--stages', '1,2,3', '--preset', 'fast', '--tokens', '256', '--evaluate', '0', '--no-report'];
const TEXT = ['--calibration', HELDOUT, '--calibration-windows', '2', '--calibration-context', '32'];

function quantizeTo(name: string, ...more: readonly string[]) {
  const where = ['quantize', CHECKPOINT, '-o', folder.path(name), '--device', DEVICE, '--inputs', 'teacher'];
  return runJson([...where, ...TEXT, ...STAGES, ...more]);
}

interface Worker {
  readonly process: ChildProcess;
  readonly said: () => string;
  /** Waits for words on stderr. */
  says(words: string): Promise<void>;
  readonly ended: Promise<number | null>;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function startWorker(url: string, checkpoint = CHECKPOINT, device = DEVICE): Worker {
  const argv = [BIN, 'worker', checkpoint, '--queue', url, '--device', device, '--lease', '3'];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let text = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  return {
    process: child,
    said: () => text,
    ended,
    says: (words) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (text.includes(words)) resolve();
        };
        child.stderr!.on('data', look);
        ended.then((code) => reject(new Error(`the worker ended with ${code}: ${text}`)));
        look();
      }),
  };
}

/** A port that nobody has, for a moment. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

describe('a queue that cannot be used', () => {
  it.each([
    [['--queue', 'http://127.0.0.1'], 'QUEUE_ADDRESS', 'http:'],
    [['--queue', 'redis://127.0.0.1', '--inputs', 'student'], 'QUANTIZE_OPTION', '--inputs teacher'],
    [['--queue', 'redis://127.0.0.1', '--stages', '1'], 'QUANTIZE_OPTION', '--stages 1,2,3'],
  ])('%j is refused', async (argv, code, says) => {
    const { json, stderr } = await quantizeTo('no.duo', ...argv);
    expect(json.error).toMatchObject({ code });
    expect(stderr).toContain(says);
  });

  it('is told within seconds when there is no Redis, or one that is silent', async () => {
    const started = performance.now();
    const { json } = await quantizeTo('no.duo', '--queue', `redis://127.0.0.1:${await freePort()}`);
    expect(json.error).toMatchObject({
      code: 'QUEUE_CONNECTION',
      message: expect.stringContaining('ECONNREFUSED'),
    });
    const silent = createServer();
    await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const url = `redis://user:secret@127.0.0.1:${port}`;
    const { code, stderr } = await runCli(['worker', CHECKPOINT, '--queue', url, '--device', 'cpu']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/QUEUE_CONNECTION.*within 5 s/);
    expect(stderr).not.toContain('secret');
    silent.close();
    expect(performance.now() - started).toBeLessThan(30_000);
  });
});

describe.skipIf(!ABLE)('duobit quantize --queue, with redis-server', () => {
  let server: ChildProcess;
  let address: string;
  let whole: Buffer;
  let stages: unknown;

  beforeAll(async () => {
    const port = await freePort();
    address = `redis://127.0.0.1:${port}`;
    const argv = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    server = spawn('redis-server', [...argv, '--dir', folder.path('.')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject);
      server.stdout!.on('data', (text: Buffer) => {
        if (text.toString().includes('Ready to accept')) resolve();
      });
    });
    const { code, stderr, json } = await quantizeTo('whole.duo');
    expect(code, stderr).toBe(0);
    whole = await readFile(folder.path('whole.duo'));
    stages = json.stages;
  }, 120_000);
  afterAll(() => void server?.kill('SIGKILL'));

  it('gives the bytes and the records of one machine, with two workers', async () => {
    const url = `${address}/two`;
    const workers = [startWorker(url), startWorker(url)];
    const { code, stderr, json } = await quantizeTo('two.duo', '--queue', url);
    expect(code, stderr).toBe(0);
    expect(whole.equals(await readFile(folder.path('two.duo')))).toBe(true);
    expect(json.stages).toEqual(stages);
    const said = workers.map((worker) => worker.said()).join('');
    for (const block of ['stage 2, block 0', 'stage 2, block 1', 'stage 3, block 0', 'stage 3, block 1'])
      expect(said).toContain(`${block}: done`);
    for (const worker of workers) worker.process.kill('SIGTERM');
    expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([130, 130]);
    // Nothing of the run stays in Redis: BullMQ's note that it looked for lost jobs goes by itself, within one lease.
    const redis = (...argv: string[]) =>
      spawnSync('redis-cli', ['-u', address, ...argv])
        .stdout.toString()
        .trim();
    const staying = redis('keys', '*')
      .split('\n')
      .filter((key) => key !== '' && redis('pttl', key) === '-1');
    expect(staying).toEqual([]);
  });

  it('loses nothing with a worker that is killed or stopped, and refuses those whose bytes would differ', async () => {
    const url = `${address}/killed`;
    const killed = startWorker(url);
    const running = quantizeTo('killed.duo', '--queue', url);
    await killed.says('begins');
    killed.process.kill('SIGKILL');
    const other = folder.path('other');
    await cp(CHECKPOINT, other, { recursive: true });
    const weights = join(other, 'model.safetensors');
    const bytes = await readFile(weights);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(weights, bytes);
    const refused = [startWorker(url, other), startWorker(url, CHECKPOINT, 'wasm')];
    expect(await Promise.all(refused.map(({ ended }) => ended))).toEqual([1, 1]);
    expect(refused[0]!.said()).toMatch(/QUEUE_MISMATCH.*a checkpoint with the SHA-256/);
    expect(refused[1]!.said()).toMatch(/QUEUE_MISMATCH.*the training device .*, this worker wasm/);
    const stopped = startWorker(url);
    await stopped.says('begins');
    stopped.process.kill('SIGTERM');
    expect(await stopped.ended).toBe(130);
    const last = startWorker(url);
    const { code, stderr } = await running;
    expect(code, stderr).toBe(0);
    expect(whole.equals(await readFile(folder.path('killed.duo')))).toBe(true);
    last.process.kill('SIGTERM');
    await last.ended;
  });
});
