// Whole models of random weights: time of a token and of a prompt, against the time that reading the weights alone takes.
import { buildPlan, SLOTS } from '@duobit/core';
import { measureBandwidth } from './bandwidth.mjs';
import { median, open } from './open.mjs';
import { createRandomModel } from './random-model.mjs';

const PROMPT = 512;
const CONTEXT = 1024;

async function measureModel(backend, name, { prompt, tokens }, record, extra) {
  const source = createRandomModel(name);
  let start = performance.now();
  const program = await backend.prepare(buildPlan(source), (tensor) => source.readTensor(tensor), {
    capacity: CONTEXT,
    maxRows: prompt,
  });
  const load = performance.now() - start;
  const vocabulary = source.architecture.vocabularySize;
  const ids = (count, seed) => Int32Array.from({ length: count }, (_, i) => ((i + seed) * 7919) % vocabulary);

  const request = (i) => ({ rows: 1, position: prompt + i, logits: 'last' });
  // What the cache holds does not matter, only how much of it is read.
  await program.write(SLOTS.tokens, ids(1, 0));
  await program.run(request(0));
  await program.readBest(SLOTS.logits);
  const before = program.counters;
  const steps = [];
  for (let i = 0; i < tokens; i++) {
    start = performance.now();
    await program.write(SLOTS.tokens, ids(1, i));
    await program.run(request(i));
    await program.readBest(SLOTS.logits);
    steps.push(performance.now() - start);
  }
  const after = program.counters;
  // Without waiting for any token: what the device does when the host does not hold it up.
  start = performance.now();
  let encoding = 0;
  for (let i = 0; i < tokens; i++) {
    const begun = performance.now();
    await program.write(SLOTS.tokens, ids(1, i));
    await program.run(request(i));
    encoding += performance.now() - begun;
  }
  await program.finish();
  const chained = (performance.now() - start) / tokens;
  let device = null;
  let kernels = [];
  if (backend.device.hasTimestamps) {
    const times = [];
    for (let i = 0; i < 5; i++) times.push((await program.profile(request(i), 'run'))[0].nanoseconds / 1e6);
    device = Math.min(...times);
    kernels = sumByLabel(await program.profile(request(5), 'dispatch'));
  }
  console.log(
    `${name}: decode ${median(steps.slice(2)).toFixed(3)} ms, chained ${chained.toFixed(3)}, device ${device?.toFixed(3) ?? '-'}; prefill follows`,
  );
  const prefill = [];
  for (let round = 0; round < 2; round++) {
    start = performance.now();
    await program.write(SLOTS.tokens, ids(prompt, round));
    await program.run({ rows: prompt, position: 0, logits: 'last' });
    await program.readBest(SLOTS.logits);
    prefill.push(performance.now() - start);
  }
  const bytes = after.weightBytesOfRun;
  const result = {
    name,
    ...extra,
    variant: backend.instructionSet,
    load,
    prefill: Math.min(...prefill),
    prompt,
    decode: median(steps.slice(2)),
    decodeBest: Math.min(...steps),
    chained,
    encoding: encoding / tokens,
    device,
    bytes,
    dispatches: (after.dispatches - before.dispatches) / tokens,
    passes: (after.passes - before.passes) / tokens,
    submits: (after.submits - before.submits) / tokens,
    readbackBytes: (after.readbackBytes - before.readbackBytes) / tokens,
    buffers: after.buffers,
    kernels,
  };
  record('model', result);
  await program.dispose();
  return result;
}

function sumByLabel(times) {
  const sums = new Map();
  for (const { label, nanoseconds } of times) {
    const sum = sums.get(label) ?? { label, count: 0, microseconds: 0 };
    sum.count += 1;
    sum.microseconds += nanoseconds / 1000;
    sums.set(label, sum);
  }
  return [...sums.values()].sort((a, b) => b.microseconds - a.microseconds);
}

export function describeModel(result, read) {
  const floor = result.bytes / read / 1e6;
  const ms = (value) => (value === null ? '-' : value.toFixed(3));
  return (
    `${result.name.padEnd(8)} ${(result.label ?? '').padEnd(10)} decode ${ms(result.decode)} ms (chained ${ms(result.chained)}, ` +
    `device ${ms(result.device)}, host ${ms(result.encoding)}) floor ${ms(floor)} = ${((100 * floor) / result.chained).toFixed(0)}% chained, ` +
    `${result.device ? ((100 * floor) / result.device).toFixed(0) : '-'}% device; prefill ${result.prompt}: ${result.prefill.toFixed(1)} ms; ` +
    `${result.dispatches} dispatches, ${result.passes} passes, ${result.submits} submits; load ${(result.load / 1000).toFixed(1)} s`
  );
}

export async function runModels(record, { names, quick = false, features = [], label = '', tuning } = {}) {
  const backend = await open({ features, tuning });
  try {
    const { read, copy } = await measureBandwidth(backend.device, quick ? 1 << 20 : 1 << 30);
    record('bandwidth', { read, copy });
    console.log(`copy ${copy.toFixed(0)} GB/s, read ${read.toFixed(0)} GB/s`);
    const sizes = quick ? { prompt: 16, tokens: 4 } : { prompt: PROMPT, tokens: 48 };
    for (const name of names)
      try {
        const result = await measureModel(backend, name, sizes, record, { label, read });
        console.log(describeModel(result, read));
        for (const { label: kernel, count, microseconds } of result.kernels.slice(0, 14))
          console.log(
            `    ${kernel.padEnd(34)} ${String(count).padStart(4)} x ${(microseconds / count).toFixed(2).padStart(8)} us = ${microseconds.toFixed(0)} us`,
          );
      } catch (error) {
        console.log(`${name}: ${error.message}`);
        record('model', { name, label, error: error.message });
      }
  } finally {
    await backend.dispose();
  }
}
