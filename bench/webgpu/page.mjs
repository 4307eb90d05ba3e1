// Makes docs/results/webgpu.md from records of main.mjs, the newest last:
//
//   node bench/webgpu/page.mjs docs/results/records/webgpu-*.jsonl
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TARGET = join(dirname(fileURLToPath(import.meta.url)), '../../docs/results/webgpu.md');

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const table = (head, rows) => [
  `| ${head.join(' | ')} |`,
  `|${head.map(() => ' --- |').join('')}`,
  ...rows.map((row) => `| ${row.join(' | ')} |`),
];

function section(file) {
  const records = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const of = (kind) => records.filter((one) => one.kind === kind && !one.error);
  const adapter = of('adapter').find(({ vendor }) => vendor);
  const bandwidth = of('bandwidth').at(-1);
  const has = (name) => (adapter?.features.includes(name) ? 'yes' : 'no');
  const lines = [`## ${basename(file)}`, ''];
  if (adapter)
    lines.push(
      `- GPU: ${adapter.device || adapter.description}, ${adapter.description}, through Vulkan and Dawn in Node.js`,
      `- Subgroups of ${adapter.subgroupMinSize} to ${adapter.subgroupMaxSize}; shader-f16: ${has('shader-f16')}`,
    );
  if (bandwidth)
    lines.push(
      `- A kernel that only reads 1 GiB: ${bandwidth.read.toFixed(0)} GB/s; shares below are of this`,
    );
  const failed = records.filter((one) => one.error || one.kind === 'failure');
  for (const one of failed)
    lines.push(`- Failed: ${one.kind} ${one.name ?? one.part ?? ''}: ${one.error ?? one.signal ?? one.code}`);

  const suites = of('conformance').map((one) => [one.name, one.variant, `${one.passed} of ${one.total}`]);
  if (suites.length > 0)
    lines.push('', ...table(['conformance suite', 'device features used', 'pass'], suites));
  const greedy = of('greedy').map((one) => [
    one.name,
    one.variant,
    one.equal ? `${one.tokens} tokens equal` : `differs at token ${one.first}`,
  ]);
  if (greedy.length > 0)
    lines.push('', ...table(['greedy text against the reference', 'device features used', ''], greedy));
  for (const one of records.filter(({ kind }) => kind === 'fusion'))
    lines.push(
      '',
      `Fused and single operations (${JSON.stringify(one.variant)}): ${one.error ?? 'every slot equal to the bit'}.`,
    );

  const names = [...new Set(of('matvec').map(({ name }) => name))];
  if (names.length > 0) {
    const shapes = [...new Set(of('matvec').map(({ shape }) => shape.join(' x ')))];
    const cell = (name, shape) => {
      const one = of('matvec').find((record) => record.name === name && record.shape.join(' x ') === shape);
      return one ? `${one.microseconds.toFixed(1)} us (${percent(one.share)})` : '';
    };
    lines.push(
      '',
      'W(1+1)A4 times one row of codes, device time, weights from memory (share of the read bandwidth):',
      '',
    );
    lines.push(
      ...table(
        ['', ...shapes],
        names.map((name) => [name, ...shapes.map((shape) => cell(name, shape))]),
      ),
    );
  }
  const tunings = of('tuning').map((one) => [
    one.subject,
    JSON.stringify(one.choice),
    `${one.milliseconds.toFixed(3)} ms`,
  ]);
  if (tunings.length > 0) lines.push('', ...table(['tuning', 'choice', 'time'], tunings));
  const tiles = of('matmul').map((one) => [
    one.name,
    one.shape.join(' x '),
    one.tokens,
    `${(one.microseconds / 1000).toFixed(2)} ms`,
    one.teraops.toFixed(1),
  ]);
  if (tiles.length > 0) lines.push('', ...table(['tiles', 'shape', 'rows', 'time', 'Top/s'], tiles));
  const models = of('model').map((one) => {
    const floor = one.bytes / one.read / 1e6;
    const ms = (value) => (value === null || value === undefined ? '-' : value.toFixed(3));
    return [
      `${one.name}${one.label ? `, ${one.label}` : ''}`,
      ms(one.decode),
      ms(one.chained),
      ms(one.device),
      `${ms(floor)} (${percent(floor / one.chained)})`,
      one.prefill.toFixed(1),
      one.dispatches,
    ];
  });
  if (models.length > 0)
    lines.push(
      '',
      'Random weights of a shape; milliseconds. Decode waits for each token, chained does not, device is the time of the compute pass; the floor is reading the weights once (its share of chained).',
      '',
      ...table(['model', 'decode', 'chained', 'device', 'floor', 'prefill 512', 'dispatches'], models),
    );
  return lines;
}

writeFileSync(
  TARGET,
  [
    '# The WebGPU backend on a GPU',
    '',
    'Made by `bench/webgpu/page.mjs` from the records named; do not edit. `npm run pack:webgpu` makes the folder that takes them on a bare',
    'machine. Later sections are of later states of the kernels. The kernels of the last one passed the suite on the same kind of GPU on',
    '2026-11-26, in nine variants, and its texts ([log](records/webgpu-h200-3.txt)).',
    '',
    ...process.argv.slice(2).flatMap((file) => [...section(file), '']),
  ]
    .join('\n')
    .replace(/\n+$/, '\n'),
);
