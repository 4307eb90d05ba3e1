// The methods that results compare, by name.
import { DuobitError } from '@duobit/format';
import type { LayerMethod } from '../layer-method.ts';
import { createW11LayerMethod, W11_DEFAULTS } from '../w11-layer-method.ts';
import { createArbRcMethod } from './arb-rc.ts';
import { createBiLlmMethod } from './billm.ts';
import { createGptqMethod } from './gptq.ts';
import { createPbLlmMethod } from './pb-llm.ts';
import { createRtnMethod } from './rtn.ts';

const METHODS: Readonly<Record<string, () => LayerMethod>> = {
  w11: () => createW11LayerMethod(W11_DEFAULTS),
  'rtn-2': () => createRtnMethod(2),
  'rtn-3': () => createRtnMethod(3),
  'rtn-4': () => createRtnMethod(4),
  'gptq-2': () => createGptqMethod(2),
  'gptq-3': () => createGptqMethod(3),
  'gptq-4': () => createGptqMethod(4),
  'pb-llm': createPbLlmMethod,
  billm: createBiLlmMethod,
  'arb-rc': createArbRcMethod,
};

/** Names that `createMethod` takes. */
export const METHOD_NAMES: readonly string[] = Object.keys(METHODS);

/** @throws DuobitError `QUANTIZE_OPTION` for a name that is none of METHOD_NAMES */
export function createMethod(name: string): LayerMethod {
  const create = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (create) return create();
  throw new DuobitError('QUANTIZE_OPTION', `there is no method ${name}`, {
    where: 'method',
    remedy: `Use one of ${METHOD_NAMES.join(', ')}`,
  });
}
