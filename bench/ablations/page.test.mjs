// Every figure of the page of ablations comes from a committed record, and the records are of one setting.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../options.mjs';
import { formatAblations, readAblations } from './page.mjs';
import { ROWS } from './rows.mjs';

/** What needs an option that is not there yet has no record. */
const OPTIONAL = new Set(ROWS.filter(({ needs }) => needs).map(({ id }) => id));

describe('the page of ablations', () => {
  it('is what the records give', () => {
    expect(readFileSync(path.join(ROOT, 'docs/results/ablations.md'), 'utf8')).toBe(formatAblations());
  });

  it('has a record of every row, trained and measured on the same tokens', () => {
    const rows = readAblations();
    const ids = ['full', ...ROWS.map(({ id }) => id)];
    expect(rows.map(({ row }) => row.id)).toEqual(
      ids.filter((id) => !OPTIONAL.has(id) || rows.some(({ row }) => row.id === id)),
    );
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
});
