// Every figure of the quality page comes from a committed record.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../options.mjs';
import { METHODS } from './methods.mjs';
import { formatQuality, readRecords } from './page.mjs';

describe('the quality page', () => {
  it('and its plots are what the records give', () => {
    for (const [name, text] of formatQuality())
      expect(readFileSync(path.join(ROOT, 'docs/results', name), 'utf8')).toBe(text);
  });

  it('has a record of every method on the small model, measured on the same tokens', () => {
    const rows = readRecords('tinystories');
    expect(rows.map(({ entry }) => entry.id)).toEqual(METHODS.map(({ id }) => id));
    const [first] = rows;
    for (const { entry, record } of rows) {
      expect(record.method).toBe(entry.id);
      expect(record.model_sha256).toBe(first.record.model_sha256);
      expect(record.evaluation).toEqual(first.record.evaluation);
    }
  });
});
