// The error for an option outside its range.
import { DuobitError } from '@duobit/format';

export function badOption(name: string, fact: string, remedy: string): DuobitError {
  return new DuobitError('QUANTIZE_OPTION', `option ${name} ${fact}`, { where: name, remedy });
}
