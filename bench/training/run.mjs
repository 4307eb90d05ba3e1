// `node bench/training/run.mjs [--devices a,b] [--bits relaxed,nearest,fixed] [--record]`, after `npm run build`: tokens a second and a
// block of a training step with all that belongs to it: forward, TensorFlow.js's tape, gradients of bits, levels and clips, and Adam.
// Stage 2 trains relaxed bits (nearest ones before), stage 3 has fixed ones. A block of TinyStories-656K and one shaped like
// SmolLM2-135M's, random weights, groups of 128, rotated inputs. Prints the table; with --record it writes
// docs/results/records/training-<date>.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createTrainingKernels } from '@duobit/runtime-node';
import { openEngine } from '@duobit/tfjs';
import { readArguments } from '../arguments.mjs';
import { ROOT } from '../options.mjs';
import { describeRun, summarize, watchProcessor } from '../record.mjs';
import { BLOCKS, createStep } from './step.mjs';

const values = readArguments(
  {
    devices: { type: 'string', default: 'native,tensorflow,wasm,cpu' },
    blocks: { type: 'string', default: BLOCKS.map(({ id }) => id).join(',') },
    steps: { type: 'string', default: '7' },
    bits: { type: 'string', default: 'relaxed,fixed' },
    seconds: { type: 'string', default: '30' },
    threads: { type: 'string', default: '1' },
    record: { type: 'boolean', default: false },
  },
  import.meta.url,
);
const threads = Number(values.threads);
const finish = describeRun();
const runs = [];
const kinds = values.bits
  .split(',')
  .flatMap((bits) => ['f16', 'a4'].map((activations) => ({ bits, activations })));
for (const device of values.devices.split(','))
  for (const block of BLOCKS.filter(({ id }) => values.blocks.split(',').includes(id)))
    for (const { bits, activations } of kinds) {
      let engine;
      try {
        engine = await openEngine({ device, kernels: () => createTrainingKernels({ threads }) });
      } catch (error) {
        console.error(`${device}: left out, ${error.message}`);
        continue;
      }
      const { step, tokens, flops, dispose } = createStep(engine, block, activations, bits);
      await step();
      const watch = watchProcessor();
      const processor = process.cpuUsage();
      const used = [];
      const times = [];
      const begun = performance.now();
      // Slow devices do fewer steps.
      while (
        times.length < Number(values.steps) &&
        (times.length === 0 || performance.now() - begun < 1000 * Number(values.seconds))
      ) {
        const start = performance.now();
        const before = process.cpuUsage();
        await step();
        times.push((performance.now() - start) / 1000);
        const { user, system } = process.cpuUsage(before);
        used.push((user + system) / 1e6);
      }
      const { busySeconds, wallSeconds } = watch.stop();
      const { user, system } = process.cpuUsage(processor);
      dispose();
      const { median, minimum, maximum } = summarize(times);
      const cpuSeconds = summarize(used);
      const run = {
        device,
        engine: device === 'tensorflow' ? device : engine.name,
        block: block.id,
        activations,
        bits,
        tokens,
        flops,
        steps: times.length,
        seconds: { median, minimum, maximum },
        tokensPerSecond: tokens / median,
        gflops: flops / median / 1e9,
        // What others on the machine change little.
        cpuSeconds,
        tokensPerCpuSecond: tokens / cpuSeconds.median,
        gflopPerCpuSecond: flops / cpuSeconds.median / 1e9,
        coresOwn: (user + system) / 1e6 / wallSeconds,
        coresElsewhere: Math.max(0, (busySeconds - (user + system) / 1e6) / wallSeconds),
      };
      runs.push(run);
      console.log(formatRun(run));
    }
const record = { ...finish('training'), threads, blocks: BLOCKS, runs };
if (values.record) {
  const folder = path.join(ROOT, 'docs/results/records');
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, `training-${record.started.slice(0, 10)}.json`);
  writeFileSync(file, `${JSON.stringify(record, null, 1)}\n`);
  console.log(`written: ${path.relative(ROOT, file)}`);
}
process.exit(0);

function formatRun({ engine, block, bits, activations, tokensPerSecond, gflops, seconds, steps, ...run }) {
  const whole = (value) => value.toFixed(value < 100 ? 1 : 0);
  const cells = [
    engine,
    block,
    bits,
    activations === 'a4' ? 'A4' : 'A16',
    whole(tokensPerSecond),
    gflops.toFixed(2),
    whole(run.tokensPerCpuSecond),
    run.gflopPerCpuSecond.toFixed(2),
    `${seconds.median.toFixed(3)} (${seconds.minimum.toFixed(3)} to ${seconds.maximum.toFixed(3)}, ${steps})`,
    run.coresOwn.toFixed(1),
    run.coresElsewhere.toFixed(1),
  ];
  return `| ${cells.join(' | ')} |`;
}
