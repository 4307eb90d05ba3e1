// eval ppl, zeroshot and rerun, on the container and on the unquantized checkpoint.
import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CHECKPOINT,
  expectDocumented,
  HELDOUT,
  ROOT,
  resultOf,
  runCli,
  runJson,
  useContainer,
  useFolder,
} from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);
const QUESTIONS = join(ROOT, 'fixtures/zeroshot');
const WINDOWS = ['--text', HELDOUT, '--context', '128', '--limit', '2'];

describe('duobit eval ppl', () => {
  it('measures the checkpoint and the container by the same code', async () => {
    const full = await runJson(['eval', 'ppl', CHECKPOINT, ...WINDOWS]);
    const quantized = await runJson(['eval', 'ppl', container.path(), ...WINDOWS]);
    expect(full.code).toBe(0);
    for (const [{ json }, activations] of [
      [full, 'f16'],
      [quantized, 'a4'],
    ] as const)
      expect(json).toMatchObject({
        kind: 'perplexity',
        result: { tokens: 254, windows: 2 },
        options: { context: 128, limit: 2, activations },
      });
    expect(full.json.model).toMatchObject({ sha256_of: 'weights' });
    expect(quantized.json.model).toMatchObject({
      sha256_of: 'header',
      bytes: readFileSync(container.path()).length,
    });
    const [dense, packed] = [resultOf(full.json), resultOf(quantized.json)];
    expect(dense.perplexity).toBeCloseTo(Math.exp(dense.nll), 10);
    expect(dense.perplexity).toBeLessThan(60);
    expect(packed.perplexity).toBeGreaterThan(dense.perplexity);
  });

  it('takes --activations into account', async () => {
    const a4 = await runJson(['eval', 'ppl', container.path(), ...WINDOWS]);
    const f16 = await runJson(['eval', 'ppl', container.path(), ...WINDOWS, '--activations', 'f16']);
    expect(f16.json.options).toMatchObject({ activations: 'f16' });
    expect(resultOf(f16.json).perplexity).not.toBe(resultOf(a4.json).perplexity);
  });

  it('quantizes the inputs of a checkpoint only when asked to', async () => {
    const full = await runJson(['eval', 'ppl', CHECKPOINT, ...WINDOWS]);
    const a4 = await runJson(['eval', 'ppl', CHECKPOINT, ...WINDOWS, '--activations', 'a4']);
    expect(a4.json.options).toMatchObject({ activations: 'a4' });
    expect(resultOf(a4.json).perplexity).toBeGreaterThan(resultOf(full.json).perplexity);
  });

  it('prints text for people', async () => {
    const { code, stdout } = await runCli(['eval', 'ppl', CHECKPOINT, ...WINDOWS]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^perplexity +\d+\.\d{4}\n/);
    expect(stdout).toContain('254 in 2 windows of 128');
  });

  it('refuses a text that is too short, missing or not text', async () => {
    const short = folder.path('short.txt');
    await writeFile(short, 'Once.');
    const tooShort = await runJson(['eval', 'ppl', CHECKPOINT, '--text', short]);
    expect(tooShort.code).toBe(1);
    expect(tooShort.json).toMatchObject({ error: { code: 'TEXT_TOO_SHORT' } });
    for (const text of [folder.path('missing.txt'), folder.path('.'), container.path()]) {
      const { code, json } = await runJson(['eval', 'ppl', CHECKPOINT, '--text', text]);
      expect(code).toBe(1);
      expect(json).toMatchObject({ error: { code: 'TEXT_UNREADABLE', where: `${text}, --text` } });
    }
  });
});

describe('duobit eval zeroshot', () => {
  it('asks the tasks it is given, in a fixed order', async () => {
    const argv = ['eval', 'zeroshot', CHECKPOINT, '--data', QUESTIONS, '--limit', '4'];
    const { code, json, stderr } = await runJson([...argv, '--tasks', 'winogrande,piqa']);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      kind: 'zeroshot',
      data: [
        { task: 'piqa', file: 'piqa.jsonl' },
        { task: 'winogrande', file: 'winogrande.jsonl' },
      ],
      result: {
        tasks: [
          { task: 'piqa', questions: 4, acc: expect.any(Number), acc_norm: expect.any(Number) },
          { task: 'winogrande', questions: 4, acc_norm: null, acc_norm_stderr: null },
        ],
      },
    });
    expect(stderr).toContain('winogrande: 100%\n');
    const all = await runCli(argv);
    expect(all.stdout).toMatch(/^task +questions +acc +acc_norm\npiqa +4 +\d/);
    expect(all.stdout).toContain('hellaswag');
  });

  it('takes single files, and says what is missing and which line is bad', async () => {
    const bad = folder.path('piqa.jsonl');
    await writeFile(bad, '{"query":"q","choices":["a","b"],"gold":0}\n{"query":"q"}\n');
    const ask = (...more: string[]) => runJson(['eval', 'zeroshot', CHECKPOINT, '--data', ...more]);
    expect((await ask(bad)).json).toMatchObject({
      error: { code: 'EVALUATION_DATA', where: `${bad}, line 2` },
    });
    expect((await ask(HELDOUT)).json).toMatchObject({ error: { code: 'TASK_FILE_MISSING' } });
    const missing = await ask(join(QUESTIONS, 'piqa.jsonl'), '--tasks', 'piqa,hellaswag');
    expect(missing.code).toBe(1);
    expect(missing.json).toMatchObject({ error: { code: 'TASK_FILE_MISSING' } });
    expect(missing.stderr).toContain('hellaswag_val_full.txt');
  });
});

describe('records', () => {
  it('are written whole, once, and can be rerun', async () => {
    const file = folder.path('ppl.json');
    const argv = ['eval', 'ppl', container.path(), ...WINDOWS, '--record', file];
    const { code, json } = await runJson(argv);
    expect(code).toBe(0);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(json);
    expectDocumented('eval ppl', json);

    const again = await runJson(argv);
    expect(again.json).toMatchObject({ error: { code: 'OUTPUT_EXISTS' } });
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(json);
    expect((await runJson([...argv, '--force'])).code).toBe(0);

    const rerun = await runJson(['eval', 'rerun', file, '--model', container.path(), '--data', HELDOUT]);
    expect(rerun.code).toBe(0);
    expect(rerun.json).toMatchObject({ same: true, comparisons: [{ what: 'perplexity', same: true }] });
    expectDocumented('eval rerun', rerun.json);
    const record = rerun.json.record as Record<string, unknown>;
    expect(record.options).toEqual(json.options);
    expect(resultOf(record).perplexity).toBe(resultOf(json).perplexity);
  });

  it('leave nothing behind when the evaluation fails', async () => {
    const before = await readdir(folder.path('.'));
    const argv = ['eval', 'ppl', CHECKPOINT, '--text', folder.path('short.txt')];
    await writeFile(folder.path('short.txt'), 'Once.');
    const { code } = await runJson([...argv, '--record', folder.path('none.json')]);
    expect(code).toBe(1);
    expect((await readdir(folder.path('.'))).sort()).toEqual([...new Set([...before, 'short.txt'])].sort());
    const missing = await runJson([...argv, '--record', folder.path('no/none.json')]);
    expect(missing.json).toMatchObject({ error: { code: 'SINK_FOLDER_MISSING' } });
  });

  it('tell another model, other data and other results apart', async () => {
    const file = folder.path('zeroshot.json');
    const argv = ['eval', 'zeroshot', CHECKPOINT, '--data', QUESTIONS, '--limit', '3', '--tasks'];
    const { json } = await runJson([...argv, 'piqa,openbookqa', '--record', file]);
    expectDocumented('eval zeroshot', json);
    const rerun = (model: string, data: string, record = file) =>
      runJson(['eval', 'rerun', record, '--model', model, '--data', data]);
    expect((await rerun(CHECKPOINT, QUESTIONS)).json).toMatchObject({ same: true });
    expect((await rerun(container.path(), QUESTIONS)).json).toMatchObject({
      error: { code: 'RECORD_MISMATCH', where: `${container.path()}, model` },
    });

    const other = folder.path('other.json');
    await writeFile(other, JSON.stringify(json).replace(/"acc":[0-9.]+/, '"acc":0.999'));
    const differs = await rerun(CHECKPOINT, QUESTIONS, other);
    expect(differs.code).toBe(1);
    expect(differs.json).toMatchObject({
      same: false,
      comparisons: [{ what: 'piqa acc', same: false }, {}, {}, {}],
    });
    await writeFile(other, JSON.stringify(json).replace(/"sha256":"/, '"sha256":"0'));
    expect((await rerun(CHECKPOINT, QUESTIONS, other)).json).toMatchObject({
      error: { code: 'RECORD_MISMATCH' },
    });
    for (const text of ['{', '{}', 'null', JSON.stringify({ ...json, options: {} })]) {
      await writeFile(other, text);
      expect((await rerun(CHECKPOINT, QUESTIONS, other)).json).toMatchObject({
        error: { code: 'RECORD_INVALID' },
      });
    }
  });
});
