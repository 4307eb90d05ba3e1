// Publishing to a local hub and to a folder, and getting the same bytes back.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { bundleForNode, type HubServer, runProgram, startHubServer, startProxy } from '@duobit/testkit/hub';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectDocumented, HELDOUT, ROOT, runCli, runJson, useFolder } from './harness.ts';

const folder = useFolder();
const REPO = 'user/tiny';
const ADDRESS = `hf:${REPO}`;
/** Enough for the largest segment, which is never cut. */
const SHARD = '300kB';
let hub: HubServer;
let env: Record<string, string> = {};
let count = 0;
let model = '';
beforeAll(async () => {
  model = folder.path('tiny.duo');
  await copyFile(join(ROOT, 'fixtures/embedded/tinystories-656k.duo'), model);
});
beforeEach(async () => {
  count += 1;
  hub = await startHubServer({ partBytes: 100_000 });
  env = {
    HOME: folder.path('home'),
    DUOBIT_CACHE: folder.path(`cache-${count}`),
    HF_ENDPOINT: hub.url,
    HF_TOKEN: 'hf_write',
  };
});
afterEach(() => hub.close());

const publish = (...argv: string[]) => runJson(['publish', model, ...argv], { env });
/** Half a million bytes are too many to be compared one by one. */
const isModel = (bytes: Buffer) => bytes.equals(readFileSync(model));
const files = (branch = 'main') => {
  const repository = hub.repositories.get(REPO)!;
  return [...repository.files(repository.branches.get(branch)!).keys()].sort();
};
const read = (path: string, branch?: string) => Buffer.from(hub.repositories.get(REPO)!.read(path, branch)!);

describe('publish --repo', () => {
  it('makes the repository, uploads in parts, and the model comes back byte for byte', async () => {
    const { code, json, stderr } = await publish('--repo', REPO, '--private');
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expectDocumented('publish', json);
    expect(hub.repositories.get(REPO)!.isPrivate).toBe(true);
    expect(files()).toEqual(['.gitattributes', 'README.md', 'tiny.duo']);
    expect(json.commit).toBe(hub.repositories.get(REPO)!.branches.get('main'));
    expect(isModel(read('tiny.duo'))).toBe(true);
    expect(hub.requests.filter(({ path }) => path.startsWith('/part/'))).toHaveLength(6);
    const pulled = await runJson(['pull', ADDRESS], { env });
    expectDocumented('pull', pulled.json);
    expect(isModel(await readFile(String(pulled.json.path)))).toBe(true);
    expect(stderr).toContain('upload: 100%');
  });

  it('cuts the model, and a second time uploads nothing', async () => {
    const first = await publish('--repo', REPO, '--shard-size', SHARD);
    expect(first.code).toBe(0);
    const names = files();
    expect(names.filter((name) => name.endsWith('.duodata')).length).toBeGreaterThan(1);
    await expect(stat(`${model}.publish`)).rejects.toThrow('ENOENT');
    const uploads = () => hub.requests.filter(({ method }) => method === 'PUT').length;
    const before = uploads();
    const again = await publish('--repo', REPO, '--shard-size', SHARD);
    expect(again.json).toMatchObject({ commit: null, written: [], removed: [] });
    expect(uploads()).toBe(before);
    expect(files()).toEqual(names);
    const validated = await runJson(['validate', ADDRESS, '--canonical'], { env });
    expect(validated.json).toMatchObject({ ok: true, header_sha256: first.json.header_sha256 });
    // In one file again: the data files of before are nobody's.
    const whole = await publish('--repo', REPO);
    expect(whole.json.removed).toEqual(names.filter((name) => name.endsWith('.duodata')));
    expect(files()).toEqual(['.gitattributes', 'README.md', 'tiny.duo']);
  });

  it('makes no commit where small files are the same, too', async () => {
    const signed = folder.path('small.duo');
    await copyFile(model, signed);
    await runCli(['sign', '--generate-key', folder.path('small')]);
    await runCli(['sign', signed, '--key', folder.path('small.pem')]);
    const run = () => runJson(['publish', signed, '--repo', REPO], { env });
    expect((await run()).json.written).toHaveLength(3);
    const again = await run();
    expect(again.json).toMatchObject({ commit: null, written: [] });
    expect(again.json.unchanged).toContain('small.duo.sig');
  });

  it('commits to a branch that it makes', async () => {
    expect((await publish('--repo', REPO, '--revision', 'two-bit')).code).toBe(0);
    expect(files('two-bit')).toContain('tiny.duo');
    expect(files()).not.toContain('tiny.duo');
    expect(read('README.md', 'two-bit').toString()).toContain(`loadModel('${ADDRESS}@two-bit')`);
    const inspected = await runJson(['inspect', `${ADDRESS}@two-bit`], { env });
    expect(inspected.json.file_bytes).toBe((await readFile(model)).length);
    // A header is read by ranges and not kept.
    expect((await runJson(['list'], { env })).json.models).toEqual([]);
  });

  it('names the file in the card where the repository has other models', async () => {
    hub.add(REPO, { 'other.duo': new Uint8Array(9) });
    expect((await publish('--repo', REPO)).json.card).toContain(`loadModel('${ADDRESS}/tiny.duo')`);
    expect((await runJson(['inspect', `${ADDRESS}/tiny.duo`], { env })).code).toBe(0);
  });

  it('gives the file the ending that it is found by', async () => {
    const other = folder.path('other-name');
    await copyFile(model, other);
    expect((await runJson(['publish', other, '--repo', REPO], { env })).code).toBe(0);
    expect(files()).toContain('other-name.duo');
    expect((await runJson(['inspect', ADDRESS], { env })).code).toBe(0);
  });

  it('leaves a card alone that somebody has written, unless forced', async () => {
    const own = '# My model\n';
    hub.add(REPO, { 'README.md': own });
    const kept = await publish('--repo', REPO);
    expect(kept.stderr).toContain('--force replaces it');
    expect(read('README.md').toString()).toBe(own);
    await publish('--repo', REPO, '--force');
    expect(read('README.md').toString()).toContain('library_name: duobit');
  });

  it('a dry run says exactly what a real one does, and changes nothing', async () => {
    const dry = await publish('--repo', REPO, '--shard-size', SHARD, '--dry-run');
    expect(dry.json).toMatchObject({ dry_run: true, commit: null });
    expect(hub.repositories.size).toBe(0);
    expect(hub.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
    await expect(stat(`${model}.publish`)).rejects.toThrow('ENOENT');
    const { written } = (await publish('--repo', REPO, '--shard-size', SHARD)).json;
    expect(dry.json.written).toEqual(written);
    for (const { name, bytes, sha256 } of written as { name: string; bytes: number; sha256: string }[]) {
      expect(read(name)).toHaveLength(bytes);
      expect(createHash('sha256').update(read(name)).digest('hex')).toBe(sha256);
    }
    expect(dry.json.card).toBe(read('README.md').toString());
    const text = await runCli(['publish', model, '--repo', REPO, '--dry-run', '--force'], { env });
    expect(text.stdout).toContain('would be published to');
  });

  it('goes on over resets and 503, and ends byte for byte', async () => {
    let requests = 0;
    hub.fault = ({ path }) => {
      requests += 1;
      if (path.includes('/commit/')) return null;
      if (requests % 3 === 0) return { reset: true };
      return requests % 5 === 0 ? { status: 503, headers: { 'Retry-After': '0' } } : null;
    };
    const { code, stderr } = await publish('--repo', REPO);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(isModel(read('tiny.duo'))).toBe(true);
    hub.fault = () => null;
  });

  it('goes through a proxy, large files too', async () => {
    const proxy = await startProxy();
    env.HTTP_PROXY = proxy.url;
    expect(await publish('--repo', REPO, '--shard-size', SHARD)).toMatchObject({ code: 0 });
    expect((await runJson(['validate', ADDRESS], { env })).json.ok).toBe(true);
    for (const url of [hub.url, hub.storageUrl]) expect(proxy.asked.join(' ')).toContain(new URL(url).host);
    void proxy.close();
  });

  it('killed in the middle of uploads, again and again: what was uploaded is not uploaded again', async () => {
    const program = await bundleForNode(
      'publish',
      `import { Command } from 'commander';
      import { addPublishCommand } from '../src/commands/publish.ts';
      import { processIo } from '../src/io.ts';
      const program = new Command();
      const io = processIo();
      addPublishCommand(program, { io, signal: io.signal, exitCode: 0 });
      await program.parseAsync(process.argv.slice(2), { from: 'user' });
      process.send('done', () => process.disconnect());`,
      import.meta.dirname,
    );
    // In one part each, so that the smaller files are whole long before the largest.
    await hub.close();
    hub = await startHubServer();
    env.HF_ENDPOINT = hub.url;
    hub.bytesPerSecond = 250_000;
    const run = () =>
      runProgram<string>(program, ['publish', model, '--repo', REPO, '--shard-size', SHARD], env);
    const received = () =>
      hub.requests
        .filter(({ host }) => host === 'storage')
        .reduce((sum, request) => sum + request.received, 0);
    for (const isMoment of [() => received() > 30_000, () => hub.objects.size > 0]) {
      const running = run();
      const ended = running.result.then(() => true);
      const tick = () => new Promise<false>((resolve) => setTimeout(resolve, 5, false));
      while (!isMoment()) if (await Promise.race([ended, tick()])) break;
      running.kill();
      expect(await running.result).toBeNull();
    }
    expect(hub.repositories.get(REPO)!.titles).toEqual(['initial commit']);
    const whole = [...hub.objects.keys()];
    expect(whole.length).toBeGreaterThan(0);
    const before = hub.requests.length;
    hub.bytesPerSecond = null;
    expect(await run().result).toBe('done');
    const uploaded = hub.requests.slice(before).filter(({ path }) => path.startsWith('/upload/'));
    for (const oid of whole) expect(uploaded.some(({ path }) => path.includes(oid))).toBe(false);
    await rm(folder.path('merged.duo'), { force: true });
    const merged = await runCli(['merge', ADDRESS, '-o', folder.path('merged.duo')], { env });
    expect(merged).toMatchObject({ code: 0 });
    expect(isModel(await readFile(folder.path('merged.duo')))).toBe(true);
  });
});

describe('refusals', () => {
  const codeOf = async (argv: string[], other: Record<string, string> = {}) => {
    const result = await runJson(['publish', ...argv, '--repo', REPO], { env: { ...env, ...other } });
    expect(result.code).toBe(1);
    expect(`${result.stdout}${result.stderr}`).not.toMatch(/hf_(expired|write|read|x)\b/);
    return (result.json.error as { code: string }).code;
  };

  it('an invalid container is never uploaded', async () => {
    const bad = folder.path('bad.duo');
    const bytes = await readFile(model);
    bytes[bytes.length - 5]! ^= 1;
    await writeFile(bad, bytes);
    expect(await codeOf([bad])).toBe('CHUNK_HASH');
    expect(hub.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  });

  it('no token, a bad one, an expired one and one that may only read have their codes', async () => {
    expect(await codeOf([model], { HF_TOKEN: '' })).toBe('HUB_TOKEN');
    expect(await codeOf([model], { HF_TOKEN: 'secret' })).toBe('HUB_TOKEN');
    expect(await codeOf([model], { HF_TOKEN: 'hf_expired' })).toBe('HTTP_UNAUTHORIZED');
    expect(await codeOf([model], { HF_TOKEN: 'hf_read' })).toBe('HTTP_FORBIDDEN');
    expect(hub.repositories.size).toBe(0);
  });

  it('a commit whose answer is lost is not made twice', async () => {
    hub.fault = ({ path }) => (path.includes('/commit/') ? { reset: true } : null);
    const failed = await runJson(['publish', model, '--repo', REPO], { env });
    expect(failed.json.error).toMatchObject({ code: 'HTTP_NETWORK' });
    expect(hub.requests.filter(({ path }) => path.includes('/commit/'))).toHaveLength(1);
  });

  it('a record of another model, and a signature of another header', async () => {
    const record = join(ROOT, 'docs/results/records/eval/smollm2-w11-a4-512.json');
    expect(await codeOf([model, '--record', record])).toBe('RECORD_MISMATCH');
    const signed = folder.path('signed.duo');
    await copyFile(model, signed);
    await runCli(['sign', '--generate-key', folder.path('me')]);
    await runCli(['sign', signed, '--key', folder.path('me.pem')]);
    expect(await codeOf([signed, '--shard-size', SHARD])).toBe('SIGNATURE_MISMATCH');
    const { json } = await runJson(['publish', signed, '--repo', REPO], { env });
    expect((json.written as { name: string }[]).map(({ name }) => name)).toContain('signed.duo.sig');
    expect(json.card).toMatch(/\| signature \| key `[\w-]{43}`/);
  });

  it('neither target, both, and no repository', async () => {
    expect((await runCli(['publish', model], { env })).code).toBe(2);
    expect((await runCli(['publish', model, '--repo', REPO, '--to', 'x'], { env })).code).toBe(2);
    const bad = await runJson(['publish', model, '--repo', 'user'], { env });
    expect(bad.json.error).toMatchObject({ code: 'HUB_ADDRESS' });
  });
});

describe('publish --to', () => {
  const page = () => folder.path('page');
  beforeAll(async () => {
    await mkdir(join(page(), 'assets'), { recursive: true });
    await writeFile(join(page(), 'index.html'), '<!doctype html><title>page</title>');
    await writeFile(join(page(), 'assets/main.js'), 'export {};\n');
    // As the page that comes with Duobit has one, which names no model.
    await writeFile(join(page(), 'model.json'), '{}\n');
  });

  it('writes what a static host needs, with hashes that hold', async () => {
    const site = folder.path('site');
    const { code, json } = await publish('--to', site, '--page', page(), '--shard-size', SHARD);
    expect(code).toBe(0);
    expectDocumented('publish', json);
    const names = (json.written as { name: string }[]).map(({ name }) => name);
    const expected = [
      'README.md',
      'SHA256SUMS',
      '_headers',
      'assets/main.js',
      'index.html',
      'model.json',
      'tiny.duo',
    ];
    for (const name of expected) expect(names).toContain(name);
    const sums = (await readFile(join(site, 'SHA256SUMS'), 'utf8')).trim().split('\n');
    expect(sums).toHaveLength(names.length - 1);
    expect(new Set(names).size).toBe(names.length);
    for (const line of sums) {
      const [sum, name] = line.split('  ');
      const bytes = await readFile(join(site, name!));
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sum);
    }
    expect(JSON.parse(await readFile(join(site, 'model.json'), 'utf8'))).toEqual({ model: 'tiny.duo' });
    const headers = await readFile(join(site, '_headers'), 'utf8');
    expect(headers).toContain('Cross-Origin-Embedder-Policy: require-corp');
    expect((await runJson(['validate', join(site, 'tiny.duo')])).json.ok).toBe(true);
    expect((await readdir(site)).some((name) => name.startsWith('.'))).toBe(false);
  });

  it('replaces nothing unasked, removes data files of before, and a dry run writes nothing', async () => {
    const site = folder.path('site2');
    await publish('--to', site, '--no-page', '--shard-size', SHARD);
    const refused = await publish('--to', site, '--no-page');
    expect(refused.json.error).toMatchObject({ code: 'OUTPUT_EXISTS' });
    const dry = await publish('--to', site, '--no-page', '--force', '--dry-run');
    const before = (await readdir(site)).sort();
    expect((dry.json.removed as string[]).length).toBeGreaterThan(1);
    const done = await publish('--to', site, '--no-page', '--force');
    expect(done.json.removed).toEqual(dry.json.removed);
    expect(done.json.written).toEqual(dry.json.written);
    expect((await readdir(site)).sort()).toEqual(before.filter((name) => !name.endsWith('.duodata')));
    expect(isModel(await readFile(join(site, 'tiny.duo')))).toBe(true);
  });

  it('goes on where it was cut short, and a dry run tells of what is in the way', async () => {
    const site = folder.path('site4');
    const first = await publish('--to', site, '--no-page');
    await rm(join(site, 'tiny.duo'));
    const { code, json } = await publish('--to', site, '--no-page');
    expect(code).toBe(0);
    expect(json.written).toMatchObject([{ name: 'tiny.duo' }]);
    expect(json.unchanged).toHaveLength((first.json.written as []).length - 1);
    expect(isModel(await readFile(join(site, 'tiny.duo')))).toBe(true);
    const data = join(site, 'tiny-00001-of-00002.duodata');
    await writeFile(data, 'of another container');
    expect((await publish('--to', site, '--no-page')).json).toMatchObject({ written: [], removed: [] });
    expect(await readFile(data, 'utf8')).toBe('of another container');
    await writeFile(join(site, 'README.md'), 'mine');
    const dry = await publish('--to', site, '--no-page', '--dry-run');
    expect(dry.json.error).toMatchObject({ code: 'OUTPUT_EXISTS' });
  });

  it('leaves the files of the folder that --work names alone', async () => {
    const work = folder.path('mine');
    expect((await runCli(['split', model, '--max-size', SHARD, '-o', work])).code).toBe(0);
    const before = await readdir(work);
    expect(
      (await publish('--to', folder.path('site5'), '--no-page', '--shard-size', SHARD, '--work', work)).code,
    ).toBe(0);
    expect(await readdir(work)).toEqual(before);
  });

  it('says when there is no page', async () => {
    const { json } = await publish('--to', folder.path('site3'), '--page', folder.path('nothing'));
    expect(json.error).toMatchObject({ code: 'PAGE_MISSING' });
  });
});

describe('the model card', () => {
  it('says what the container says, and what was measured of it', async () => {
    const record = folder.path('ppl.json');
    const measured = await runCli(
      [
        'eval',
        'ppl',
        model,
        '--text',
        HELDOUT,
        '--limit',
        '1',
        '--context',
        '128',
        '--record',
        record,
        '--force',
      ],
      { env },
    );
    expect(measured.code).toBe(0);
    const { json } = await publish(
      '--repo',
      REPO,
      '--dry-run',
      '--record',
      record,
      '--license',
      'apache-2.0',
      '--base-model',
      'raincandy-u/TinyStories-656K',
    );
    const card = String(json.card);
    const [, front] = /^---\n([\s\S]*?)\n---\n/.exec(card)!;
    expect(front!.split('\n')).toEqual([
      'license: "apache-2.0"',
      'base_model: "raincandy-u/TinyStories-656K"',
      'base_model_relation: quantized',
      'library_name: duobit',
      'pipeline_tag: text-generation',
      'tags:',
      '- duobit',
      '- two-bit',
      '- quantized',
      '- llama',
    ]);
    const inspected = (await runJson(['inspect', model])).json;
    const { result } = JSON.parse(await readFile(record, 'utf8'));
    for (const fact of [
      `| bits a weight, linear layers only | ${Number(inspected.bits_per_weight_linear).toFixed(4)} |`,
      `| bits a weight, everything included | ${Number(inspected.bits_per_weight_file).toFixed(4)} |`,
      `| ${result.perplexity.toFixed(3)} | this one | 4 bits | heldout.txt`,
      `npx duobit run ${ADDRESS} -p`,
      `loadModel('${ADDRESS}')`,
      String(inspected.header_sha256),
      String(json.content_sha256),
      '"groupSize": 128',
    ])
      expect(card).toContain(fact);
  });
});

describe('the snippets of a card', () => {
  it.each(["it's $HOME.duo", 'two `words`.duo', '"x\\y".duo'])('hold for a file named %s', async (name) => {
    await copyFile(model, folder.path(name));
    hub.add(REPO, { 'other.duo': new Uint8Array(9) });
    const { json } = await runJson(['publish', folder.path(name), '--repo', REPO, '--dry-run'], { env });
    const card = String(json.card);
    const [, command] = /\nnpx (duobit run [^\n]+)\n/.exec(card)!;
    const words = (text: string) =>
      execFileSync('sh', ['-c', `printf '%s\\n' ${text}`], { encoding: 'utf8' }).split('\n');
    expect(words(command!).slice(0, 3)).toEqual(['duobit', 'run', `${ADDRESS}/${name}`]);
    const scripts = [...card.matchAll(/loadModel\((.*)\);/g)].map(([, literal]) => literal!);
    expect(scripts.map((literal) => runInNewContext(literal))).toEqual([
      `${ADDRESS}/${name}`,
      `${ADDRESS}/${name}`,
    ]);
    const [, , validate] = /(`+)(duobit validate .+?)\1(?!`)/.exec(card)!;
    expect(words(validate!)[2]).toBe(name);
  });
});

describe('models by address', () => {
  it('run, list and remove take them', async () => {
    await publish('--repo', REPO);
    const run = () =>
      runJson(['run', ADDRESS, '-p', 'Once upon a time', '-n', '5', '--backend', 'wasm'], { env });
    const first = await run();
    expect(first).toMatchObject({ code: 0 });
    const requests = hub.requests.length;
    expect((await run()).json.token_ids).toEqual(first.json.token_ids);
    expect(hub.requests).toHaveLength(requests);
    const list = await runJson(['list'], { env });
    expectDocumented('list', list.json);
    expect(list.json.models).toMatchObject([{ addresses: [ADDRESS], complete: true, name: 'tiny.duo' }]);
    expect((await runCli(['list'], { env })).stdout).toContain(ADDRESS);
    const removed = await runJson(['remove', ADDRESS], { env });
    expectDocumented('remove', removed.json);
    expect(removed.json.bytes).toBe(list.json.bytes);
    expect((await runJson(['remove', ADDRESS], { env })).json.error).toMatchObject({
      code: 'MODEL_NOT_CACHED',
    });
  });

  it('names what is made of one, and reads a header without keeping the rest', async () => {
    await publish('--repo', REPO);
    const parts = folder.path('parts');
    expect((await runCli(['split', ADDRESS, '--max-size', SHARD, '-o', parts], { env })).code).toBe(0);
    expect(await readdir(parts)).toContain('tiny.duo');
    const hash = (await runJson(['hash', ADDRESS], { env })).json;
    expect(hash.file_sha256).toBe((await runJson(['hash', model])).json.file_sha256);
    const diff = await runJson(['diff', ADDRESS, join(parts, 'tiny.duo')], { env });
    expect(diff.json.verdict).toBe('repacked');
  });
});
