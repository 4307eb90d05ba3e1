// The suite that every backend passes, on WebGPU in Chromium, for each thing that kernels are chosen for. SwiftShader takes seconds to
// compile a kernel, so a choice of cases runs; DUOBIT_ALL_CASES=1 runs all of them.
import { conformanceCases } from '@duobit/testkit';
import { findChromium, launchChromium, type RangeServer } from '@duobit/testkit/chromium';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenPage, openPage, startBench } from './bench.ts';
import type { conformanceActions } from './conformance-page.ts';

const command = findChromium();
/** One way to spread products for all sizes: fewer kernels. */
const tuning = { lanes: 8, rows: 2, workgroup: 64 } as const;
const WITHOUT = { subgroups: false, packedDot: false, f16: false } as const;

/** Every operation, at sizes that fill no vector and no workgroup, and whole models of all kinds of weights. */
const BROAD = [
  'denseMatMul f32, f16, bf16, K 172, N 17',
  'denseMatMul int8, int4, every group size, K 172, N 17',
  'w11MatMul on codes and on f32, every group size, with and without offsets, K 172, N 17',
  'integer sums are exact, K 31, N 17',
  'quantizeActivations bit for bit',
  'embed, every',
  'rmsNorm, every K',
  'siluMul',
  'add, exact',
  'over runs, K 172',
  'to another slot and in place, width 172',
  'takeColumns bit for bit, width 1000',
  'rope, several',
  'attention with a cache',
  'whole model, W(1+1)A4 with int8 embedding',
  'whole model, W(1+1)A4 with outlier columns, on rotated inputs',
  'whole model, Llama 3',
  'whole model, W(1+1)A16 on rotated',
  'greedy text',
];
/** Slow, and models have a head, too: once. */
const SLOW = ['logits of all rows'];
/** What depends on how sums and products are made. */
const NARROW = ['whole model, W(1+1)A4 with int8 embedding'];

const VARIANTS = [
  {
    name: 'subgroups and packed dot products',
    variant: { f16: false },
    expected: 'dot+subgroups',
    cases: [...BROAD, ...SLOW],
  },
  { name: 'none of them', variant: WITHOUT, expected: 'plain', cases: BROAD },
  { name: 'subgroups', variant: { ...WITHOUT, subgroups: true }, expected: 'subgroups', cases: NARROW },
  { name: 'packed dot products', variant: { ...WITHOUT, packedDot: true }, expected: 'dot', cases: NARROW },
  { name: 'f16 of the device', variant: { f16: true }, expected: 'dot+subgroups+f16', cases: BROAD },
] as const;

const isWhole = process.env.DUOBIT_ALL_CASES === '1';
const chosen = (parts: readonly string[]): string[] => {
  const names = conformanceCases().map(({ name }) => name);
  return isWhole ? names : names.filter((name) => parts.some((part) => name.includes(part)));
};

describe.skipIf(command === null)(
  'conformance of webgpu in Chromium',
  { timeout: isWhole ? 1_800_000 : 300_000 },
  () => {
    let browser: Browser;
    let server: RangeServer;
    let page: OpenPage<typeof conformanceActions>;
    let hasF16 = false;

    beforeAll(async () => {
      browser = await launchChromium(command!, { webgpu: true });
      server = await startBench(['conformance-page.ts']);
      page = await openPage(browser, server);
      ({ hasF16 } = await page.call('look'));
    }, 120_000);
    afterAll(async () => {
      await Promise.all([browser, server].map((part) => part?.close()));
    });

    it('has a case for every choice', () => {
      for (const part of [...BROAD, ...SLOW, ...NARROW])
        expect(
          conformanceCases().some(({ name }) => name.includes(part)),
          part,
        ).toBe(true);
    });

    for (const { name, variant, expected, cases } of VARIANTS)
      it(`with ${name}: ${chosen(cases).length} cases, and nothing stays behind`, async ({ skip }) => {
        if (expected.includes('f16') && !hasF16) skip('this adapter has no shader-f16');
        expect(await page.call('open', { kv: 'f32', tuning, variant })).toBe(expected);
        const failures: string[] = [];
        for (const one of chosen(cases)) {
          const failure = await page.call('run', one);
          if (failure !== null) failures.push(`${one}: ${failure}`);
        }
        expect(failures).toEqual([]);
        expect(await page.call('close')).toBe(0);
      });
  },
);
