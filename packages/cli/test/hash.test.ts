// hash: the three hashes and the digests of tensors; and the JSON fields of hash, sign and verify-signature.
import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT, ROOT, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);

describe('duobit hash', () => {
  it('prints hashes of header, file and content', async () => {
    const { code, json } = await runJson(['hash', container.path()]);
    expect(code).toBe(0);
    const bytes = readFileSync(container.path());
    expect(json.file_sha256).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(json.header_sha256).toBe(bytes.subarray(56, 88).toString('hex'));
    expect(json.content_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(json.file_bytes).toBe(bytes.length);
    const tensors = json.tensors as { name: string; sha256: string; planes: { role: string }[] }[];
    const linear = tensors.find(({ name }) => name === 'model.layers.0.mlp.up_proj.weight')!;
    expect(linear.planes.map(({ role }) => role)).toEqual(['sign', 'bitmap', 'alpha', 'mu']);

    const brief = await runCli(['hash', container.path()]);
    expect(
      brief.stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/)),
    ).toEqual([
      ['header SHA-256', json.header_sha256],
      ['file SHA-256', json.file_sha256],
      ['content SHA-256', json.content_sha256],
    ]);
    const long = await runCli(['hash', container.path(), '--tensors']);
    for (const { name, sha256 } of tensors)
      expect(long.stdout).toMatch(new RegExp(`^${name} +${sha256}$`, 'm'));
  });

  it('has another content digest for another quantization, and the same for a tensor that it leaves alone', async () => {
    const other = folder.path('other.duo');
    await runCli(['quantize', CHECKPOINT, '-o', other, '--symmetric']);
    const [a, b] = [await runJson(['hash', container.path()]), await runJson(['hash', other])];
    expect(b.json.content_sha256).not.toBe(a.json.content_sha256);
    const digest = (json: Record<string, unknown>, wanted: string) =>
      (json.tensors as { name: string; sha256: string }[]).find(({ name }) => name === wanted)!.sha256;
    for (const [name, same] of [
      ['model.norm.weight', true],
      ['model.embed_tokens.weight', true],
      ['model.layers.0.mlp.up_proj.weight', false],
    ] as const) {
      expect(digest(a.json, name) === digest(b.json, name), name).toBe(same);
    }
  });

  it('has the same content digest for a model that is split and merged again [DIG-1]', async () => {
    const parts = folder.path('parts');
    const whole = folder.path('whole.duo');
    expect((await runCli(['split', container.path(), '--max-size', '300kB', '-o', parts])).code).toBe(0);
    const header = join(parts, 'tiny.duo');
    expect((await runCli(['merge', header, '-o', whole])).code).toBe(0);
    const [before, split, merged] = [
      (await runJson(['hash', container.path()])).json,
      (await runJson(['hash', header])).json,
      (await runJson(['hash', whole])).json,
    ];
    expect(split.header_sha256).not.toBe(before.header_sha256);
    expect(split.file_bytes).toBe(statSync(header).size);
    expect(split.content_sha256).toBe(before.content_sha256);
    expect(split.tensors).toEqual(before.tensors);
    expect(merged).toEqual({ ...before, file: whole });
  });

  it('refuses damaged data and what is no container', async () => {
    const path = folder.path('damaged.duo');
    const bytes = readFileSync(container.path());
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    const damaged = await runJson(['hash', path]);
    expect([damaged.code, (damaged.json.error as { code: string }).code]).toEqual([1, 'CHUNK_HASH']);
    const other = await runJson(['hash', join(CHECKPOINT, 'model.safetensors')]);
    expect([other.code, (other.json.error as { code: string }).code]).toEqual([1, 'CONTAINER_MAGIC']);
  });

  it('stops when asked', async () => {
    const { code, stdout } = await runCli(['hash', container.path()], { signal: AbortSignal.abort() });
    expect([code, stdout]).toEqual([130, '']);
  });
});

describe('documentation', () => {
  it('has a row for each JSON field of hash, sign and verify-signature, and no other', async () => {
    const page = readFileSync(join(ROOT, 'docs/cli.md'), 'utf8');
    const keys = folder.path('doc');
    await runCli(['sign', '--generate-key', keys]);
    for (const argv of [
      ['hash', container.path()],
      ['sign', container.path(), '--key', `${keys}.pem`],
      ['verify-signature', container.path(), '--key', `${keys}.pub.pem`],
    ]) {
      const { json, code } = await runJson(argv);
      expect(code).toBe(0);
      const section = page.split(`\n## duobit ${argv[0]}\n`)[1]?.split('\n## ')[0] ?? '';
      const fields = [...section.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell]) =>
        [...cell!.matchAll(/`([a-z0-9_]+)(?:\[\])?`/g)].map(([, name]) => name),
      );
      expect(fields.sort()).toEqual(Object.keys(json).sort());
    }
  });
});
