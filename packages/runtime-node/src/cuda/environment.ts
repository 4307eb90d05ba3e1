// Settings from the environment for trying how kernels are launched: docs/cuda.md has them.
import { DuobitError } from '@duobit/format';

/** Longer rows take longer to make once a block than a launch of its own. */
const DEFAULT_BYTES = 64 << 10;

export interface LaunchSettings {
  /** Bytes of the longest row that products make codes of for themselves. */
  readonly fuseLimit: number;
  /** Whether launches may begin before the one before them has ended, where the device can. */
  readonly overlap: boolean;
}

/** @throws DuobitError `BACKEND_OPTION` for what is no such setting, which would silently mean another */
export function readLaunchSettings(env: Readonly<Record<string, string | undefined>>): LaunchSettings {
  const { DUOBIT_CUDA_FUSE: fuse = '', DUOBIT_CUDA_OVERLAP: overlap = '' } = env;
  if (!/^\d*$/.test(fuse))
    throw refused(
      'DUOBIT_CUDA_FUSE',
      fuse,
      'a whole number of bytes',
      `a number; the default is ${DEFAULT_BYTES}`,
    );
  if (!/^[01]?$/.test(overlap))
    throw refused('DUOBIT_CUDA_OVERLAP', overlap, '0 or 1', '0; the default is 1');
  return { fuseLimit: fuse === '' ? DEFAULT_BYTES : Number(fuse), overlap: overlap !== '0' };
}

function refused(where: string, value: string, must: string, give: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', `${where} is "${value.slice(0, 40)}"; it must be ${must}`, {
    where,
    remedy: `Unset it, or give ${give}`,
  });
}
