// Decode time a token of the native backend against context length, for each precision of the KV cache and number of threads:
// all subjects in one process, in turns, medians. Writes a record, a page and a plot.
//
//   node bench/context.mjs [--model model.duo] [--subjects 1:f16,2:int8] [--contexts 16,128,2048] [--rounds 5] [--steps 8]
//     [--name name] [--record]
//
// A subject is threads:cache. Each has a model of its own and the same cached tokens. Needs `npm run build`.
import { basename } from 'node:path';
import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';
import { readArguments } from './arguments.mjs';
import { drawContextPlot, formatContextPage } from './context-page.mjs';
import { describeRun, summarize } from './record.mjs';
import { writePage } from './write-page.mjs';

const options = readArguments(
  {
    model: { type: 'string', default: '.cache/bench/w11.duo' },
    subjects: { type: 'string', default: '1:f16,1:int8,1:int4,2:f16,2:int8,2:int4' },
    contexts: { type: 'string', default: '16,32,64,128,256,512,1024,2048,4096' },
    rounds: { type: 'string', default: '5' },
    steps: { type: 'string', default: '8' },
    name: { type: 'string', default: `context-${new Date().toISOString().slice(0, 10)}` },
    record: { type: 'boolean', default: false },
  },
  import.meta.url,
);
const contexts = options.contexts.split(',').map(Number);
const [rounds, steps] = [Number(options.rounds), Number(options.steps)];
const longest = Math.max(...contexts);
const describe = describeRun();

const subjects = [];
for (const label of options.subjects.split(',')) {
  const [threads, kv] = label.split(':');
  const backend = await createNativeBackend({ threads: Number(threads), kv });
  const source = await createFileSource(options.model);
  const model = await createModel(await openContainer(source), backend, {
    contextLength: longest + steps,
    tokenizer: false,
  });
  subjects.push({ threads: Number(threads), kv, source, model, backend, decode: new Map() });
}
const vocabulary = subjects[0].model.architecture.vocabularySize;
const tokens = Array.from({ length: longest + steps }, (_, i) => (i * 7919) % vocabulary);

async function measureDecode({ model, decode }, context) {
  const times = decode.get(context) ?? [];
  decode.set(context, times);
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    await model.forward([tokens[context + i]], { position: context + i });
    // The first token after another subject's turn finds that one's data in the processor's caches.
    if (i > 0) times.push(performance.now() - start);
  }
}

for (const { model } of subjects) await model.forward(tokens.slice(0, longest), { logits: 'none' });
for (let round = 0; round < rounds; round++)
  for (const context of contexts) for (const subject of subjects) await measureDecode(subject, context);

const record = {
  ...describe('context'),
  model: basename(options.model),
  options: { contexts, rounds, steps },
  runs: subjects.map(({ threads, kv, decode }) => ({
    threads,
    kv,
    milliseconds: [...decode].map(([context, times]) => ({ context, ...summarize(times) })),
  })),
};
writePage(record, {
  name: options.name,
  isKept: options.record,
  page: 'context.md',
  format: formatContextPage,
  drawPlot: drawContextPlot,
});
for (const { model, backend, source } of subjects) {
  await model.dispose();
  await backend.dispose();
  await source.close();
}
