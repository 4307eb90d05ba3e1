// The memory that a command reports is its own, whoever started it.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { bundleForNode } from '@duobit/testkit/hub';
import { expect, it } from 'vitest';
import { readPeakRss } from '../src/machine.ts';
import { ROOT } from './harness.ts';

it('is not that of a large process which started it', async () => {
  const source = "import { readPeakRss } from '../src/machine.ts';\nconsole.log(readPeakRss());\n";
  const program = await bundleForNode('machine', source, join(ROOT, 'packages/cli/test'));
  const ballast = Buffer.alloc(400 << 20, 1);
  const peak = Number(execFileSync(process.execPath, [program], { encoding: 'utf8' }));
  expect(readPeakRss()).toBeGreaterThan(ballast.length);
  expect(peak).toBeGreaterThan(20e6);
  expect(peak).toBeLessThan(200e6);
});
