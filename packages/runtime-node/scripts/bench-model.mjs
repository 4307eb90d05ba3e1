// Decode and prefill of a model on native and wasm, interleaved round by round: median and best tokens a second, and the
// ratio of the medians to wasm's. Needs `npm run build`.
//
//   node scripts/bench-model.mjs model.duo [rounds] [native:1,native:2,wasm:1]
//
// A backend is name:threads[:instruction set], or wasm:threads[:plain] for SIMD128 without relaxed SIMD.
import { createModel, createWasmBackend } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';

const [path, rounds = '5', list = 'native:1,native:2,wasm:1'] = process.argv.slice(2);
const PROMPT = 128;
const TOKENS = 32;

const subjects = [];
for (const label of list.split(',')) {
  const [name, count, variant] = label.split(':');
  const threads = Number(count);
  const backend =
    name === 'native'
      ? await createNativeBackend({ threads, ...(variant ? { isa: variant } : {}) })
      : await createWasmBackend({ threads, relaxedSimd: variant !== 'plain' });
  const source = await openContainer(await createFileSource(path));
  const start = performance.now();
  const model = await createModel(source, backend, { contextLength: PROMPT + TOKENS });
  subjects.push({ label, backend, source, model, load: performance.now() - start, prefill: [], decode: [] });
}
const vocabulary = subjects[0].model.architecture.vocabularySize;
const tokens = Array.from({ length: PROMPT }, (_, i) => (i * 7919) % vocabulary);
for (let round = 0; round <= Number(rounds); round++)
  for (const { model, prefill, decode } of subjects) {
    let start = performance.now();
    await model.forward(tokens);
    const first = performance.now() - start;
    const steps = [];
    for (let i = 0; i < TOKENS; i++) {
      start = performance.now();
      await model.forward([tokens[i]], { position: PROMPT + i });
      steps.push(performance.now() - start);
    }
    if (round === 0) continue;
    prefill.push(first / PROMPT);
    decode.push(...steps);
  }

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const rate = (milliseconds) => (1000 / milliseconds).toFixed(0).padStart(6);
const base = subjects.find(({ label }) => label.startsWith('wasm')) ?? subjects[0];
console.log(
  `tokens a second (ratio of medians to ${base.label}), ${rounds} rounds of ${PROMPT} + ${TOKENS} tokens`,
);
for (const { label, load, prefill, decode } of subjects) {
  const show = (kind, values, of) =>
    `${kind} median${rate(median(values))} best${rate(Math.min(...values))} (${(median(of) / median(values)).toFixed(2)}x)`;
  console.log(
    `${label.padEnd(16)} ${show('decode', decode, base.decode)}   ${show('prefill', prefill, base.prefill)}   load ${load.toFixed(0)} ms`,
  );
}
for (const { model, backend, source } of subjects) {
  await model.dispose();
  await backend.dispose();
  await source.close();
}
