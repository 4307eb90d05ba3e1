// `duobit serve`: what it says when it starts, and, as a process of its own, how it ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { bundleForNode } from '@duobit/testkit/hub';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectDocumented, ROOT, runCli, useFolder } from './harness.ts';

const MODEL = join(ROOT, 'fixtures/embedded/tinystories-656k.duo');
const folder = useFolder();
const PORT = ['--port', '0', '--backend', 'wasm', '--threads', '1'];

describe('the command', () => {
  it('tells its address, serves there, and ends with a signal', async () => {
    const controller = new AbortController();
    let asked: Promise<unknown> | undefined;
    const { code, stdout, stderr } = await runCli(['serve', MODEL, ...PORT, '--json', '--parallel', '3'], {
      signal: controller.signal,
      env: { DUOBIT_API_KEY: 'secret' },
      onStdout: (text) => {
        const { address, model } = JSON.parse(text);
        const headers = { authorization: 'Bearer secret', 'content-type': 'application/json' };
        const body = JSON.stringify({ prompt: 'Once', max_tokens: 3, seed: 1 });
        asked = fetch(`${address}/v1/completions`, { method: 'POST', headers, body })
          .then(async (answer) => ({
            model,
            answer: await answer.json(),
            open: await fetch(`${address}/v1/models`),
          }))
          .finally(() => controller.abort());
      },
    });
    expect(code).toBe(0);
    const json = JSON.parse(stdout);
    expectDocumented('serve', json);
    expect(json).toMatchObject({
      model: 'tinystories-656k',
      backend: 'wasm',
      parallel: 3,
      queue: 256,
      context: 512,
    });
    expect(await asked).toMatchObject({
      answer: { model: 'tinystories-656k', usage: { completion_tokens: 3 } },
      open: { status: 401 },
    });
    expect(stderr).toContain('the model has no chat template');
    expect(stderr).not.toContain('may use this server');
    const request = stderr.split('\n').find((line) => line.includes('"path":"/v1/completions"'));
    expect(JSON.parse(request!)).toMatchObject({ status: 200, generated_tokens: 3 });
  });

  it('warns of a server that everybody may use', async () => {
    const controller = new AbortController();
    const { code, stdout, stderr } = await runCli(['serve', MODEL, ...PORT, '--host', '0.0.0.0'], {
      signal: controller.signal,
      onStderr: (text) => void (text.includes('--api-key') && controller.abort()),
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^tinystories-656k at http:\/\/0\.0\.0\.0:\d+\/v1: wasm, 1 thread, /);
    expect(stderr).toContain('everybody who reaches 0.0.0.0 may use this server');
  });

  it('refuses an empty key, a port in use and a template that is not there or cannot be parsed', async () => {
    const failure = async (options: readonly string[], env: Record<string, string> = {}) =>
      (await runCli(['serve', MODEL, ...PORT, ...options], { env })).stderr;
    expect(await failure([], { DUOBIT_API_KEY: '' })).toContain('SERVER_OPTION: the API key is empty');
    expect(await failure(['--chat-template', folder.path('none')])).toContain('TEXT_UNREADABLE');
    const bad = folder.path('bad.jinja');
    await writeFile(bad, '{% for message in messages %}');
    expect(await failure(['--chat-template', bad])).toMatch(/^error CHAT_TEMPLATE_INVALID: /m);
    const talk = ['chat', MODEL, '--backend', 'wasm', '--chat-template', bad];
    expect((await runCli(talk, { stdin: 'Hi\n' })).stderr).toMatch(/^error CHAT_TEMPLATE_INVALID: /m);
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    expect(await failure(['--port', String(port)])).toContain('SERVER_LISTEN: cannot listen');
    other.close();
  });
});

describe('the process', () => {
  let program = '';
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    const source =
      "import { main, processIo } from '../src/main.ts';\nprocess.exitCode = await main(process.argv.slice(2), processIo());\n";
    program = await bundleForNode('serve', source, join(ROOT, 'packages/cli/test'));
    await writeFile(folder.path('template.jinja'), '{{ messages[0].content }}');
  });
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  async function start(...options: readonly string[]) {
    const template = ['--chat-template', folder.path('template.jinja')];
    const argv = [
      program,
      'serve',
      MODEL,
      ...PORT,
      ...template,
      '--log-level',
      'error',
      '--json',
      ...options,
    ];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const exit = once(child, 'exit');
    let text = '';
    for await (const piece of child.stdout) {
      text += piece;
      if (text.endsWith('}\n')) break;
    }
    return { child, exit, address: JSON.parse(text).address as string };
  }

  /** All of a streamed answer, however it ends. Its length is that of the seed. */
  async function stream(address: string, begun: () => void, n = 1): Promise<string> {
    const messages = [{ role: 'user', content: 'Once upon a time' }];
    const body = JSON.stringify({ messages, stream: true, n, seed: 1 });
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${address}/v1/chat/completions`, { method: 'POST', headers, body });
    let text = '';
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      begun();
    }
    return text;
  }

  it.each([{ grace: '600' }, { grace: '0' }])(
    'ends every stream when it is told to stop, with a grace of $grace seconds',
    async ({ grace }) => {
      const { child, exit, address } = await start('--parallel', '2', '--grace', grace);
      let running = 0;
      const answers = Array.from({ length: 12 }, () => {
        let isRunning = false;
        return stream(address, () => {
          if (isRunning) return;
          isRunning = true;
          if (++running === 4) child.kill('SIGTERM');
        });
      });
      const texts = await Promise.all(answers);
      expect(await exit).toEqual([0, null]);
      const complete = texts.filter(
        (text) => text.endsWith('data: [DONE]\n\n') && text.includes('"finish_reason":"'),
      );
      const refused = texts.filter((text) => /"code":"SERVER_CLOSING"}}(\n\n)?$/.test(text));
      expect(complete.length + refused.length).toBe(12);
      expect(refused.length).toBeGreaterThan(0);
      expect(complete.length).toBeGreaterThanOrEqual(grace === '600' ? 4 : 2);
    },
  );

  it('ends at once with a second signal', async () => {
    // 128 answers are more than half a minute of work, for what takes moments.
    const slow = ['--backend', 'reference', '--parallel', '1', '--grace', '600'];
    const { child, exit, address } = await start(...slow);
    let refused: Promise<string | undefined> | null = null;
    const begun = (): void => {
      if (refused) return;
      child.kill('SIGTERM');
      // Refused by a server that has taken the first signal, or by the machine if it no longer listens.
      refused = stream(address, () => {}).catch(() => undefined);
      void refused.then(() => child.kill('SIGTERM'));
    };
    const running = stream(address, begun, 128).catch(() => 'cut off');
    expect(await exit).toEqual([130, null]);
    expect(await running).toBe('cut off');
    expect((await refused!) ?? 'SERVER_CLOSING').toContain('SERVER_CLOSING');
  });
});
