// run and bench, on the container and on the unquantized checkpoint.
import { describe, expect, it } from 'vitest';
import { CHECKPOINT, expectDocumented, PROMPT, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);

describe('documentation', () => {
  it('has a row for each JSON field of each command, and no other', async () => {
    const duo = container.path();
    const fast = ['--prompt-tokens', '4', '-n', '2', '--repeats', '1'];
    expectDocumented(
      'quantize',
      (await runJson(['quantize', CHECKPOINT, '-o', folder.path('doc.duo')])).json,
    );
    expectDocumented('validate', (await runJson(['validate', duo])).json);
    expectDocumented('inspect', (await runJson(['inspect', duo])).json);
    expectDocumented('run', (await runJson(['run', duo, '-p', PROMPT, '-n', '2'])).json);
    expectDocumented('bench', (await runJson(['bench', duo, ...fast])).json);
  });
});

describe('duobit run', () => {
  it('streams the text of the unquantized checkpoint, in English', async () => {
    const pieces: string[] = [];
    const { code, stdout, stderr } = await runCli(['run', CHECKPOINT, '-p', PROMPT, '-n', '40'], {
      onStdout: (text) => pieces.push(text),
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^, a little girl named Lily lived in a small house/);
    expect(pieces.length).toBeGreaterThan(10);
    expect(stderr).toMatch(
      /^40 tokens after \d+ of prompt \(length\); prefill .* (native|wasm), \d+ threads?, KV cache f(16|32)\n$/,
    );
  });

  it('gives one object with --json, the same text as the stream, and repeats itself', async () => {
    const argv = ['run', container.path(), '-p', PROMPT, '-n', '12', '--temperature', '0.9', '--seed', '7'];
    const first = await runJson(argv);
    const second = await runJson(argv);
    const streamed = await runCli(argv);
    const other = await runJson([...argv.slice(0, -1), '8']);
    expect(first.code).toBe(0);
    expect(first.json).toMatchObject({ tokens: 12, finish_reason: 'length' });
    expect(first.json.backend).toMatch(/^(native|wasm)$/);
    expect(first.json.threads).toBeGreaterThan(0);
    expect(first.json.decode_tokens_per_second).toBeGreaterThan(0);
    expect(second.json.text).toBe(first.json.text);
    expect(streamed.stdout).toBe(`${first.json.text}\n`);
    expect(other.json.text).not.toBe(first.json.text);
  });

  it('ends before a stop text', async () => {
    const { json } = await runJson(['run', CHECKPOINT, '-p', PROMPT, '-n', '60', '--stop', '.']);
    expect(json.finish_reason).toBe('stop');
    expect(json.text).not.toContain('.');
  });

  it('runs wasm when asked, on as many threads as asked', async () => {
    const argv = ['run', container.path(), '-p', PROMPT, '-n', '2', '--backend', 'wasm', '--threads', '2'];
    expect((await runJson(argv)).json).toMatchObject({ backend: 'wasm', threads: 2 });
  });

  it('runs the reference backend, which agrees greedily on the full-precision model', async () => {
    const argv = ['run', CHECKPOINT, '-p', PROMPT, '-n', '8'];
    const reference = await runJson([...argv, '--backend', 'reference']);
    expect(reference.json.backend).toBe('reference');
    expect(reference.json.text).toBe((await runJson(argv)).json.text);
  });

  it('says so when a backend runs fewer threads than asked', async () => {
    const { code, stderr } = await runCli([
      'run',
      container.path(),
      '-p',
      PROMPT,
      '-n',
      '1',
      '--threads',
      '2',
      '--backend',
      'reference',
    ]);
    expect(code).toBe(0);
    expect(stderr).toContain('note: asked for 2 threads; the reference backend runs 1 thread\n');
  });

  it('stops on Ctrl-C with 130 in the middle of the text', async () => {
    const controller = new AbortController();
    const { code, stderr } = await runCli(['run', CHECKPOINT, '-p', PROMPT, '-n', '400'], {
      signal: controller.signal,
      onStdout: () => controller.abort(),
    });
    expect(code).toBe(130);
    expect(stderr).toMatch(/error ABORTED: stopped by the user/);
  });

  it('ends quietly when nobody reads its output any more', async () => {
    const { code, stderr } = await runCli(['run', CHECKPOINT, '-p', PROMPT, '-n', '400'], {
      onStdout: () => {
        throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
      },
    });
    expect(code).toBe(0);
    expect(stderr).toBe('');
  });

  it.each([
    { name: 'a missing model', argv: ['nowhere.duo', '-p', 'x'], code: 'MODEL_NOT_FOUND' },
    {
      name: 'a chat without a template',
      argv: ['CONTAINER', '-p', 'x', '--chat'],
      code: 'CHAT_TEMPLATE_MISSING',
    },
    {
      name: 'a prompt longer than the context',
      argv: ['CONTAINER', '-p', 'a b c d e f g h', '--context', '4'],
      code: 'CONTEXT_TOO_LONG',
    },
    {
      name: 'a context beyond the model',
      argv: ['CONTAINER', '-p', 'x', '--context', '513'],
      code: 'MODEL_OPTION',
    },
  ])('refuses $name with 1', async ({ argv, code: expected }) => {
    const { code, json, stderr } = await runJson([
      'run',
      ...argv.map((word) => (word === 'CONTAINER' ? container.path() : word)),
    ]);
    expect(code).toBe(1);
    expect(json).toMatchObject({ error: { code: expected, remedy: expect.any(String) } });
    expect(stderr).toMatch(new RegExp(`^error ${expected}: `, 'm'));
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it('prints a stack only with DUOBIT_DEBUG=1', async () => {
    const { stderr } = await runCli(['run', 'nowhere.duo', '-p', 'x'], { env: { DUOBIT_DEBUG: '1' } });
    expect(stderr).toMatch(/^ {4}at /m);
  });
});

describe('duobit bench', () => {
  it('gives medians with their spread, and the machine', async () => {
    const argv = ['bench', container.path(), '--prompt-tokens', '16', '-n', '4', '--repeats', '3'];
    const { code, json } = await runJson(argv);
    expect(code).toBe(0);
    const spread = json.decode_spread as { minimum: number; maximum: number };
    expect(json.decode_tokens_per_second).toBeGreaterThanOrEqual(spread.minimum);
    expect(json.decode_tokens_per_second).toBeLessThanOrEqual(spread.maximum);
    expect(json.prefill_tokens_per_second).toBeGreaterThan(0);
    expect(json.matvec_gweights_per_second).toBeGreaterThan(0);
    expect(json.peak_rss_bytes).toBeGreaterThan(10_000_000);
    expect(json.machine).toMatchObject({ node: process.version, platform: process.platform });
    const text = await runCli(argv);
    expect(text.stdout).toMatch(/machine .*Node v\d/);
  });

  it('measures no kernel for the reference backend', async () => {
    const argv = ['bench', container.path(), '--prompt-tokens', '2', '-n', '2', '--repeats', '1'];
    const { json } = await runJson([...argv, '--backend', 'reference']);
    expect(json).toMatchObject({
      backend: 'reference',
      matvec_gweights_per_second: null,
      matvec_spread: null,
    });
  });

  it('refuses more tokens than the context holds', async () => {
    const { code, json } = await runJson(['bench', container.path(), '--prompt-tokens', '600']);
    expect(code).toBe(1);
    expect(json).toMatchObject({ error: { code: 'MODEL_OPTION' } });
  });
});
