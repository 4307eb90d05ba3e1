// Every figure of the page of ablations comes from a committed record, and the records are of one setting.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../options.mjs';
import { formatAblations, readAblations } from './page.mjs';

describe('the page of ablations', () => {
  it('is what the records give', () => {
    expect(readFileSync(path.join(ROOT, 'docs/results/ablations.md'), 'utf8')).toBe(formatAblations());
  });

  it('has rows that were trained and measured on the same tokens', () => {
    const rows = readAblations();
    expect(rows.map(({ row }) => row.id)).toEqual(expect.arrayContaining(['full', 'stage-1', 'default']));
    const { recipe: first, perplexity: own, passes } = rows.find(({ row }) => row.id === 'default').record;
    for (const { row, record } of rows) {
      expect(record.row).toBe(row.id);
      expect(record.perplexity.end.tokens_sha256).toBe(own.end.tokens_sha256);
      if (row.id === 'full') continue;
      expect(record.recipe.model).toEqual(first.model);
      if (row.id === 'stage-1') continue;
      expect(record.passes).toBe(passes);
      expect(record.recipe.calibration.tokensSha256).toBe(first.calibration.tokensSha256);
      const { tokens, seed } = record.recipe.distillation;
      expect([tokens, seed]).toEqual([first.distillation.tokens, first.distillation.seed]);
    }
  });

  it('has rows that differ from the first, or from that of nearest levels, in what they say alone', () => {
    const rows = readAblations();
    const recordOf = (id) => rows.find(({ row }) => row.id === id).record;
    const base = {
      relaxed: recordOf('default').recipe.distillation,
      nearest: recordOf('nearest').recipe.distillation,
    };
    expect([base.relaxed.weights.bits, base.nearest.weights.bits]).toEqual(['relaxed', 'nearest']);
    for (const { row, record } of rows) {
      const { distillation } = record.recipe ?? {};
      if (!distillation) continue;
      const given = row.stages({ passes: record.passes, seed: distillation.seed });
      for (const name of ['weights', 'activations']) {
        const from = base[given.weights?.bits ?? 'relaxed'][name];
        const expected = given[name] && {
          ...from,
          ...given[name],
          rates: { ...from.rates, ...given[name].rates },
        };
        expect(distillation[name], `${row.id}, ${name}`).toEqual(expected);
      }
    }
  });
});
