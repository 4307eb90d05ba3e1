// Decode time a token against context length, and prefill of long prompts, for each precision of the KV cache and number of
// threads; in turns, medians. Prints a table; `--record` writes it as JSON. Needs `npm run build`.
//
//   node scripts/bench-context.mjs model.duo [--subjects native:1:f16,native:2:int8] [--contexts 16,128,2048]
//     [--prompts 512] [--rounds 5] [--steps 8] [--record record.json]
//
// A subject is name:threads:cache. Each has a model of its own and the same cached tokens.
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    subjects: {
      type: 'string',
      default:
        'native:1:f32,native:1:f16,native:1:int8,native:1:int4,native:2:f32,native:2:f16,native:2:int8,native:2:int4',
    },
    contexts: { type: 'string', default: '16,32,64,128,256,512,1024,2048,4096' },
    prompts: { type: 'string', default: '' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '8' },
    record: { type: 'string' },
  },
});
const numbers = (text) => text.split(',').filter(Boolean).map(Number);
const [path] = positionals;
const [contexts, prompts] = [numbers(options.contexts), numbers(options.prompts)];
const [rounds, steps] = [Number(options.rounds), Number(options.steps)];
const longest = Math.max(...contexts, ...prompts);

const subjects = [];
for (const label of options.subjects.split(',')) {
  const [, threads, kv] = label.split(':');
  const backend = await createNativeBackend({ threads: Number(threads), kv });
  const source = await openContainer(await createFileSource(path));
  const model = await createModel(source, backend, { contextLength: longest + steps });
  subjects.push({ threads: Number(threads), kv, model, decode: new Map(), prefill: new Map() });
}
const vocabulary = subjects[0].model.architecture.vocabularySize;
const tokens = Array.from({ length: longest + steps }, (_, i) => (i * 7919) % vocabulary);
const keep = (map, key, value) => map.set(key, [...(map.get(key) ?? []), value]);

async function measureDecode({ model, decode }, context) {
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    await model.forward([tokens[context + i]], { position: context + i });
    // The first token after another subject's turn finds that one's data in the processor's caches.
    if (i > 0) keep(decode, context, performance.now() - start);
  }
}

for (const { model } of subjects) await model.forward(tokens.slice(0, longest), { logits: 'none' });
const before = loadavg()[0];
for (let round = 0; round < rounds; round++) {
  for (const context of contexts) for (const subject of subjects) await measureDecode(subject, context);
  for (const prompt of prompts)
    for (const { model, prefill } of subjects) {
      const start = performance.now();
      await model.forward(tokens.slice(0, prompt), { logits: 'last' });
      keep(prefill, prompt, performance.now() - start);
    }
}

const summarize = (times) => {
  const sorted = [...times].sort((a, b) => a - b);
  return {
    median: sorted[sorted.length >> 1],
    least: sorted[0],
    greatest: sorted.at(-1),
    samples: sorted.length,
  };
};
const runs = subjects.map(({ threads, kv, decode, prefill }) => ({
  threads,
  kv,
  decode: [...decode].map(([context, times]) => ({ context, ...summarize(times) })),
  prefill: [...prefill].map(([prompt, times]) => ({ prompt, ...summarize(times) })),
}));
console.log('milliseconds a decoded token, median');
console.log(['threads', 'cache', ...contexts].map((text) => String(text).padStart(8)).join(''));
for (const { threads, kv, decode } of runs)
  console.log(
    [threads, kv, ...decode.map(({ median }) => median.toFixed(3))]
      .map((text) => String(text).padStart(8))
      .join(''),
  );
if (prompts.length > 0) console.log('prefill, tokens a second, median');
for (const { threads, kv, prefill } of prompts.length > 0 ? runs : [])
  console.log(
    [threads, kv, ...prefill.map(({ prompt, median }) => ((1000 * prompt) / median).toFixed(0))]
      .map((text) => String(text).padStart(8))
      .join(''),
  );
if (options.record) {
  const record = {
    model: basename(path),
    machine: { cpu: cpus()[0].model, cores: cpus().length, node: process.version },
    load_average: { before, after: loadavg()[0] },
    unit: 'milliseconds',
    rounds,
    steps,
    runs,
  };
  writeFileSync(options.record, `${JSON.stringify(record, null, 2)}\n`);
}
for (const { model } of subjects) await model.dispose();
