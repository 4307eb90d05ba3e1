// The fuzz campaigns in short, from a fixed seed; `npm run fuzz` runs them whole.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Campaign,
  type Campaigns,
  createCampaigns,
  createTally,
  listKnownCodes,
  type Tally,
} from './fuzz/campaign.ts';

const ERRORS = new URL('../../../docs/errors.md', import.meta.url);

let campaigns: Campaigns;
beforeAll(async () => {
  campaigns = await createCampaigns(listKnownCodes(readFileSync(ERRORS, 'utf8')));
});

/** Runs every `step`th case; a prime step meets every place and every value sooner or later. */
async function runSome(campaign: Campaign, step: number): Promise<Tally> {
  const tally = createTally();
  for (let index = 0; index < campaign.cases; index += step) {
    const result = await campaign.run(index);
    if ('error' in result) {
      const { file, repair, changes, error } = result;
      expect.fail(
        `${campaign.name} case ${index} of ${file}, repair ${repair}: ${changes.join('; ')}\n${error}`,
      );
    }
    tally.cases += 1;
    const codes = result.codes ?? [result.opened ?? 'neither'];
    tally.accepted += codes.length === 0 || codes[0] === 'accepted' ? 1 : 0;
    for (const code of codes) tally.codes.set(code, (tally.codes.get(code) ?? 0) + 1);
  }
  return tally;
}

describe('damaged files', () => {
  it('no one-byte edit is accepted', async () => {
    const tally = await runSome(campaigns.exhaustive, 1361);
    expect(tally.accepted).toBe(0);
    // Edits of the preamble, of the header, of padding and of data.
    for (const code of ['CONTAINER_MAGIC', 'HEADER_HASH', 'PADDING_NONZERO', 'CHUNK_HASH']) {
      expect(tally.codes.get(code), code).toBeGreaterThan(0);
    }
  });

  it('one-byte edits with right hashes are refused with a code or read as they are', async () => {
    const tally = await runSome(campaigns.repaired, 577);
    expect(tally.accepted).toBeGreaterThan(0);
    expect(tally.codes.get('HEADER_HASH')).toBe(undefined);
    expect(tally.codes.size).toBeGreaterThan(20);
  });

  it('random mutants are refused with a code or read as they are', async () => {
    const tally = await runSome(campaigns.random(20260101, 2000), 1);
    expect(tally.accepted).toBeGreaterThan(0);
    expect(tally.codes.size).toBeGreaterThan(30);
  });
});
