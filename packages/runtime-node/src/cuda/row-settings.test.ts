import { expect, it } from 'vitest';
import { readFuseLimit, readMultipliesBits } from './row-settings.ts';

const refused = (where: string) => expect.objectContaining({ code: 'BACKEND_OPTION', where });

it('limits fused rows to a whole number of bytes, or the default', () => {
  expect([undefined, '', '0', '4096'].map(readFuseLimit)).toEqual([49152, 49152, 0, 4096]);
});

it.each(['abc', '-1', '1.5', '48k', 'NaN', ' '])('refuses "%s" as such a limit', (text) => {
  expect(() => readFuseLimit(text)).toThrow(refused('DUOBIT_CUDA_FUSE'));
});

it('multiplies one row as bytes unless bits are asked for', () => {
  expect([undefined, '', 'bytes', 'bits'].map(readMultipliesBits)).toEqual([false, false, false, true]);
  expect(() => readMultipliesBits('Bits')).toThrow(refused('DUOBIT_CUDA_ONE'));
});
