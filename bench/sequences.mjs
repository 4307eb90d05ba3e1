// Tokens a second of the native backend with 1, 2, 4 and 8 texts at the same time, through `generate`; and how long texts wait for
// their next token while a long prompt comes in. All numbers of texts in one process, in turns. Writes a record and a page.
//
//   node bench/sequences.mjs [--model model.duo] [--threads 1,2] [--counts 1,2,4,8] [--rounds 5] [--tokens 48] [--prompt 32]
//     [--long 256] [--name name] [--record]
//
// Needs `npm run build`.
import { basename } from 'node:path';
import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createNativeBackend } from '@duobit/runtime-node';
import { readArguments } from './arguments.mjs';
import { describeRun, summarize, watchProcessor } from './record.mjs';
import { formatSequencesPage } from './sequences-page.mjs';
import { writePage } from './write-page.mjs';

const options = readArguments(
  {
    model: { type: 'string', default: '.cache/bench/w11.duo' },
    threads: { type: 'string', default: '1,2' },
    counts: { type: 'string', default: '1,2,4,8' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '48' },
    prompt: { type: 'string', default: '32' },
    long: { type: 'string', default: '256' },
    name: { type: 'string', default: `sequences-${new Date().toISOString().slice(0, 10)}` },
    record: { type: 'boolean', default: false },
  },
  import.meta.url,
);
const counts = options.counts.split(',').map(Number);
const [rounds, tokens, prompt, long] = ['rounds', 'tokens', 'prompt', 'long'].map((name) =>
  Number(options[name]),
);
const most = Math.max(...counts);
const describe = describeRun();

/** Every text begins with another token, so that none has anything of another's. */
const promptOf = (text, length, vocabulary) => ({
  tokens: Array.from({ length }, (_, i) => ((text + 1) * 1009 + i * 7919) % vocabulary),
});

/** Milliseconds at which each token came. */
async function write(model, given, maxTokens, signal) {
  const times = [];
  for await (const { kind } of model.generate(given, { maxTokens, ignoreEos: true, signal }))
    if (kind === 'token') times.push(performance.now());
  return times;
}

/** Tokens a second of all texts together, while all of them are being written. */
async function measureTotal(model, count) {
  const { vocabularySize } = model.architecture;
  const texts = await Promise.all(
    Array.from({ length: count }, (_, i) => write(model, promptOf(i, prompt, vocabularySize), tokens)),
  );
  const from = Math.max(...texts.map((times) => times[0]));
  const to = Math.min(...texts.map((times) => times.at(-1)));
  const written = texts.flat().filter((time) => time > from && time <= to).length;
  return (1000 * written) / (to - from);
}

/** Half as many texts as there can be are being written when a long prompt comes: the longest time that one of them waits meanwhile. */
async function measureJoining(model) {
  const { vocabularySize } = model.architecture;
  const stop = new AbortController();
  const count = Math.max(1, most >> 1);
  const texts = Array.from({ length: count }, (_, i) =>
    write(model, promptOf(i, prompt, vocabularySize), 10_000, stop.signal),
  );
  await write(model, promptOf(most, prompt, vocabularySize), 8);
  const begun = performance.now();
  const [first] = await write(model, promptOf(most + 1, long, vocabularySize), 1);
  stop.abort();
  const pauses = (await Promise.all(texts)).flatMap((times) =>
    times.flatMap((time, i) => (i > 0 && time > begun && times[i - 1] < first ? [time - times[i - 1]] : [])),
  );
  const alone = performance.now();
  const [last] = await write(model, promptOf(most + 2, long, vocabularySize), 1);
  return { pause: Math.max(...pauses), firstToken: first - begun, firstTokenAlone: last - alone };
}

const watch = watchProcessor();
const runs = [];
for (const threads of options.threads.split(',').map(Number)) {
  const backend = await createNativeBackend({ threads });
  const source = await createFileSource(options.model);
  const model = await createModel(await openContainer(source), backend, {
    contextLength: 2 * (long + prompt + tokens),
    tokenizer: false,
    sequences: most,
    reusePrefix: false,
  });
  const totals = new Map(counts.map((count) => [count, []]));
  const joined = [];
  for (let round = 0; round <= rounds; round++) {
    for (const count of counts) totals.get(count).push(await measureTotal(model, count));
    joined.push(await measureJoining(model));
  }
  // The first round warms up.
  const pick = (values) => values.slice(1);
  const one = pick(totals.get(counts[0]));
  runs.push({
    threads,
    totals: counts.map((count) => ({
      count,
      tokensPerSecond: summarize(pick(totals.get(count))),
      ratio: summarize(pick(totals.get(count)).map((total, i) => total / one[i])),
    })),
    joining: {
      texts: Math.max(1, most >> 1),
      ...Object.fromEntries(
        ['pause', 'firstToken', 'firstTokenAlone'].map((name) => [
          name,
          summarize(pick(joined).map((entry) => entry[name])),
        ]),
      ),
    },
  });
  await model.dispose();
  await backend.dispose();
  await source.close();
}
const { busySeconds, wallSeconds } = watch.stop();
const { user, system } = process.cpuUsage();
writePage(
  {
    ...describe('sequences'),
    model: basename(options.model),
    options: { counts, rounds, tokens, prompt, long },
    coresElsewhere: Math.max(0, busySeconds - (user + system) / 1e6) / wallSeconds,
    runs,
  },
  { name: options.name, isKept: options.record, page: 'sequences.md', format: formatSequencesPage },
);
