// sign and verify-signature: what they write, and every way in which a signature must not hold.
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
} from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { copyFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT, runCli, runJson, useContainer, useFolder } from './harness.ts';

const folder = useFolder();
const container = useContainer(folder);
const key = (name: string) => folder.path(`${name}.pem`);
const publicKey = (name: string) => folder.path(`${name}.pub.pem`);

beforeAll(async () => {
  for (const name of ['me', 'other']) await runCli(['sign', '--generate-key', folder.path(name)]);
  await runCli(['sign', container.path(), '--key', key('me')]);
});

const encode = (value: string | object) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const decode = (text: string): unknown => JSON.parse(Buffer.from(text, 'base64url').toString());

interface Jws {
  payload: string;
  protected: string;
  signature: string;
}

const readSignature = (): Jws => JSON.parse(readFileSync(`${container.path()}.sig`, 'utf8'));

/** A signature over these parts by the right key, whatever they say. */
function forge(header: object, payload: string | object): Jws {
  const [head, body] = [encode(header), encode(payload)];
  const signature = sign(null, Buffer.from(`${head}.${body}`), createPrivateKey(readFileSync(key('me'))));
  return { payload: body, protected: head, signature: signature.toString('base64url') };
}

async function verifyWith(jws: object | string, ...options: string[]) {
  const path = folder.path('forged.sig');
  await writeFile(path, typeof jws === 'string' ? jws : JSON.stringify(jws));
  const argv = [
    'verify-signature',
    container.path(),
    '--key',
    publicKey('me'),
    '--signature',
    path,
    ...options,
  ];
  return runJson(argv);
}

const errorOf = (json: Record<string, unknown>) =>
  json.error as { code: string; message: string; where: string };

describe('duobit sign --generate-key', () => {
  it('writes a pair that nothing else reads by accident, and never over another', async () => {
    const { code, json } = await runJson(['sign', '--generate-key', folder.path('new')]);
    expect(code).toBe(0);
    expect(json).toMatchObject({ key_file: key('new'), public_key_file: publicKey('new'), signature: null });
    expect(statSync(key('new')).mode & 0o777).toBe(0o600);
    const secret = readFileSync(key('new'), 'utf8');
    const shared = createPublicKey(secret).export({ type: 'spki', format: 'pem' });
    expect(readFileSync(publicKey('new'), 'utf8')).toBe(shared);
    const again = await runJson(['sign', '--generate-key', folder.path('new')]);
    expect([again.code, errorOf(again.json).code]).toEqual([1, 'SIGNATURE_KEY_EXISTS']);
    expect(readFileSync(key('new'), 'utf8')).toBe(secret);
  });

  it('leaves no half of a pair', async () => {
    await writeFile(publicKey('half'), 'in the way');
    const { code, json } = await runJson(['sign', '--generate-key', folder.path('half')]);
    expect([code, errorOf(json).code]).toEqual([1, 'SIGNATURE_KEY_EXISTS']);
    expect((await readdir(folder.path('.'))).filter((name) => name.startsWith('half'))).toEqual([
      'half.pub.pem',
    ]);
  });
});

describe('duobit sign', () => {
  it('writes a flattened JWS that any Ed25519 implementation verifies [SIG-3] [SIG-4] [SIG-5] [SIG-6]', async () => {
    const jws = readSignature();
    expect(Object.keys(jws).sort()).toEqual(['payload', 'protected', 'signature']);
    const shared = createPublicKey(readFileSync(publicKey('me')));
    const { x } = shared.export({ format: 'jwk' });
    const thumbprint = createHash('sha256')
      .update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`)
      .digest('base64url');
    expect(decode(jws.protected)).toEqual({ alg: 'Ed25519', kid: thumbprint, typ: 'duobit-signature' });
    const { json } = await runJson(['inspect', container.path()]);
    expect(Buffer.from(jws.payload, 'base64url').toString()).toBe(
      `{"file_length":${json.file_bytes},"format_version":"1.1","header_sha256":"${json.header_sha256}","type":"duobit-model"}`,
    );
    const input = Buffer.from(`${jws.protected}.${jws.payload}`);
    expect(verify(null, input, shared, Buffer.from(jws.signature, 'base64url'))).toBe(true);
  });

  it('gives the same bytes again, also under another name [SIG-1]', async () => {
    const output = folder.path('named.sig');
    const before = readFileSync(container.path());
    const { code, json } = await runJson(['sign', container.path(), '--key', key('me'), '-o', output]);
    expect(code).toBe(0);
    expect(readFileSync(container.path()).equals(before)).toBe(true);
    expect(json).toMatchObject({ signature: output, file: container.path() });
    expect(readFileSync(output, 'utf8')).toBe(readFileSync(`${container.path()}.sig`, 'utf8'));
    const argv = ['verify-signature', container.path(), '--key', publicKey('me'), '--signature', output];
    expect((await runCli(argv)).code).toBe(0);
  });

  it.each([
    { name: 'a public key', pem: () => readFileSync(publicKey('me'), 'utf8'), says: /not a private key/ },
    { name: 'no key at all', pem: () => 'hello', says: /not a private key/ },
    {
      name: 'a key cut short',
      pem: () => readFileSync(key('me'), 'utf8').replace(/\n.*\n-/, '\nMC4CAQAw\n-'),
      says: /cannot be read/,
    },
    {
      name: 'a key of another type',
      pem: () =>
        generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
          type: 'pkcs8',
          format: 'pem',
        }),
      says: /type ec, not ed25519/,
    },
    {
      name: 'an encrypted key',
      pem: () =>
        generateKeyPairSync('ed25519').privateKey.export({
          type: 'pkcs8',
          format: 'pem',
          cipher: 'aes-256-cbc',
          passphrase: 'x',
        }),
      says: /cannot be read/,
    },
  ])('refuses $name with SIGNATURE_KEY', async ({ pem, says }) => {
    const path = folder.path('wrong.pem');
    await writeFile(path, pem());
    const output = folder.path('never.sig');
    const { code, json } = await runJson(['sign', container.path(), '--key', path, '-o', output]);
    expect([code, errorOf(json).code]).toEqual([1, 'SIGNATURE_KEY']);
    expect(errorOf(json).message).toMatch(says);
    expect(JSON.stringify(json)).not.toContain('INTERNAL');
    await expect(readFile(output)).rejects.toThrow();
  });

  it('replaces an older signature and nothing else', async () => {
    const copy = folder.path('copy.duo');
    await copyFile(container.path(), copy);
    for (const output of [copy, key('me')]) {
      const before = readFileSync(output);
      const { json } = await runJson(['sign', copy, '--key', key('me'), '-o', output]);
      expect(errorOf(json).code).toBe('OUTPUT_EXISTS');
      expect(readFileSync(output).equals(before)).toBe(true);
    }
    for (let i = 0; i < 2; i++) expect((await runCli(['sign', copy, '--key', key('me')])).code).toBe(0);
  });

  it('refuses a file that is no container, and combinations that make no sense', async () => {
    const { code, json } = await runJson(['sign', publicKey('me'), '--key', key('me')]);
    expect([code, errorOf(json).code]).toEqual([1, 'FILE_TOO_SHORT']);
    for (const argv of [
      ['sign', container.path()],
      ['sign', '--key', key('me')],
      ['sign', container.path(), '--generate-key', folder.path('x')],
    ]) {
      const usage = await runCli(argv);
      expect(usage.code).toBe(2);
      expect(usage.stderr).toMatch(/^error USAGE: /);
    }
  });
});

describe('duobit verify-signature', () => {
  it('accepts the model, with its data and by its header alone', async () => {
    const argv = ['verify-signature', container.path(), '--key', publicKey('me')];
    const { code, json } = await runJson(argv);
    expect(code).toBe(0);
    expect(json).toMatchObject({
      ok: true,
      data_checked: true,
      key_id: expect.stringMatching(/^[\w-]{43}$/),
    });
    const header = await runJson([...argv, '--header-only']);
    expect([header.code, header.json.data_checked]).toEqual([0, false]);
    expect((await runCli(argv)).stdout).toMatch(/^ok .*header and all data\n/);
  });

  it('accepts EdDSA, the older name of the algorithm [SIG-5]', async () => {
    const { protected: head, payload } = readSignature();
    const jws = forge({ ...(decode(head) as object), alg: 'EdDSA' }, decode(payload) as object);
    expect((await verifyWith(jws)).code).toBe(0);
  });

  it('refuses changed data, which --header-only does not read [SIG-2] [SIG-9]', async () => {
    const path = folder.path('data.duo');
    const bytes = await readFile(container.path());
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    await copyFile(`${container.path()}.sig`, `${path}.sig`);
    const argv = ['verify-signature', path, '--key', publicKey('me')];
    const { code, json } = await runJson(argv);
    expect([code, errorOf(json).code]).toEqual([1, 'CHUNK_HASH']);
    expect((await runCli([...argv, '--header-only'])).code).toBe(0);
  });

  it('covers the data files of a split model [SIG-2]', async () => {
    const parts = folder.path('parts');
    await runCli(['split', container.path(), '--max-size', '300kB', '-o', parts]);
    const header = join(parts, 'tiny.duo');
    expect((await runCli(['sign', header, '--key', key('me')])).code).toBe(0);
    const argv = ['verify-signature', header, '--key', publicKey('me')];
    expect((await runCli(argv)).code).toBe(0);
    const name = (await readdir(parts)).sort().find((file) => file.endsWith('.duodata'))!;
    const bytes = await readFile(join(parts, name));
    bytes[0]! ^= 1;
    await writeFile(join(parts, name), bytes);
    const changed = await runJson(argv);
    expect([changed.code, errorOf(changed.json).code]).toEqual([1, 'CHUNK_HASH']);
    await rm(join(parts, name));
    const missing = await runJson(argv);
    expect([missing.code, errorOf(missing.json).code]).toEqual([1, 'DATA_FILE_MISSING']);
  });

  it('refuses a changed header, and another good model [SIG-8]', async () => {
    const path = folder.path('header.duo');
    const bytes = await readFile(container.path());
    bytes[300]! ^= 1;
    await writeFile(path, bytes);
    const signature = ['--key', publicKey('me'), '--signature', `${container.path()}.sig`];
    const changed = await runJson(['verify-signature', path, ...signature]);
    expect([changed.code, errorOf(changed.json).code]).toEqual([1, 'HEADER_HASH']);
    const other = folder.path('other.duo');
    await runCli(['quantize', CHECKPOINT, '-o', other, '--symmetric']);
    const wrong = await runJson(['verify-signature', other, ...signature]);
    expect([wrong.code, errorOf(wrong.json).code]).toEqual([1, 'SIGNATURE_MISMATCH']);
    expect(errorOf(wrong.json).message).toMatch(
      /header SHA-256 [0-9a-f]{64} is signed, the file has [0-9a-f]{64}/,
    );
  });

  it('refuses the key of another signer, also where its name was put in [SIG-7]', async () => {
    const argv = ['verify-signature', container.path(), '--key', publicKey('other')];
    const { code, json } = await runJson(argv);
    expect([code, errorOf(json).code]).toEqual([1, 'SIGNATURE_OTHER_KEY']);
    const { kid } = decode(readSignature().protected) as { kid: string };
    expect(errorOf(json).message).toContain(kid);

    const theirs = await runJson([
      'sign',
      container.path(),
      '--key',
      key('other'),
      '-o',
      folder.path('o.sig'),
    ]);
    expect(theirs.code).toBe(0);
    const jws: Jws = JSON.parse(readFileSync(folder.path('o.sig'), 'utf8'));
    const renamed = await verifyWith({ ...jws, protected: readSignature().protected });
    expect([renamed.code, errorOf(renamed.json).code]).toEqual([1, 'SIGNATURE_WRONG']);
  });

  it('refuses a changed statement and a changed signature', async () => {
    const jws = readSignature();
    const statement = decode(jws.payload) as object;
    const payload = encode({ ...statement, header_sha256: '0'.repeat(64) });
    const bytes = Buffer.from(jws.signature, 'base64url');
    bytes[10]! ^= 1;
    for (const changed of [
      { ...jws, payload },
      { ...jws, signature: bytes.toString('base64url') },
      { ...jws, signature: '' },
      { ...jws, signature: jws.signature.slice(0, -8) },
      { ...jws, signature: '!!!' },
    ]) {
      const { code, json } = await verifyWith(changed);
      expect([code, errorOf(json).code]).toEqual([1, 'SIGNATURE_WRONG']);
    }
  });

  it('refuses every other algorithm, none and the public key as a shared secret among them [SIG-5]', async () => {
    const { payload, protected: head } = readSignature();
    const header = decode(head) as { kid: string };
    const sharedSecret = readFileSync(publicKey('me'));
    for (const alg of [
      'none',
      'HS256',
      'ES256',
      'RS256',
      'Ed448',
      'ed25519',
      '',
      undefined,
      null,
      ['Ed25519'],
    ]) {
      const changed = encode({ ...header, alg });
      const mac = createHmac('sha256', sharedSecret).update(`${changed}.${payload}`).digest('base64url');
      for (const signature of alg === 'none' ? ['', mac] : [mac]) {
        const { code, json } = await verifyWith({ payload, protected: changed, signature });
        expect([code, errorOf(json).code], `${alg}`).toEqual([1, 'SIGNATURE_ALGORITHM']);
      }
    }
  });

  it('refuses what the right key signed but is no signature of a model, or not written as one [SIG-3] [SIG-4] [SIG-6]', async () => {
    const jws = readSignature();
    const header = decode(jws.protected) as object;
    const statement = decode(jws.payload) as Record<string, unknown>;
    const shuffled = Object.fromEntries(Object.entries(statement).reverse());
    const cases: (Jws | object | string)[] = [
      forge({ ...header, typ: 'JWT' }, statement),
      forge({ ...header, crit: ['exp'], exp: 1 }, statement),
      forge({ ...header, b64: false, crit: ['b64'] }, statement),
      forge({ alg: 'Ed25519', typ: 'duobit-signature' }, statement),
      forge(header, { ...statement, type: 'something' }),
      forge(header, { ...statement, more: 1 }),
      forge(header, { ...statement, file_length: '5' }),
      forge(header, shuffled),
      forge(header, JSON.stringify(statement, null, 1)),
      forge(header, 'null'),
      forge(header, 'hello'),
      { ...jws, header: { kid: 'x' } },
      { payload: jws.payload, protected: jws.protected },
      { ...jws, payload: 5 },
      { ...jws, protected: encode('not JSON') },
      'null',
      '[]',
      'not JSON',
      '',
      `${jws.protected}.${jws.payload}.${jws.signature}`,
    ];
    for (const wrong of cases) {
      const { code, json } = await verifyWith(wrong);
      expect([code, errorOf(json).code], JSON.stringify(wrong)).toEqual([1, 'SIGNATURE_INVALID']);
    }
  });

  it('refuses a private key, a missing signature and binary rubbish', async () => {
    const secret = await runJson(['verify-signature', container.path(), '--key', key('me')]);
    expect([secret.code, errorOf(secret.json).code]).toEqual([1, 'SIGNATURE_KEY']);
    expect(errorOf(secret.json).message).toContain('private key');
    const missing = [
      'verify-signature',
      container.path(),
      '--key',
      publicKey('me'),
      '--signature',
      folder.path('no'),
    ];
    expect(errorOf((await runJson(missing)).json).code).toBe('TEXT_UNREADABLE');
    const binary = [...missing.slice(0, -1), container.path()];
    expect(errorOf((await runJson(binary)).json).code).toBe('TEXT_UNREADABLE');
  });
});
