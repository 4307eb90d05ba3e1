// What an address on a hub means.
import { describe, expect, it } from 'vitest';
import {
  chooseModelFile,
  hubFileUrl,
  isRemoteAddress,
  parseHubAddress,
  refuseHubPage,
} from './hub-address.ts';

describe('parseHubAddress', () => {
  it.each([
    ['hf:user/name', { repo: 'user/name', revision: 'main', file: null }],
    ['hf:user/name@v1.0', { repo: 'user/name', revision: 'v1.0', file: null }],
    ['hf:user/name@refs%2Fpr%2F1/a/b.duo', { repo: 'user/name', revision: 'refs/pr/1', file: 'a/b.duo' }],
    ['hf:User-1/my_model.v2/tiny.duo', { repo: 'User-1/my_model.v2', revision: 'main', file: 'tiny.duo' }],
  ])('%s', (text, address) => {
    expect(parseHubAddress(text)).toEqual(address);
  });

  it.each([
    '',
    'hf:',
    'hf:user',
    'hf:user/',
    'hf:/name',
    'hf:../name',
    'hf:user/..',
    'hf:user/name@',
    'hf:user/name@%zz',
    'hf:user/name/../other',
    'hf:user/name//x.duo',
    'hf:user/name/.',
    'hf:us er/name',
    'https://huggingface.co/user/name',
  ])('refuses "%s"', (text) => {
    expect(() => parseHubAddress(text)).toThrow(expect.objectContaining({ code: 'HUB_ADDRESS' }));
  });
});

describe('refuseHubPage', () => {
  const hub = 'https://hub.example/mirror';
  it.each([
    ['https://huggingface.co/user/name', 'hf:user/name'],
    ['https://huggingface.co/user/name/?library=duobit#files', 'hf:user/name'],
    ['https://huggingface.co/user/name/discussions', 'hf:user/name'],
    ['https://huggingface.co/user/name/tree/main', 'hf:user/name'],
    ['https://huggingface.co/user/name/tree/refs%2Fpr%2F1/deep', 'hf:user/name@refs%2Fpr%2F1'],
    ['https://huggingface.co/user/name/blob/main/a%20b/c.duo', 'hf:user/name/a b/c.duo'],
    ['https://huggingface.co/user/name/blob/v1/c.duo?x=1', 'hf:user/name@v1/c.duo'],
    [`${hub}/user/name`, 'hf:user/name'],
  ])('says what is meant by %s', (page, address) => {
    expect(() => refuseHubPage(page, hub)).toThrow(
      expect.objectContaining({ code: 'MODEL_ADDRESS', remedy: `Write ${address}` }),
    );
    expect(() => parseHubAddress(address)).not.toThrow();
  });

  it.each([
    'https://huggingface.co/user/name/resolve/main/c.duo',
    'https://huggingface.co/user/name/raw/main/c.duo',
    'https://huggingface.co/datasets/user/name',
    'https://huggingface.co/user',
    'https://other.example/user/name',
    'https://huggingface.co.example/user/name',
    'https://hub.example/user/name',
    `${hub}/files/model.duo`,
    'hf:user/name',
    'https://',
  ])('lets %s be', (address) => {
    expect(() => refuseHubPage(address, hub)).not.toThrow();
  });
});

it('an address of a file escapes what has a meaning in URLs', () => {
  expect(hubFileUrl('https://hub', 'user/name', 'refs/pr/1', 'a b/c#d?.duo')).toBe(
    'https://hub/user/name/resolve/refs%2Fpr%2F1/a%20b/c%23d%3F.duo',
  );
});

it('tells addresses from paths, also those that look a little like one', () => {
  for (const text of ['hf:a/b', 'http://x/y', 'HTTPS://x/y']) expect(isRemoteAddress(text)).toBe(true);
  for (const text of ['hf', './hf:a/b', 'C:\\models\\a.duo', 'models/https://x'])
    expect(isRemoteAddress(text)).toBe(false);
});

it('the only container is meant where none is named', () => {
  const address = parseHubAddress('hf:user/name');
  expect(chooseModelFile(address, ['README.md', 'deep/a.duo', 'deep/a-00001.duodata'])).toBe('deep/a.duo');
  expect(() => chooseModelFile(address, ['a.duodata'])).toThrow(
    expect.objectContaining({ code: 'HUB_NO_MODEL' }),
  );
  expect(() => chooseModelFile(address, ['a.duo', 'b.duo'])).toThrow(
    expect.objectContaining({ code: 'HUB_SEVERAL_MODELS' }),
  );
});
