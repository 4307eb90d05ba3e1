// The page and the plot of a record of context.mjs.
import { describe, expect, it } from 'vitest';
import { drawContextPlot, formatContextPage } from './context-page.mjs';

const entry = (context, median) => ({ context, median, minimum: median, maximum: median });
const record = {
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0.1, 0.1, 0.1], end: [1, 1, 1] },
  model: 'w11.duo',
  options: { contexts: [16, 128, 2048], rounds: 5, steps: 8 },
  runs: [
    { threads: 1, kv: 'f16', milliseconds: [entry(16, 4), entry(128, 5), entry(2048, 8)] },
    { threads: 2, kv: 'int8', milliseconds: [entry(16, 2), entry(128, 2.5), entry(2048, 3)] },
  ],
};

describe('decode against context length', () => {
  it('has a row for each cache and thread count, with the ratio', () => {
    const page = formatContextPage(record, { source: 'r.json', plot: 'context.svg' });
    expect(page).toContain('| f16, 1 thread | 4.00 | 5.00 | 8.00 | 1.60 |');
    expect(page).toContain('| int8, 2 threads | 2.00 | 2.50 | 3.00 | 1.20 |');
    expect(page).toContain('(context.svg)');
  });

  it('draws longer times higher up, from left to right', () => {
    const [line] = drawContextPlot(record).match(/d="M[^"]*L[^"]*"/);
    const points = line
      .slice(4, -1)
      .split('L')
      .map((point) => point.split(' ').map(Number));
    expect(points).toHaveLength(3);
    expect(points[0][0]).toBeLessThan(points[1][0]);
    expect(points[1][0]).toBeLessThan(points[2][0]);
    expect(points[2][1]).toBeLessThan(points[1][1]);
    expect(drawContextPlot(record)).not.toMatch(/NaN|undefined/);
  });
});
