// diff, split, merge and annotate on the embedded checkpoint.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT, expectDocumented, PROMPT, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);
const PARTS = 'parts/tiny.duo';

beforeAll(async () => {
  const symmetric = ['quantize', CHECKPOINT, '-o', folder.path('symmetric.duo'), '--symmetric'];
  const split = ['split', container.path(), '-o', folder.path('parts'), '--max-size', '280kB'];
  for (const argv of [symmetric, split]) {
    const { code, stderr } = await runCli(argv);
    if (code !== 0) throw new Error(`the test files cannot be made: ${stderr}`);
  }
});

describe('duobit split and merge', () => {
  it('writes data files of bounded size, and merges them to the same bytes', async () => {
    const files = readdirSync(folder.path('parts')).sort();
    expect(files.length).toBeGreaterThan(2);
    const count = String(files.length - 1).padStart(5, '0');
    expect(files).toEqual([
      ...files.slice(0, -1).map((_, i) => `tiny-${String(i + 1).padStart(5, '0')}-of-${count}.duodata`),
      'tiny.duo',
    ]);
    for (const name of files.slice(0, -1)) {
      expect(statSync(folder.path(`parts/${name}`)).size).toBeLessThanOrEqual(280_000);
    }
    const merged = folder.path('merged.duo');
    const { code, json } = await runJson(['merge', folder.path(PARTS), '-o', merged]);
    expect(code).toBe(0);
    expect(readFileSync(merged).equals(readFileSync(container.path()))).toBe(true);
    const bytes = readFileSync(merged);
    expect(json).toMatchObject({ output: merged, source: folder.path(PARTS), file_bytes: bytes.length });
    bytes.fill(0, 56, 88);
    const header = bytes.subarray(0, bytes.readUInt32LE(20));
    expect(json.header_sha256).toBe(createHash('sha256').update(header).digest('hex'));
  });

  it('gives the documented fields, for one data file too', async () => {
    const argv = ['split', container.path(), '-o', folder.path('one'), '--max-size', '1GB'];
    const { code, json } = await runJson(argv);
    expect(code).toBe(0);
    const data = readFileSync(folder.path('one/tiny-00001-of-00001.duodata'));
    expect(json).toEqual({
      output: folder.path('one/tiny.duo'),
      source: container.path(),
      header_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      file_bytes: statSync(folder.path('one/tiny.duo')).size,
      data_files: [
        {
          name: 'tiny-00001-of-00001.duodata',
          bytes: data.length,
          sha256: createHash('sha256').update(data).digest('hex'),
        },
      ],
      seconds: expect.any(Number),
    });
    const again = await runCli([...argv, '--force']);
    expect(again.code).toBe(0);
    expect(again.stdout).toContain('tiny-00001-of-00001.duodata');
    expectDocumented('split', json);
    const whole = ['merge', folder.path('one/tiny.duo'), '-o', folder.path('whole.duo')];
    expectDocumented('merge', (await runJson(whole)).json);
  });

  it('gives a model that validates, inspects and runs like the one file', async () => {
    const valid = await runJson(['validate', folder.path(PARTS), '--canonical']);
    expect(valid.json.problems).toEqual([]);
    expect(valid.code).toBe(0);
    const tensor = ['--tensor', 'model.norm.weight'];
    const whole = await runJson(['inspect', container.path(), ...tensor]);
    const parts = await runJson(['inspect', folder.path(PARTS), ...tensor]);
    expect(parts.json.statistics).toEqual(whole.json.statistics);
    expectDocumented('inspect --tensor', parts.json);
    expect((parts.json.planes as { data_file: string }[])[0]!.data_file).toMatch(/^tiny-.*\.duodata$/);
    const text = async (path: string) => (await runCli(['run', path, '-p', PROMPT, '-n', '12'])).stdout;
    expect(await text(folder.path(PARTS))).toBe(await text(container.path()));
  });

  it('refuses to replace files, a size that is too small, and parts that are gone or damaged', async () => {
    const before = readFileSync(folder.path(PARTS));
    const again = ['split', container.path(), '-o', folder.path('parts'), '--max-size', '280kB'];
    const exists = await runJson(again);
    expect(exists.code).toBe(1);
    expect(exists.json.error).toMatchObject({
      code: 'OUTPUT_EXISTS',
      remedy: expect.stringContaining('--force'),
    });
    expect(readFileSync(folder.path(PARTS)).equals(before)).toBe(true);
    expect((await runCli([...again, '--force'])).code).toBe(0);

    const small = ['split', container.path(), '-o', folder.path('small'), '--max-size', '1000'];
    const tooSmall = await runJson(small);
    expect(tooSmall.json.error).toMatchObject({ code: 'DATA_FILE_TOO_SMALL' });
    expect(existsSync(folder.path('small'))).toBe(false);

    const kept = folder.path('kept.duo');
    await writeFile(kept, 'something else');
    const merge = await runJson(['merge', folder.path(PARTS), '-o', kept]);
    expect(merge.json.error).toMatchObject({ code: 'OUTPUT_EXISTS' });
    expect(readFileSync(kept, 'utf8')).toBe('something else');
    expect((await runCli(['merge', folder.path(PARTS), '-o', kept, '--force'])).code).toBe(0);
    expect(readFileSync(kept).equals(readFileSync(container.path()))).toBe(true);

    const broken = folder.path('broken');
    await cp(folder.path('parts'), broken, { recursive: true });
    const [first, second] = readdirSync(broken).filter((name) => name.endsWith('.duodata'));
    const bytes = await readFile(`${broken}/${first}`);
    bytes[100]! ^= 1;
    await writeFile(`${broken}/${first}`, bytes);
    const out = folder.path('from-broken.duo');
    const damaged = await runJson(['merge', `${broken}/tiny.duo`, '-o', out]);
    expect(damaged.code).toBe(1);
    expect((damaged.json.error as { code: string }).code).toMatch(/^(CHUNK_HASH|DATA_FILE_HASH)$/);
    await rm(`${broken}/${second}`);
    const gone = await runJson(['merge', `${broken}/tiny.duo`, '-o', out]);
    expect(gone.json.error).toMatchObject({ code: 'DATA_FILE_MISSING' });
    expect(existsSync(out)).toBe(false);
  });
});

describe('duobit diff', () => {
  it('knows copies, split models and other words about a model as the same, with 0', async () => {
    const copy = folder.path('copy.duo');
    await cp(container.path(), copy);
    const same = await runJson(['diff', container.path(), copy]);
    expect(same.code).toBe(0);
    expect(same.json).toMatchObject({ verdict: 'identical', same_model: true });
    const parts = await runJson(['diff', container.path(), folder.path(PARTS)]);
    expect(parts.code).toBe(0);
    expect(parts.json).toMatchObject({ verdict: 'repacked', same_model: true, model: [], metadata: [] });
    expect((parts.json.layout as { field: string }[]).map(({ field }) => field)).toContain('dataFiles');
    expect((parts.json.tensors as { equal: number }).equal).toBeGreaterThan(10);
    const text = await runCli(['diff', container.path(), folder.path(PARTS)]);
    expect(text.stdout).toMatch(/^the same model, packed in another way\n/);
  });

  it('lists what differs between two models, with 1', async () => {
    const { code, json } = await runJson(['diff', container.path(), folder.path('symmetric.duo')]);
    expect(code).toBe(1);
    expect(json).toMatchObject({
      verdict: 'different',
      same_model: false,
      a: { file: container.path(), file_bytes: statSync(container.path()).size },
      model: [],
      assets: [],
      metadata: [{ field: 'provenance.recipe' }],
    });
    const tensors = json.tensors as { equal: number; changed: Record<string, unknown>[] };
    const up = tensors.changed.find(({ name }) => name === 'model.layers.0.mlp.up_proj.weight')!;
    expect(up).toMatchObject({
      shape: null,
      encoding: { a: { kind: 'w11', offsets: true }, b: { kind: 'w11', offsets: false } },
      activation: [],
      planes: [],
      values: { count: expect.any(Number), max_abs: expect.any(Number), relative_rms: expect.any(Number) },
    });
    expectDocumented('diff', json);
    const values = up.values as { relative_rms: number };
    expect(values.relative_rms).toBeGreaterThan(0.01);
    expect(values.relative_rms).toBeLessThan(0.5);
    const text = await runCli(['diff', container.path(), folder.path('symmetric.duo'), '--values']);
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(/^different models\n/);
    expect(text.stdout).toContain('w11 group 128 -> w11 group 128 symmetric');
  });

  it('is an error when one side cannot be read', async () => {
    const bad = folder.path('bad.duo');
    await writeFile(bad, 'not a container'.repeat(50));
    const { code, json } = await runJson(['diff', container.path(), bad]);
    expect(code).toBe(1);
    expect(json).toMatchObject({ error: { code: 'CONTAINER_MAGIC' } });
    expect(json).not.toHaveProperty('verdict');
    const missing = await runJson(['diff', folder.path('nothing.duo'), bad]);
    expect(missing.json.error).toMatchObject({ code: 'SOURCE_MISSING' });
  });
});

interface Run {
  readonly offset: number;
  readonly length: number;
  readonly kind: string;
  readonly hex: string;
}

/** Every byte once, in order. */
function expectComplete(json: Record<string, unknown>, bytes: Buffer): void {
  let at = 0;
  for (const { offset, length, hex } of json.runs as Run[]) {
    expect(offset).toBe(at);
    expect(hex).toBe(bytes.subarray(at, at + Math.min(16, length)).toString('hex'));
    at += length;
  }
  expect(at).toBe(bytes.length);
  expect(json.file_bytes).toBe(bytes.length);
}

describe('duobit annotate', () => {
  it('covers a file, a header file and its data files', async () => {
    const whole = await runJson(['annotate', container.path()]);
    expect(whole.code).toBe(0);
    expectComplete(whole.json, readFileSync(container.path()));
    expectDocumented('annotate', whole.json);
    expect((whole.json.runs as Run[]).some(({ kind }) => kind === 'unknown')).toBe(false);
    const header = await runJson(['annotate', folder.path(PARTS)]);
    expectComplete(header.json, readFileSync(folder.path(PARTS)));
    for (const name of readdirSync(folder.path('parts')).filter((file) => file.endsWith('.duodata'))) {
      const data = await runJson(['annotate', folder.path(PARTS), '--data-file', name]);
      expectComplete(data.json, readFileSync(folder.path(`parts/${name}`)));
      expect(new Set((data.json.runs as Run[]).map(({ kind }) => kind)).has('plane')).toBe(true);
      expect((data.json.runs as Run[]).some(({ kind }) => kind === 'unknown')).toBe(false);
    }
  });

  it('prints one line a run', async () => {
    const { code, stdout } = await runCli(['annotate', container.path(), '--range', '0x10:20']);
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      expect.stringMatching(/^00000010 +2 {2}01 00 +format version, major = 1 {2}preamble\.major$/),
      expect.stringMatching(/^00000012 +2 {2}01 00 +format version, minor = 1 {2}preamble\.minor$/),
      '',
    ]);
    const rest = await runJson(['annotate', container.path(), '--range', '128:']);
    expect((rest.json.runs as Run[])[0]!.offset).toBe(128);
    const beyond = await runJson(['annotate', container.path(), '--range', '999999999:']);
    expect(beyond.json.runs).toEqual([]);
  });

  it('refuses what has no structure, and data files that are not the model’s', async () => {
    const bad = folder.path('no-header.duo');
    await writeFile(bad, Buffer.alloc(400));
    const refused = await runJson(['annotate', bad]);
    expect(refused.code).toBe(1);
    expect(refused.json.error).toMatchObject({ code: 'CONTAINER_MAGIC' });
    await mkdir(folder.path('others'));
    await cp(folder.path(PARTS), folder.path('others/tiny.duo'));
    await writeFile(folder.path('others/foreign.duodata'), 'x');
    const foreign = await runJson([
      'annotate',
      folder.path('others/tiny.duo'),
      '--data-file',
      'foreign.duodata',
    ]);
    expect(foreign.json.error).toMatchObject({
      code: 'DATA_FILE_UNKNOWN',
      remedy: expect.stringContaining('tiny-00001-of-'),
    });
    const missing = await runJson([
      'annotate',
      folder.path('others/tiny.duo'),
      '--data-file',
      'tiny-9.duodata',
    ]);
    expect(missing.json.error).toMatchObject({ code: 'SOURCE_MISSING' });
  });

  it('stops quietly when nobody reads', async () => {
    const { code } = await runCli(['annotate', container.path()], {
      onStdout: () => {
        throw Object.assign(new Error('closed'), { code: 'EPIPE' });
      },
    });
    expect(code).toBe(0);
  });
});
