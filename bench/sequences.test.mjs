// The page of a record of sequences.mjs.
import { describe, expect, it } from 'vitest';
import { formatSequencesPage } from './sequences-page.mjs';

const about = (median) => ({ median, minimum: median / 2, maximum: 2 * median });
const record = {
  started: '2026-01-01T00:00:00.000Z',
  ended: '2026-01-01T00:10:00.000Z',
  commit: 'abc',
  modified: false,
  machine: { cpu: 'a CPU', cores: 2, memoryBytes: 8e9, platform: 'linux', arch: 'x64', node: 'v20' },
  load: { start: [0.1, 0.1, 0.1], end: [1, 1, 1] },
  model: 'w11.duo',
  options: { counts: [1, 8], rounds: 5, tokens: 48, prompt: 32, long: 256 },
  coresElsewhere: 0,
  runs: [
    {
      threads: 2,
      totals: [
        { count: 1, tokensPerSecond: about(100), ratio: about(1) },
        { count: 8, tokensPerSecond: about(320), ratio: about(3.2) },
      ],
      joining: { texts: 4, pause: about(30), firstToken: about(400), firstTokenAlone: about(250) },
    },
  ],
};

describe('several texts at the same time', () => {
  it('has a row for each number of texts, and what a long prompt costs', () => {
    const page = formatSequencesPage(record, { source: 'r.json' });
    expect(page).toContain('| 2 threads | 8 | 320 (160–640) | 40.0 | 3.20 (1.60–6.40) |');
    expect(page).toContain('| 2 threads | 4 | 30 (15–60) | 400 (200–800) | 250 (125–500) |');
    expect(page).not.toContain('busy with other things');
  });

  it('says when the machine was busy', () => {
    expect(formatSequencesPage({ ...record, coresElsewhere: 1.5 })).toContain('busy with other things');
  });
});
