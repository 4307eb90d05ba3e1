// What of the environment is taken, and what is refused.
import { describe, expect, it } from 'vitest';
import { readLaunchSettings } from './environment.ts';

describe('launch settings', () => {
  it('are the defaults where nothing is set', () => {
    const defaults = { fuseLimit: 65536, overlap: true };
    expect(readLaunchSettings({})).toEqual(defaults);
    expect(readLaunchSettings({ DUOBIT_CUDA_FUSE: '', DUOBIT_CUDA_OVERLAP: '' })).toEqual(defaults);
  });

  it('are what is set', () => {
    expect(readLaunchSettings({ DUOBIT_CUDA_FUSE: '0', DUOBIT_CUDA_OVERLAP: '1' })).toEqual({
      fuseLimit: 0,
      overlap: true,
    });
    expect(readLaunchSettings({ DUOBIT_CUDA_FUSE: '4096', DUOBIT_CUDA_OVERLAP: '0' })).toEqual({
      fuseLimit: 4096,
      overlap: false,
    });
  });

  it.each([
    ...['abc', '-1', '1.5', '48k', 'NaN', ' '].map((text) => ['DUOBIT_CUDA_FUSE', text] as const),
    ...['no', '2', 'false', ' '].map((text) => ['DUOBIT_CUDA_OVERLAP', text] as const),
  ])('refuse %s="%s"', (where, text) => {
    expect(() => readLaunchSettings({ [where]: text })).toThrow(
      expect.objectContaining({ code: 'BACKEND_OPTION', where }),
    );
  });
});
