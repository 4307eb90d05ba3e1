// The search on inputs whose best clips are known.
import { describe, expect, it } from 'vitest';
import { Workspace } from '../linalg/index.ts';
import { searchClips } from './clip-search.ts';

const COLUMNS = 512;
const identity = Float32Array.from({ length: COLUMNS * COLUMNS }, (_, i) =>
  i % (COLUMNS + 1) === 0 ? 1 : 0,
);

describe('searchClips', () => {
  it('leaves values on 16 even points alone', async () => {
    const samples = Float32Array.from({ length: 8 * COLUMNS }, (_, i) => (i % 16) - 3);
    expect(searchClips(samples, COLUMNS, [identity], await Workspace.create())).toMatchObject({
      clipLow: 1,
      clipHigh: 1,
    });
  });

  it('cuts off the one end where a lone value is', async () => {
    const samples = Float32Array.from({ length: 8 * COLUMNS }, (_, i) =>
      i % COLUMNS === 0 ? 2 : Math.sin(i * 12.9898) * 0.9,
    );
    const { clipLow, clipHigh } = searchClips(samples, COLUMNS, [identity], await Workspace.create());
    expect(clipHigh).toBeLessThan(0.9);
    expect(clipLow).toBeGreaterThan(0.9);
  });

  it('does not care for what the weights do not see', async () => {
    const blind = identity.slice();
    blind[0] = 0;
    const samples = Float32Array.from({ length: 8 * COLUMNS }, (_, i) =>
      i % COLUMNS === 0 ? 2 : Math.sin(i * 12.9898) * 0.9,
    );
    const space = await Workspace.create();
    const seeing = searchClips(samples, COLUMNS, [identity], space);
    expect(searchClips(samples, COLUMNS, [blind], space).clipHigh).toBeLessThan(seeing.clipHigh);
  });

  it('takes rows of zeros', async () => {
    const samples = new Float32Array(2 * COLUMNS);
    expect(searchClips(samples, COLUMNS, [identity], await Workspace.create())).toMatchObject({
      clipLow: 1,
      clipHigh: 1,
    });
  });
});
