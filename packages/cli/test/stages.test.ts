// `duobit quantize --stages`: the stages after the first, on the engines that this machine has.
import { nativeSupport } from '@duobit/runtime-node';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT, HELDOUT, runCli, runJson, useFolder } from './harness.ts';

const folder = useFolder();
const BASE = ['quantize', CHECKPOINT, '--calibration', HELDOUT, '--calibration-windows', '2'];

describe('duobit quantize --stages', () => {
  it.skipIf(!nativeSupport().available)(
    'trains all stages on kernels of ours and keeps the recipe in the file',
    async () => {
      const out = folder.path('all.duo');
      const stages = ['--stages', '1,2,3,4', '--preset', 'fast', '--tokens', '2048', '--device', 'native'];
      const { code, stderr } = await runCli([...BASE, '-o', out, ...stages]);
      expect(code, stderr).toBe(0);
      expect(stderr).toContain('distil: 100%');
      const { json } = await runJson(['inspect', out]);
      const { recipe } = json.provenance as { recipe: string };
      expect(recipe).toContain('"distillation"');
      const validated = await runCli(['validate', out]);
      expect(validated.code).toBe(0);
    },
  );

  it.each([
    { argv: ['--stages', '2'], says: 'beginning with 1' },
    { argv: ['--stages', '1,3,2'], says: 'in order' },
    { argv: ['--stages', '1,5'], says: '1 to 4' },
    { argv: ['--stages', '1,2', '--outliers', '4'], says: 'cannot be trained yet' },
    { argv: ['--stages', '1,2', '--device', 'abacus'], says: 'Allowed choices are auto' },
  ])('refuses $argv', async ({ argv, says }) => {
    const { code, stderr } = await runCli([...BASE, '-o', folder.path('no.duo'), ...argv]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(says);
  });

  it('refuses stages without a text', async () => {
    const { code, stderr } = await runCli([
      'quantize',
      CHECKPOINT,
      '-o',
      folder.path('no.duo'),
      '--stages',
      '1,2',
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toContain('--calibration');
  });
});
