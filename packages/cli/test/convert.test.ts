// convert: what it writes, what it says, and that it refuses and stops cleanly.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT, HELDOUT, resultOf, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);

describe('duobit convert', () => {
  it('writes a folder that the other commands take, and reports true sizes', async () => {
    const out = folder.path('hf');
    const { code, json, stderr } = await runJson(['convert', container.path(), '-o', out]);
    expect(code).toBe(0);
    expect(stderr).toBe('convert: 33%\nconvert: 67%\nconvert: 100%\n');
    const files = [
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ];
    expect(json).toEqual({
      output: out,
      source: container.path(),
      dtype: 'f32',
      files: files.map((name) => ({ name, bytes: statSync(join(out, name)).size })),
      tensors: 20,
      parameters: 656_000,
      bytes: files.reduce((sum, name) => sum + statSync(join(out, name)).size, 0),
      seconds: expect.any(Number),
    });
    expect(readdirSync(out).sort()).toEqual(files);

    const evaluate = (model: string) =>
      runJson([
        'eval',
        'ppl',
        model,
        '--text',
        HELDOUT,
        '--context',
        '64',
        '--limit',
        '2',
        '--activations',
        'f16',
      ]);
    const [packed, dense] = [await evaluate(container.path()), await evaluate(out)];
    expect(dense.code).toBe(0);
    expect(resultOf(dense.json).perplexity / resultOf(packed.json).perplexity).toBeCloseTo(1, 4);
  });

  it('writes the tensors alone, in the type asked for', async () => {
    const out = folder.path('tensors.safetensors');
    const { code, stdout } = await runCli(['convert', container.path(), '-o', out, '--dtype', 'bf16']);
    expect(code).toBe(0);
    expect(stdout).toContain('656,000 values in bf16');
    const bytes = readFileSync(out);
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))));
    expect(header['model.norm.weight']).toMatchObject({ dtype: 'BF16', shape: [128] });
  });

  it.each([
    ['1MB', 3],
    ['1MiB', 3],
    ['1.4 MB', 2],
    ['3000kB', 1],
    ['2700000', 1],
  ])('splits at --shard-size %s into %d', async (size, shards) => {
    const out = folder.path(`shards-${size.replace(' ', '')}`);
    const { code, json } = await runJson(['convert', container.path(), '-o', out, '--shard-size', size]);
    expect(code).toBe(0);
    const names = (json.files as { name: string }[]).map(({ name }) => name);
    expect(names.filter((name) => name.endsWith('.safetensors'))).toHaveLength(shards);
    expect(existsSync(join(out, 'model.safetensors.index.json'))).toBe(shards > 1);
  });

  it('takes a checkpoint as well, and gives its values back', async () => {
    const out = folder.path('from-checkpoint.safetensors');
    expect((await runCli(['convert', CHECKPOINT, '-o', out])).code).toBe(0);
    // Both are F32, so that the bytes must be the same.
    const data = (path: string): Map<string, string> => {
      const bytes = readFileSync(path);
      const start = 8 + Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
        string,
        { data_offsets: [number, number] }
      >;
      const values = new Map<string, string>();
      for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
        if (name === '__metadata__') continue;
        // The embedded checkpoint keeps its tied matrix under the head's name.
        const known = name === 'lm_head.weight' ? 'model.embed_tokens.weight' : name;
        values.set(known, bytes.toString('base64', start + offsets[0], start + offsets[1]));
      }
      return values;
    };
    const [found, expected] = [data(out), data(join(CHECKPOINT, 'model.safetensors'))];
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [name, values] of expected) expect(found.get(name) === values, name).toBe(true);
  });

  it('overwrites nothing without --force', async () => {
    const out = folder.path('taken');
    await mkdir(out);
    await writeFile(join(out, 'notes.txt'), 'mine');
    const refused = await runJson(['convert', container.path(), '-o', out]);
    expect(refused.code).toBe(1);
    expect(refused.json).toMatchObject({ error: { code: 'EXPORT_EXISTS', where: out } });
    expect(readdirSync(out)).toEqual(['notes.txt']);
    expect((await runCli(['convert', container.path(), '-o', out, '--force'])).code).toBe(0);
    expect(readdirSync(out)).toContain('config.json');
    expect(readFileSync(join(out, 'notes.txt'), 'utf8')).toBe('mine');
  });

  it('stops on Ctrl-C with 130 and leaves nothing', async () => {
    const home = folder.path('stopped');
    await mkdir(home);
    const controller = new AbortController();
    const { code, json } = await runJson(['convert', container.path(), '-o', join(home, 'out')], {
      signal: controller.signal,
      onStderr: (text) => text.startsWith('convert: 33%') && controller.abort(),
    });
    expect(code).toBe(130);
    expect(json).toMatchObject({ error: { code: 'ABORTED' } });
    expect(readdirSync(home)).toEqual([]);
  });

  it('refuses a missing model and a damaged container', async () => {
    const missing = await runJson(['convert', folder.path('no.duo'), '-o', folder.path('never')]);
    expect(missing.json).toMatchObject({ error: { code: 'MODEL_NOT_FOUND' } });
    const bytes = readFileSync(container.path());
    bytes[bytes.length - 100_000]! ^= 1;
    await writeFile(folder.path('damaged.duo'), bytes);
    const damaged = await runJson(['convert', folder.path('damaged.duo'), '-o', folder.path('never')]);
    expect(damaged.code).toBe(1);
    expect(damaged.json).toMatchObject({ error: { code: 'CHUNK_HASH' } });
    expect(existsSync(folder.path('never'))).toBe(false);
  });
});
