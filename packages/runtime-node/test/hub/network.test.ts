// Tokens, proxies and refusals.

import { mkdir, writeFile } from 'node:fs/promises';
import { type ProxyServer, startProxy } from '@duobit/testkit/hub';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openNetwork, pullModel } from '../../src/index.ts';
import { errorOf, useSetup } from './setup.ts';

const setup = useSetup();
const ADDRESS = 'hf:user/tiny';
const addModel = (isPrivate = false) => setup.hub.add('user/tiny', { 'model.duo': setup.whole }, isPrivate);
const withToken = (token: string) => ({ ...setup.env, HF_TOKEN: token });

describe('tokens', () => {
  it('reach the hub, and no other host that it leads to', async () => {
    addModel(true);
    await pullModel(ADDRESS, { env: withToken('hf_read') });
    const told = (host: string) =>
      new Set(setup.hub.requests.filter((request) => request.host === host).map((r) => r.authorization));
    expect(told('hub')).toEqual(new Set(['Bearer hf_read']));
    expect(told('storage')).toEqual(new Set([null]));
  });

  it('are not sent to other servers at all', async () => {
    addModel();
    const url = `${setup.hub.url}/user/tiny/resolve/main/model.duo`;
    await pullModel(url, { env: { ...withToken('hf_read'), HF_ENDPOINT: 'https://hub.invalid' } });
    expect(setup.hub.requests.every(({ authorization }) => authorization === null)).toBe(true);
  });

  it('come from the environment, or from where `hf auth login` puts them', async () => {
    const folder = setup.path('hf-home');
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/token`, 'hf_file\n');
    const tokenOf = async (env: Record<string, string>) =>
      (await openNetwork({ HOME: '/nowhere', ...env })).token;
    expect(await tokenOf({})).toBeNull();
    expect(await tokenOf({ HF_HOME: folder })).toBe('hf_file');
    expect(await tokenOf({ HF_TOKEN_PATH: `${folder}/token` })).toBe('hf_file');
    expect(await tokenOf({ HF_HOME: folder, HF_TOKEN: ' hf_env ' })).toBe('hf_env');
    expect(await tokenOf({ HF_HOME: folder, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toBeNull();
    const bad = await errorOf(openNetwork({ HF_TOKEN: 'hf_a\nb: c' }));
    expect(bad.code).toBe('HUB_TOKEN');
    expect(bad.describe()).not.toContain('hf_a');
  });

  it.each([
    ['an expired one', 'hf_expired', false, 'HTTP_UNAUTHORIZED', /HF_TOKEN/],
    ['none for a private model', '', true, 'HUB_NOT_FOUND', /private.*HF_TOKEN/],
    ['one for a model that is not there', 'hf_read', null, 'HUB_NOT_FOUND', /no such repository/],
  ])('%s: a clear refusal that does not tell it', async (_name, token, isPrivate, code, says) => {
    if (isPrivate !== null) addModel(isPrivate);
    const error = await errorOf(pullModel(ADDRESS, { env: withToken(token) }));
    expect(error.code).toBe(code);
    expect(error.describe()).toMatch(says);
    if (token !== '') expect(`${error.describe()} ${error.stack}`).not.toContain(token);
  });

  it('gated models, forbidden ones and revisions that are not there have errors of their own', async () => {
    const repository = addModel();
    const codeOf = async (address: string) => {
      const { code, remedy } = await errorOf(pullModel(address, { env: withToken('hf_read') }));
      return `${code}: ${remedy}`;
    };
    expect(await codeOf(`${ADDRESS}@nothing`)).toMatch(/^HUB_NOT_FOUND: Name a branch/);
    repository.isGated = true;
    expect(await codeOf(ADDRESS)).toMatch(/^HUB_GATED: .*accept its terms/);
    setup.hub.fault = () => ({ status: 403 });
    expect(await codeOf(ADDRESS)).toMatch(/^HTTP_FORBIDDEN: Ask its owner/);
    setup.hub.fault = () => ({ status: 200 });
    expect(await codeOf(ADDRESS)).toMatch(/^HUB_ANSWER/);
  });
});

describe('proxies', () => {
  let proxy: ProxyServer;
  beforeEach(async () => {
    proxy = await startProxy();
  });
  // Tunnels are no connections of the server that it could close.
  afterEach(() => void proxy.close());

  it('HTTP_PROXY carries everything; NO_PROXY goes around it', async () => {
    addModel(true);
    const through = await pullModel(ADDRESS, { env: { ...withToken('hf_read'), HTTP_PROXY: proxy.url } });
    expect(through.downloaded).toBeGreaterThan(0);
    const hosts = [setup.hub.url, setup.hub.storageUrl].map((url) => new URL(url).host);
    for (const host of hosts) expect(proxy.asked.join(' ')).toContain(host);
    proxy.asked.length = 0;
    const env = { ...withToken('hf_read'), http_proxy: proxy.url, NO_PROXY: '127.0.0.1' };
    expect((await pullModel(ADDRESS, { env })).downloaded).toBe(0);
    expect(proxy.asked).toEqual([]);
  });

  it('one that is not there, or no address: an error that does not tell its password', async () => {
    addModel();
    const errorWith = (url: string) =>
      errorOf(
        pullModel(ADDRESS, { env: { ...setup.env, HTTP_PROXY: url }, signal: AbortSignal.timeout(5_000) }),
      );
    expect((await errorWith('http://user:secret@127.0.0.1:1')).describe()).not.toContain('secret');
    const bad = await errorWith('http://user:secret@:::');
    expect(bad.code).toBe('HTTP_REQUEST');
    expect(bad.describe()).not.toContain('secret');
  });
});
