// The limits that people read are the limits that the code uses.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { LIMITS } from './index.ts';

it('docs/format.md lists every limit with its value [LIM-2]', () => {
  const page = readFileSync(new URL('../../../docs/format.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm)];
  const listed = Object.fromEntries(
    rows.map(([, name, value]) => [name!, Number(value!.replaceAll(',', ''))]),
  );
  const { formatMajor, formatMinor, ...limits } = LIMITS;
  expect(listed).toEqual(limits);
  expect(page).toContain(`# The Duobit container, version ${formatMajor}.${formatMinor}`);
});
