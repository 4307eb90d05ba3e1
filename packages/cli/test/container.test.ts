// quantize, validate and inspect on the embedded checkpoint.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CHECKPOINT,
  expectDocumented,
  HELDOUT,
  ROOT,
  runCli,
  runJson,
  useContainer,
  useFolder,
} from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);

describe('duobit quantize', () => {
  it('writes the same bytes again and reports true sizes', async () => {
    const out = folder.path('again.duo');
    const { code, json } = await runJson(['quantize', CHECKPOINT, '-o', out]);
    expect(code).toBe(0);
    expect(readFileSync(out).equals(readFileSync(container.path()))).toBe(true);
    expect(json).toMatchObject({
      output: out,
      source: 'tinystories-656k',
      file_bytes: statSync(out).size,
      parameters: 656_000,
      tokenizer: true,
      calibration_tokens: 0,
    });
    const linearBytes = Number(json.linear_bytes);
    const linearWeights = Number(json.linear_weights);
    expect(json.bits_per_weight_linear).toBe((linearBytes * 8) / linearWeights);
    expect(json.bits_per_weight_file).toBe((statSync(out).size * 8) / 656_000);
  });

  it('prints about ten lines off a terminal, and a bar on one', async () => {
    const plain = await runCli(['quantize', CHECKPOINT, '-o', folder.path('plain.duo'), '--tensors']);
    expect(plain.code).toBe(0);
    const lines = plain.stderr.trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(12);
    expect(lines).toContain('quantize: 100%');
    expect(plain.stdout).toContain('model.layers.0.self_attn.q_proj.weight');

    const terminal = await runCli(['quantize', CHECKPOINT, '-o', folder.path('bar.duo')], { tty: true });
    expect(terminal.code).toBe(0);
    expect(terminal.stderr).toContain('█');
    expect(terminal.stdout).not.toContain('█');
  });

  it('takes its options', async () => {
    const out = folder.path('options.duo');
    const { code, json } = await runJson(
      ['quantize', CHECKPOINT, '-o', out, '--group', '64', '--embedding', 'q4', '--symmetric'].concat([
        '--calibration',
        HELDOUT,
        '--calibration-windows',
        '1',
      ]),
    );
    expect(code).toBe(0);
    expect(json.calibration_tokens).toBe(512);
    expect(json.bits_per_weight_linear).toBe(2.5);
    const inspected = await runJson(['inspect', out]);
    const tensors = inspected.json.tensors as { name: string; encoding: object }[];
    const encodingOf = (name: string) => tensors.find((tensor) => tensor.name === name)?.encoding;
    expect(encodingOf('model.layers.1.mlp.up_proj.weight')).toEqual({
      kind: 'w11',
      groupSize: 64,
      offsets: false,
    });
    expect(encodingOf('model.embed_tokens.weight')).toMatchObject({ kind: 'int4' });
    expect((inspected.json.provenance as Record<string, unknown>).calibrationSha256).toMatch(
      /^[0-9a-f]{64}$/,
    );
  });

  it('stops on Ctrl-C with 130, keeps the old file and leaves no other', async () => {
    const target = folder.path('interrupted');
    await mkdir(target);
    await writeFile(`${target}/model.duo`, 'the old file');
    const controller = new AbortController();
    const { code, json, stderr } = await runJson(['quantize', CHECKPOINT, '-o', `${target}/model.duo`], {
      signal: controller.signal,
      onStderr: (text) => text.startsWith('quantize:') && controller.abort(),
    });
    expect(code).toBe(130);
    expect(json).toMatchObject({ error: { code: 'ABORTED' } });
    expect(stderr).toMatch(/^error ABORTED: /m);
    expect(readdirSync(target)).toEqual(['model.duo']);
    expect(readFileSync(`${target}/model.duo`, 'utf8')).toBe('the old file');
  });

  it.each([
    { name: 'a missing checkpoint', argv: ['nowhere'], code: /^[A-Z_]+$/ },
    { name: 'a folder without a checkpoint', argv: ['.'], code: /^CHECKPOINT_/ },
    {
      name: 'a calibration text that is missing',
      argv: ['CHECKPOINT', '--calibration', 'no.txt'],
      code: /^TEXT_UNREADABLE$/,
    },
    {
      name: 'a calibration text that is a folder',
      argv: ['CHECKPOINT', '--calibration', '.'],
      code: /^TEXT_UNREADABLE$/,
    },
    {
      name: 'a calibration text that is not text',
      argv: ['CHECKPOINT', '--calibration', 'WEIGHTS'],
      code: /^TEXT_UNREADABLE$/,
    },
  ])('refuses $name with 1 and writes nothing', async ({ argv, code: expected }) => {
    const empty = folder.path(`empty-${argv.join('-').replace(/\W/g, '')}`);
    await mkdir(empty);
    const place = (word: string) =>
      word
        .replace('CHECKPOINT', CHECKPOINT)
        .replace('WEIGHTS', `${CHECKPOINT}/model.safetensors`)
        .replace(/^\.$/, empty);
    const out = folder.path('refused.duo');
    const { code, json } = await runJson(['quantize', ...argv.map(place), '-o', out]);
    expect(code).toBe(1);
    expect((json.error as { code: string }).code).toMatch(expected);
    expect(existsSync(out)).toBe(false);
  });

  it('says before the work and at its end that the checkpoint has no tokenizer', async () => {
    const bare = folder.path('bare');
    await mkdir(bare);
    for (const name of ['config.json', 'model.safetensors'])
      await copyFile(join(CHECKPOINT, name), join(bare, name));
    const [out, page] = [folder.path('bare.duo'), folder.path('bare.html')];
    const { code, stderr, stdout } = await runCli(['quantize', bare, '-o', out, '--report', page]);
    expect(code, stderr).toBe(0);
    const lines = stderr.split('\n');
    const told = lines.findIndex((line) => line.startsWith('note: the checkpoint has no tokenizer'));
    expect(told).toBeGreaterThanOrEqual(0);
    expect(told).toBeLessThan(lines.findIndex((line) => line.startsWith('quantize:')));
    expect(stdout).toMatch(/^tokenizer +none$/m);
    expect(readFileSync(page, 'utf8')).toContain('<b>Tokenizer.</b> The checkpoint has none');
    const { json } = await runJson(['run', out, '-p', 'x', '--backend', 'wasm']);
    expect(json.error).toMatchObject({ code: 'TOKENIZER_MISSING' });
    expect((await runCli(['quantize', CHECKPOINT, '-o', out])).stderr).not.toContain('tokenizer');
  });

  it('refuses an output folder that does not exist', async () => {
    const { code, stderr, stdout } = await runCli([
      'quantize',
      CHECKPOINT,
      '-o',
      folder.path('no/such/x.duo'),
    ]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error SINK_FOLDER_MISSING: .*no\/such/m);
  });
});

describe('duobit validate', () => {
  it('accepts a good container', async () => {
    const { code, json } = await runJson(['validate', container.path()]);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      ok: true,
      problems: [],
      notes: [],
      checked: { header: true, data: true, canonical: false },
      file_bytes: statSync(container.path()).size,
    });
    const text = await runCli(['validate', container.path(), '--header-only']);
    expect(text.stdout).toMatch(/^ok: .*header only\n$/);
    const canonical = await runJson(['validate', container.path(), '--deep', '--canonical']);
    expect(canonical.json).toMatchObject({
      ok: true,
      checked: { header: true, data: true, canonical: true },
    });
  });

  it('finds a header that is right but not in canonical form', async () => {
    const path = folder.path('padded.duo');
    const bytes = await readFile(container.path());
    const headerLength = bytes.readUInt32LE(20);
    // Eight bytes more of header, which nothing refers to.
    bytes.writeUInt32LE(headerLength + 8, 20);
    bytes.fill(0, 56, 88);
    const hash = createHash('sha256')
      .update(bytes.subarray(0, headerLength + 8))
      .digest();
    hash.copy(bytes, 56);
    await writeFile(path, bytes);
    expect((await runCli(['validate', path])).code).toBe(0);
    const { code, json } = await runJson(['validate', path, '--canonical', '--header-only']);
    expect(code).toBe(1);
    expect(json.checked).toEqual({ header: true, data: false, canonical: true });
    expect(json.problems).toMatchObject([{ code: 'CANONICAL_HEADER' }]);
  });

  it('finds one flipped bit in the weights, and says where; --header-only cannot', async () => {
    const path = folder.path('flipped.duo');
    await copyFile(container.path(), path);
    const bytes = await readFile(path);
    const at = Math.floor(bytes.length / 2);
    const file = await open(path, 'r+');
    await file.write(Buffer.from([bytes[at]! ^ 1]), 0, 1, at);
    await file.close();
    const { code, json } = await runJson(['validate', path]);
    expect(code).toBe(1);
    expect(json.ok).toBe(false);
    expect(json.problems).toEqual([
      {
        code: expect.stringMatching(/^[A-Z][A-Z0-9_]+$/),
        where: expect.stringContaining('chunk'),
        message: expect.any(String),
        remedy: expect.any(String),
      },
    ]);
    const text = await runCli(['validate', path]);
    expect(text.code).toBe(1);
    expect(text.stdout).toMatch(/^not ok: .*1 problem\n {2}CHUNK_HASH\n {4}segment .*\n {4}Remedy: /);
    expect((await runCli(['validate', path, '--header-only'])).code).toBe(0);
  });

  it.each([
    { name: 'an empty file', bytes: (_good: Buffer) => Buffer.alloc(0) },
    {
      name: 'another kind of file',
      bytes: (_good: Buffer) => Buffer.from('PK not a container at all'.repeat(20)),
    },
    {
      name: 'a wrong magic',
      bytes: (good: Buffer) => Buffer.concat([good.subarray(0, 4), Buffer.from('DUO9'), good.subarray(8)]),
    },
    { name: 'a truncated file', bytes: (good: Buffer) => good.subarray(0, good.length - 1000) },
    { name: 'a header cut short', bytes: (good: Buffer) => good.subarray(0, 200) },
    {
      name: 'a damaged header',
      bytes: (good: Buffer) =>
        Buffer.concat([good.subarray(0, 500), Buffer.alloc(40, 0xff), good.subarray(540)]),
    },
  ])('refuses $name', async ({ name, bytes }) => {
    const path = folder.path(`${name.replaceAll(' ', '-')}.duo`);
    await writeFile(path, bytes(readFileSync(container.path())));
    const { code, json, stderr } = await runJson(['validate', path]);
    expect(code).toBe(1);
    const problems = 'error' in json ? [json.error] : json.problems;
    expect(problems).not.toEqual([]);
    expect(JSON.stringify(problems)).not.toContain('INTERNAL');
    expect(json.ok ?? false).toBe(false);
    expect(stderr).not.toContain('INTERNAL');
    const inspected = await runJson(['inspect', path]);
    // inspect reads the header only, so a container that lost bytes of its tail alone may still be listed.
    if (inspected.code !== 0) expect(inspected.json.error).toMatchObject({ remedy: expect.any(String) });
  });

  it('tells what to do about a Git LFS pointer', async () => {
    const pointer = folder.path('pointer.duo');
    await writeFile(
      pointer,
      `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 524800\n`,
    );
    const { json } = await runJson(['validate', pointer]);
    expect(json.problems).toMatchObject([
      { code: 'CONTAINER_MAGIC', remedy: expect.stringContaining('git lfs pull') },
    ]);
  });

  it('refuses a directory and a missing file', async () => {
    const directory = await runJson(['validate', folder.path('.')]);
    expect(directory.code).toBe(1);
    expect(directory.json).toMatchObject({ ok: false, problems: [{ code: 'SOURCE_IS_DIRECTORY' }] });
    const missing = await runJson(['validate', folder.path('missing.duo')]);
    expect(missing.code).toBe(1);
    expect(missing.json).toMatchObject({
      ok: false,
      file_bytes: null,
      problems: [{ code: 'SOURCE_MISSING' }],
    });
  });
});

describe('duobit inspect', () => {
  it('gives the documented fields, and sizes that add up', async () => {
    const { code, json } = await runJson(['inspect', container.path()]);
    expect(code).toBe(0);
    const size = statSync(container.path()).size;
    expect(json.file_bytes).toBe(size);
    expect(json.header_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(json.parameters).toBe(656_000);
    expect(json.bits_per_weight_file).toBe((size * 8) / 656_000);
    expect(json.bits_per_weight_linear).toBeGreaterThan(2.4);
    expect(json.bits_per_weight_linear).toBeLessThan(2.8);
    const bytes = Object.values(json.bytes as Record<string, number>);
    expect(bytes.reduce((sum, part) => sum + part, 0)).toBe(size);
  });

  it('prints text for people, with all tensors when asked', async () => {
    const brief = await runCli(['inspect', container.path()]);
    expect(brief.code).toBe(0);
    expect(brief.stdout).toContain('bits a weight, linear layers only');
    expect(brief.stdout).toContain('bits a weight, whole file');
    expect(brief.stdout).not.toContain('model.norm.weight');
    expect(brief.stdout).toMatch(/^ {2}layers +/m);
    expect(brief.stdout).toMatch(/^ {4}0 to \d+, each +/m);
    const long = await runCli(['inspect', container.path(), '--tensors']);
    expect(long.stdout).toContain('model.norm.weight');
    expect(long.stdout).toContain('block.0');
  });

  it('shows which layers read a rotated input', async () => {
    const file = join(ROOT, 'fixtures/good/rotated.duo');
    const name = 'model.layers.0.self_attn.q_proj.weight';
    const { json } = await runJson(['inspect', file]);
    expect(json.format_version).toBe('1.1');
    const tensors = json.tensors as { name: string; input_rotation: string | null }[];
    const rotated = tensors.filter(({ input_rotation }) => input_rotation === 'hadamard');
    expect(rotated.map((tensor) => tensor.name)).toContain(name);
    expect(tensors.filter(({ input_rotation }) => input_rotation === null)).toHaveLength(
      tensors.length - rotated.length,
    );
    const one = await runJson(['inspect', file, '--tensor', name]);
    expect(one.json).toMatchObject({ name, input_rotation: 'hadamard' });
    expectDocumented('inspect --tensor', one.json);
    expect((await runCli(['inspect', file, '--tensors'])).stdout).toContain('4-bit, rotated');
    expect((await runCli(['inspect', file, '--tensor', name])).stdout).toContain('hadamard');

    const other = join(ROOT, 'fixtures/good/minimal.duo');
    const diff = await runJson(['diff', file, other]);
    const { changed } = diff.json.tensors as { changed: Record<string, unknown>[] };
    expect(changed.find((tensor) => tensor.name === name)).toMatchObject({
      input_rotation: { a: 'hadamard', b: null },
    });
    expect((await runCli(['diff', file, other])).stdout).toContain('input rotation hadamard -> none');
  });

  it('shows one tensor: planes where they are, statistics and a histogram that add up', async () => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const { code, json } = await runJson(['inspect', container.path(), '--tensor', name]);
    expect(code).toBe(0);
    const [rows, columns] = json.shape as [number, number];
    expect(json).toMatchObject({ name, encoding: { kind: 'w11' }, activation: { bits: 4 } });
    const planes = json.planes as { role: string; data_file: null; file_offset: number; bytes: number }[];
    expect(planes.map(({ role }) => role)).toEqual(['sign', 'bitmap', 'alpha', 'mu']);
    expect(planes.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(json.bytes);
    expect(json.bits_per_weight).toBe((Number(json.bytes) * 8) / (rows * columns));
    const statistics = json.statistics as {
      count: number;
      minimum: number;
      maximum: number;
      histogram: { label: string; count: number; share: number }[];
      scales: { name: string; minimum: number; maximum: number }[];
    };
    expect(statistics.count).toBe(rows * columns);
    expect(statistics.histogram).toHaveLength(4);
    // The sign plane's bits, counted here from the file, are the two upper levels.
    const file = readFileSync(container.path());
    const sign = planes[0]!;
    let ones = 0;
    for (const byte of file.subarray(sign.file_offset, sign.file_offset + sign.bytes)) {
      for (let bits = byte; bits > 0; bits >>= 1) ones += bits & 1;
    }
    const [, upper0, , upper1] = statistics.histogram;
    expect(upper0!.count + upper1!.count).toBe(ones);
    const shares = statistics.histogram.reduce((sum, { share }) => sum + share, 0);
    expect(shares).toBeCloseTo(1, 12);
    const text = await runCli(['inspect', container.path(), '--tensor', name]);
    expect(text.stdout).toMatch(/mu\[0\] - alpha\[0\] +[\d,]+ +\d+\.\d\d % +#+\n/);
  });

  it('names the nearest tensors when one does not exist', async () => {
    const { code, json } = await runJson(['inspect', container.path(), '--tensor', 'model.norm.wieght']);
    expect(code).toBe(1);
    expect(json.error).toMatchObject({
      code: 'TENSOR_UNKNOWN',
      where: expect.stringContaining('model.norm.wieght'),
      remedy: expect.stringMatching(/^Nearest names: model\.norm\.weight, /),
    });
  });

  it('shows no statistics of bytes that do not have their hash', async () => {
    const path = folder.path('damaged-tensor.duo');
    const { json } = await runJson(['inspect', container.path(), '--tensor', 'model.norm.weight']);
    const [plane] = json.planes as { file_offset: number }[];
    const bytes = await readFile(container.path());
    bytes[plane!.file_offset]! ^= 1;
    await writeFile(path, bytes);
    const damaged = await runJson(['inspect', path, '--tensor', 'model.norm.weight']);
    expect(damaged.code).toBe(1);
    expect(damaged.json.error).toMatchObject({ code: 'CHUNK_HASH' });
  });
});
