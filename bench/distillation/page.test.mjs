// Every figure of the distillation page comes from a committed record.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../options.mjs';
import { formatDistillation } from './page.mjs';

it('the distillation page and its plots are what the records give', () => {
  const files = formatDistillation();
  expect(files.length).toBeGreaterThan(1);
  for (const [name, text] of files)
    expect(readFileSync(path.join(ROOT, 'docs/results', name), 'utf8')).toBe(text);
});
