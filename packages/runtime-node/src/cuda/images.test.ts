// Which compiled kernels are taken.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { listKernelImages } from './images.ts';

const folder = `${mkdtempSync(join(tmpdir(), 'duobit-images-'))}/`;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
for (const name of ['build', 'generated']) mkdirSync(folder + name);
for (const virtual of [80, 90])
  writeFileSync(`${folder}generated/kernels_${virtual}.ptx.gz`, gzipSync('// Sources: new\n.version 8.0\n'));
for (const architecture of [80, 86, 89, 90])
  writeFileSync(`${folder}build/sm_${architecture}.cubin`, 'machine code');

const names = (capability: number) => listKernelImages(capability, [folder]).map(({ name }) => name);

describe('images of kernels', () => {
  it('are machine code of the same major version, then PTX that the GPU can run', () => {
    writeFileSync(`${folder}build/sources`, '// Sources: new\n');
    expect(names(90)).toEqual([
      'build/sm_90.cubin',
      'generated/kernels_90.ptx.gz',
      'generated/kernels_80.ptx.gz',
    ]);
    expect(names(87)).toEqual(['build/sm_86.cubin', 'build/sm_80.cubin', 'generated/kernels_80.ptx.gz']);
    expect(names(100)).toEqual(['generated/kernels_90.ptx.gz', 'generated/kernels_80.ptx.gz']);
  });

  it('are those that need little shared memory where there is little', () => {
    expect(names(120)).toEqual(['generated/kernels_80.ptx.gz']);
  });

  it('are no machine code that was built of other sources, or nobody knows of which', () => {
    writeFileSync(`${folder}build/sources`, '// Sources: old\n');
    expect(names(90)).toEqual(['generated/kernels_90.ptx.gz', 'generated/kernels_80.ptx.gz']);
    rmSync(`${folder}build/sources`);
    expect(names(90)[0]).toBe('generated/kernels_90.ptx.gz');
  });
});
