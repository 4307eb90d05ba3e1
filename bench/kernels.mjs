// Shapes x kernels: runs packages/runtime-node/scripts/bench-kernels.mjs and makes the record and docs/results/kernels.md.
//   node bench/kernels.mjs [--record] [--name <name>]       after npm run build; about 2 minutes
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readArguments } from './arguments.mjs';
import { prepareBandwidth } from './bandwidth.mjs';
import { formatKernelsPage } from './kernels-page.mjs';
import { describeRun, watchProcessor } from './record.mjs';
import { writePage } from './write-page.mjs';

const SCRIPT = fileURLToPath(new URL('../packages/runtime-node/scripts/bench-kernels.mjs', import.meta.url));
/** Larger than the last cache of any machine this is likely to run on. */
const READ_BYTES = 2 ** 30;

const values = readArguments(
  {
    record: { type: 'boolean', default: false },
    name: { type: 'string', default: `kernels-${new Date().toISOString().slice(0, 10)}` },
  },
  import.meta.url,
);
const describe = describeRun();
const skipped = [];
const bandwidth = prepareBandwidth();
if (bandwidth.reason !== undefined) skipped.push({ name: 'read bandwidth', reason: bandwidth.reason });
const watch = watchProcessor();
const output = execFileSync(process.execPath, [SCRIPT, '--json'], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
});
const { busySeconds, wallSeconds } = watch.stop();
const present = JSON.parse(output);
for (const isa of ['avx512', 'avx2', 'neon', 'scalar']) {
  if (!present.some((row) => row.isa === isa)) {
    skipped.push({ name: `instruction set ${isa}`, reason: 'this machine does not have it' });
  }
}
const record = {
  ...describe('kernels'),
  // The kernels keep one core busy from beginning to end.
  coresElsewhere: Math.max(0, busySeconds / wallSeconds - 1),
  readBytesPerSecond: bandwidth.measure?.(READ_BYTES, 1) ?? null,
  rows: present,
  skipped,
};
writePage(record, {
  name: values.name,
  isKept: values.record,
  page: 'kernels.md',
  format: formatKernelsPage,
});
