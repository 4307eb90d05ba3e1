import { expect, it } from 'vitest';
import { readFuseLimit } from './row-settings.ts';

const refused = (where: string) => expect.objectContaining({ code: 'BACKEND_OPTION', where });

it('limits fused rows to a whole number of bytes, or the default', () => {
  expect([undefined, '', '0', '4096'].map(readFuseLimit)).toEqual([65536, 65536, 0, 4096]);
});

it.each(['abc', '-1', '1.5', '48k', 'NaN', ' '])('refuses "%s" as such a limit', (text) => {
  expect(() => readFuseLimit(text)).toThrow(refused('DUOBIT_CUDA_FUSE'));
});
