// The page of records of serve.mjs.
import { describe, expect, it } from 'vitest';
import { formatServePage, quantile } from './serve-page.mjs';

const record = {
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0.1, 0.1, 0.1], end: [1, 1, 1] },
  model: 'tiny.duo',
  server: { backend: 'native', threads: 2, parallel: 8 },
  options: { clients: 200, seconds: 300, parallel: 8, aborts: 0.1, longest: 96 },
  answers: 5000,
  aborted: 500,
  failed: 3,
  failures: { 'status 503': 2, 'no end': 1 },
  firstTokenMs: { p50: 1000, p95: 2000, p99: 3456 },
  tokensPerSecond: 2000.4,
  reusedShare: 0.25,
  left: { running: 0, waiting: 1 },
  exitCode: 0,
  samples: Array.from({ length: 30 }, (_, i) => ({
    seconds: 10 * (i + 1),
    rssBytes: i === 0 ? 900e6 : (150 + i) * 1e6,
    heapBytes: 50e6,
    tokensPerSecond: 2000,
  })),
};

describe('serving under load', () => {
  it('has failures by their kind, times to first tokens, and memory after the warm-up', () => {
    const page = formatServePage([
      { record, source: 'r.json' },
      { record: { ...record, model: 'big.duo' }, source: 's.json' },
    ]);
    expect(page).toContain('## tiny.duo, 200 clients');
    expect(page).toContain('## big.duo, 200 clients');
    expect(page).toContain('| failed | 3 (2 × status 503, 1 × no end) |');
    expect(page).toContain('| time to first token, p50 / p95 / p99, s | 1.00 / 2.00 / 3.46 |');
    expect(page).toContain('| resident memory after 20 % of the time, MB | 155–179 |');
    expect(page).toContain('| answers running and waiting after the last client | 0 and 1 |');
    expect(page).toContain('| 300 | 179 | 50 | 2000 |');
  });

  it('takes quantiles from what was measured', () => {
    const values = Array.from({ length: 200 }, (_, i) => i + 1);
    expect([0.5, 0.99, 1].map((share) => quantile(values, share))).toEqual([100, 198, 200]);
    expect(quantile([7], 0.99)).toBe(7);
    expect(quantile([], 0.5)).toBe(null);
  });
});
