import { expect, it } from 'vitest';
import { readFuseLimit } from './fuse-limit.ts';

it('is a whole number of bytes, or the default', () => {
  expect([undefined, '', '0', '4096'].map(readFuseLimit)).toEqual([49152, 49152, 0, 4096]);
});

it.each(['abc', '-1', '1.5', '48k', 'NaN', ' '])('is not "%s"', (text) => {
  expect(() => readFuseLimit(text)).toThrow(
    expect.objectContaining({ code: 'BACKEND_OPTION', where: 'DUOBIT_CUDA_FUSE' }),
  );
});
