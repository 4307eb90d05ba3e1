// The table of kernels from a small record.
import { describe, expect, it } from 'vitest';
import { formatKernelsPage, summarizeKernels } from './kernels-page.mjs';

const row = (model, shape, rows, rate) => ({
  isa: 'avx2',
  kernel: 'W(1+1)A4',
  unit: 'G weights/s',
  model,
  shape,
  rows,
  rate,
});

const record = {
  kind: 'kernels',
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0, 0, 0], end: [1, 1, 1] },
  coresElsewhere: 0.01,
  readBytesPerSecond: 20e9,
  rows: [
    row('in cache', [256, 512], 1, 80),
    row('in cache', [256, 512], 64, 100),
    row('1B', [2048, 2048], 1, 60),
    row('1B', [2048, 2048], 64, 95),
  ],
  skipped: [{ name: 'instruction set avx512', reason: 'this machine does not have it' }],
};

describe('the table of kernels', () => {
  it('gives each shape its share of the rate in cache, by number of rows', () => {
    expect(summarizeKernels(record)[1].byRows).toEqual({
      1: { rate: 60, share: 0.75 },
      64: { rate: 95, share: 0.95 },
    });
    const page = formatKernelsPage(record);
    expect(page).toContain('| W(1+1)A4, G weights/s | 1B | 2048 x 2048 | 60.0 (75 %) | 95.0 (95 %) |');
    // 20 GB/s over 2.5 bits.
    expect(page).toContain('no faster than 64.0 G a second');
    expect(page).toContain('- instruction set avx512: this machine does not have it');
  });

  it('leaves bandwidth out where it was not measured', () => {
    const page = formatKernelsPage({ ...record, readBytesPerSecond: null });
    expect(page).not.toMatch(/reads memory|NaN|null/);
  });
});
