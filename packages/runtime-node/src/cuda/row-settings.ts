// Settings from the environment for trying how one row is multiplied: DUOBIT_CUDA_FUSE, how long rows may be that products make
// codes of for themselves; DUOBIT_CUDA_ONE, as what they are multiplied.
import { DuobitError } from '@duobit/format';

/** Longer rows take longer to make once a block than a launch of its own. */
const DEFAULT_BYTES = 48 << 10;

/** @throws DuobitError `BACKEND_OPTION` for what is no whole number, which would silently mean no limit */
export function readFuseLimit(text: string | undefined): number {
  if (text === undefined || text === '') return DEFAULT_BYTES;
  if (/^\d+$/.test(text)) return Number(text);
  throw refuse(
    'DUOBIT_CUDA_FUSE',
    text,
    'a whole number of bytes',
    `give a number; the default is ${DEFAULT_BYTES}`,
  );
}

/**
 * Whether one row is multiplied as bit planes on single-bit tensor cores, not as bytes. By the count of instructions it should be; no
 * GPU has timed it yet, so it has to be asked for.
 * @throws DuobitError `BACKEND_OPTION` for what is neither
 */
export function readMultipliesBits(text: string | undefined): boolean {
  if (text === undefined || text === '' || text === 'bytes') return false;
  if (text === 'bits') return true;
  throw refuse('DUOBIT_CUDA_ONE', text, '"bits" or "bytes"', 'set one of them');
}

function refuse(name: string, text: string, wanted: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', `${name} is "${text.slice(0, 40)}"; it must be ${wanted}`, {
    where: name,
    remedy: `Unset it, or ${remedy}`,
  });
}
