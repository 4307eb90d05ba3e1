// Kernels as text: imports are resolved once and as chosen, enables and constants come first, and every kernel that a device may
// get is whole.
import { KV_PRECISIONS } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { chooseImports, codeImports } from './context.ts';
import { SHADERS } from './generated/shaders.ts';
import { assembleShader } from './shaders.ts';

const VARIANTS = [true, false].flatMap((packedDot) =>
  [true, false].flatMap((subgroups) => [true, false].map((f16) => ({ packedDot, subgroups, f16 }))),
);
const CHOSEN: Record<string, string> = {
  row: 'row-norm',
  dense: 'dense-int8',
  element: 'element-add',
  'w11-levels': 'w11-levels-pairs',
  rotation: 'rotation-tile',
};
const KERNELS = Object.keys(SHADERS).filter((name) => SHADERS[name]!.includes('@compute'));

describe('kernels', () => {
  it('are whole for every variant: nothing is imported twice or left open, and enables come first', () => {
    expect(KERNELS.length).toBeGreaterThan(15);
    for (const variant of VARIANTS)
      for (const name of KERNELS)
        for (const kv of KV_PRECISIONS) {
          const codes = codeImports(variant.packedDot ? 'dot' : 'bits');
          const cache = { 'cache-load': `cache-load-${kv}`, 'cache-store': `cache-store-${kv}` };
          const imports = { ...chooseImports(variant), ...codes, ...cache, ...CHOSEN };
          const text = assembleShader({ name, imports });
          expect(text).not.toContain('#import');
          const functions = [...text.matchAll(/^fn (\w+)/gm)].map((match) => match[1]);
          expect(new Set(functions).size, `${name}: ${functions}`).toBe(functions.length);
          const lines = text.split('\n');
          const enables = lines.filter((line) => line.startsWith('enable '));
          expect(lines.slice(0, enables.length)).toEqual(enables);
          expect(enables.includes('enable f16;') && !variant.f16).toBe(false);
          // The kernel that streams is for subgroups only.
          const mayShuffle = variant.subgroups || name === 'w11-stream';
          expect(enables.includes('enable subgroups;') && !mayShuffle).toBe(false);
        }
  });

  it('have their constants before everything that uses them', () => {
    const text = assembleShader({
      name: 'rope',
      constants: { THREADS: 64 },
    });
    expect(text.startsWith('const THREADS: u32 = 64u;\n')).toBe(true);
  });

  it('that do not exist are refused by name', () => {
    expect(() => assembleShader({ name: 'nowhere' })).toThrow(/no kernel file "nowhere"/);
  });

  it('are all used: every file is a kernel or can be imported', () => {
    const imported = new Set<string>();
    for (const text of Object.values(SHADERS))
      for (const match of text.matchAll(/^#import (\S+)$/gm)) imported.add(match[1]!);
    const stems = [...imported];
    for (const name of Object.keys(SHADERS))
      if (!KERNELS.includes(name))
        expect(
          stems.some((stem) => name === stem || name.startsWith(`${stem}-`)),
          name,
        ).toBe(true);
  });
});
