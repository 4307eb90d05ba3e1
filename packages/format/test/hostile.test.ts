// Headers made to hurt: each is refused for the reason that it was made for, by opening and by validation.
import { createMemorySource, DuobitError, openContainer, validateContainer } from '@duobit/format';
import { beforeAll, describe, expect, it } from 'vitest';
import { forgeData } from './forge.ts';
import { HOSTILE_HEADERS } from './hostile-headers.ts';
import { makeSpec, type Sample, writeSample } from './sample.ts';

let sample: Sample;
beforeAll(async () => {
  sample = await writeSample();
});

async function openingCode(bytes: Uint8Array): Promise<string> {
  try {
    await openContainer(createMemorySource(bytes));
    return 'opened';
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    return error.code;
  }
}

describe('hostile headers', () => {
  it.each(HOSTILE_HEADERS.map((header) => [header.code, header.name, header] as const))(
    '%s: %s',
    async (code, _name, { make }) => {
      const bytes = await make(sample);
      expect(await openingCode(bytes)).toBe(code);
      const report = await validateContainer(createMemorySource(bytes), { deep: false });
      expect(report.problems[0]?.code).toBe(code);
      expect(report.problems.length).toBeLessThanOrEqual(100);
    },
  );
});

describe('hostile assets', () => {
  it.each([
    ['closed', '['.repeat(1_000_000) + ']'.repeat(1_000_000), ['TOKENIZER_INVALID']],
    ['never closed', '['.repeat(1_000_000), ['TOKENIZER_INVALID']],
  ])('a tokenizer nested a million deep, %s', async (_name, text, codes) => {
    // The writer refuses such a tokenizer: it takes the place of a good one of the same length.
    const bytes = new TextEncoder().encode(`"${'a'.repeat(text.length - 2)}"`);
    const spec = makeSpec({ assets: [{ role: 'tokenizer', mediaType: 'application/json', bytes }] });
    const refused = [{ ...spec.assets[0]!, bytes: new TextEncoder().encode(text) }];
    await expect(writeSample({ ...spec, assets: refused })).rejects.toMatchObject({ code: codes[0] });
    const forged = await forgeData((await writeSample(spec)).bytes, (data, { segments }) =>
      data.set(new TextEncoder().encode(text), segments[0]!.offset),
    );
    const report = await validateContainer(createMemorySource(forged));
    expect(report.problems.map((problem) => problem.code)).toEqual(codes);
  });
});
