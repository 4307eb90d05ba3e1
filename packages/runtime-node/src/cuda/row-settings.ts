// A setting from the environment for trying how one row is multiplied: DUOBIT_CUDA_FUSE, how long rows may be that products make
// codes of for themselves.
import { DuobitError } from '@duobit/format';

/** Longer rows take longer to make once a block than a launch of its own. */
const DEFAULT_BYTES = 64 << 10;

/** @throws DuobitError `BACKEND_OPTION` for what is no whole number, which would silently mean no limit */
export function readFuseLimit(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_BYTES;
  if (/^\d+$/.test(text)) return Number(text);
  throw new DuobitError(
    'BACKEND_OPTION',
    `DUOBIT_CUDA_FUSE is "${text.slice(0, 40)}"; it must be a whole number of bytes`,
    {
      where: 'DUOBIT_CUDA_FUSE',
      remedy: `Unset it, or give a number; the default is ${DEFAULT_BYTES}`,
    },
  );
}
