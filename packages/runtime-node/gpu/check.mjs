// What run.sh runs on a GPU machine: one part a process, each within its own time; records go to $OUT.
//
//   node check.mjs PART [argument …]
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createModel, createReferenceBackend, exponential, SLOTS } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { conformanceCases, createRandom, makeTinyModel } from '@duobit/testkit';
import { createCudaBackend, cudaSupport } from '../src/cuda/backend.ts';
import { climbLadder, measureBandwidth, measureCopy, profileProgram } from '../src/cuda/bench.ts';
import { Device } from '../src/cuda/device.ts';
import { MANY_CASES, manyEqualFew } from '../src/cuda/testing/many-rows.ts';
import { callOff, killOne, loadAndDispose, startCold, writeFirstToken, writeForever } from './endurance.mjs';
import { makeRandomModel, SHAPES } from './random-model.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const OUT = process.env.OUT || join(HERE, 'out');
mkdirSync(OUT, { recursive: true });

const [part, ...rest] = process.argv.slice(2);
const started = performance.now();
const seconds = () => ((performance.now() - started) / 1000).toFixed(1);
/** Part of the time that this part has, so that it ends by itself and its record is written. */
const deadline = started + 1000 * Number(process.env.PART_SECONDS || 60) * 0.9;

function record(name, facts) {
  writeFileSync(join(OUT, `${name}.json`), `${JSON.stringify(facts, null, 1)}\n`);
}

function note(line) {
  console.log(`[${part} ${seconds()} s] ${line}`);
}

/** Tokens a second, by what was looked for in the logits. */
function tellSpeeds(decode = {}) {
  return Object.entries(decode)
    .map(([look, speed]) => `by ${look} ${speed.toFixed(0)}`)
    .join(', ');
}

/** LADDER=64x256,… for a try without a GPU. */
const LADDER = (process.env.LADDER ?? '4096x4096,4096x14336,14336x4096,28672x8192,8192x28672')
  .split(',')
  .map((shape) => shape.split('x').map(Number));
/** Names a setting that is tried, among the records. */
const LABEL = process.env.LABEL ? ` ${process.env.LABEL}` : '';
/** Texts at the same time. */
const SEQUENCES = 8;
/** Bytes of the copies that bandwidth is measured with, and of all weights of a rung. */
const WORKING_SET = process.env.LADDER ? 1 << 16 : undefined;

const PARTS = {
  info() {
    const support = cudaSupport();
    note(JSON.stringify(support));
    record('info', { ...support, node: process.version, date: new Date().toISOString() });
    if (!support.available) process.exitCode = 1;
  },

  /** The suite with one cache precision; a name limits it to cases that have it. */
  async conformance(kv = 'f32', only = '') {
    const backend = await createCudaBackend({ kv });
    const cases = conformanceCases(kv, true).filter(({ name }) => name.includes(only));
    const failures = [];
    let done = 0;
    for (const { name, run } of cases) {
      if (performance.now() > deadline) break;
      try {
        await run(backend);
      } catch (error) {
        const isLost = error.code === 'BACKEND_DEVICE_LOST';
        failures.push({ name, message: String(error.message).slice(0, 2000), isLost });
        note(`FAIL ${name}: ${String(error.stack).slice(0, 1500)}`);
      }
      done++;
      // After a fault every call fails.
      if (failures.at(-1)?.isLost) break;
    }
    record(`conformance-${kv}${LABEL}`, { kv, cases: cases.length, done, failures });
    note(
      `conformance ${kv}: ${done - failures.length} of ${cases.length} cases pass, ${failures.length} fail, ${cases.length - done} not run`,
    );
    if (failures.length > 0 || done < cases.length) process.exitCode = 1;
    await backend.dispose();
  },

  /** 64 greedy tokens of small models: the same as the reference's, with an f32 cache; and on the device by itself. */
  async greedy() {
    const models = [
      ['tinystories', await openContainer(await createFileSource(join(HERE, 'tinystories.duo')))],
    ];
    for (const [seed, options] of [
      [1, { linear: 'w11', embedding: 'int8' }],
      [2, { linear: 'w11', groupSize: 128, rotated: () => true }],
      [3, { linear: 'w11-outlier', groupSize: 32, offsets: false, architecture: { tiedHead: false } }],
      [4, { linear: 'int4', embedding: 'f16' }],
    ])
      models.push([
        `tiny ${seed}`,
        makeTinyModel({ seed, ...options, architecture: { contextLength: 128, ...options.architecture } }),
      ]);
    const results = [];
    for (const [name, source] of models)
      for (const [label, kv] of [
        ['f32', 'f32'],
        ['f16', 'f16'],
      ]) {
        const cuda = await createCudaBackend({ kv });
        const reference = createReferenceBackend();
        const random = createRandom(7 + results.length);
        const prompt = Array.from({ length: 9 }, () =>
          Math.floor(random() * source.architecture.vocabularySize),
        );
        const options = { contextLength: 128, maxRows: 16, tokenizer: false };
        const texts = [];
        for (const backend of [reference, cuda]) {
          const model = await createModel(source, backend, options);
          const tokens = [];
          for await (const event of model.generate(
            { tokens: prompt },
            { maxTokens: 64, temperature: 0, ignoreEos: true },
          ))
            if (event.kind === 'token') tokens.push(event.token);
          texts.push(tokens);
          await model.dispose();
        }
        const parts = await prepareModel(source, cuda, options);
        await parts.program.write(SLOTS.tokens, Int32Array.from(prompt));
        await parts.program.run({ rows: prompt.length, position: 0, logits: 'last' });
        const logits = await parts.program.read(SLOTS.logits);
        const first = logits.indexOf(Math.max(...logits));
        const looped = [first, ...(await parts.program.decodeGreedy(first, prompt.length, 63))];
        await parts.program.dispose();
        await cuda.dispose();
        const differ = (a, b) => a.findIndex((token, i) => token !== b[i]);
        const result = {
          name,
          kv: label,
          firstDifference: differ(texts[0], texts[1]),
          loopDifference: differ(texts[1], looped),
        };
        results.push(result);
        note(`${name}, cache of ${label}: ${JSON.stringify(result)}`);
        if (result.firstDifference >= 0)
          note(`  reference ${texts[0].join(' ')}\n  cuda      ${texts[1].join(' ')}`);
        if (result.loopDifference >= 0) note(`  loop      ${looped.join(' ')}`);
      }
    record(`greedy${LABEL}`, results);
    // A cache of f16 may tip a token; one of f32 must not.
    const bad = results.filter((r) => r.loopDifference >= 0 || (r.kv === 'f32' && r.firstDifference >= 0));
    note(`greedy: ${results.length - bad.length} of ${results.length} equal`);
    if (bad.length > 0) process.exitCode = 1;
  },

  /** Few launches of the kernels that models run, for compute-sanitizer: one row and many, several sequences, searches, every cache. */
  async short() {
    const models = [
      { linear: 'w11', embedding: 'int8', rotated: () => true },
      { linear: 'w11-outlier', groupSize: 128, offsets: false },
      { linear: 'int4', embedding: 'f16', groupSize: 32 },
    ];
    for (const [kv, options] of [
      ['f16', models[0]],
      ['int4', models[0]],
      ['int8', models[1]],
      ['f32', models[2]],
    ]) {
      if (performance.now() > deadline) throw new Error('not all was run in the time there was');
      const backend = await createCudaBackend({ kv });
      const source = makeTinyModel({ seed: 5, ...options });
      const limits = { contextLength: 512, maxRows: 40, sequences: 3 };
      const { program } = await prepareModel(source, backend, limits);
      await program.write(
        SLOTS.tokens,
        Int32Array.from({ length: 40 }, (_, i) => (7 * i) % 260),
      );
      const runs = [
        { rows: 40, position: 0, logits: 'all' },
        // As far on as makes attention go in parts; what is between is zeros.
        { rows: 1, position: 300, logits: 'last' },
        {
          rows: 1,
          position: 301,
          logits: 'last',
          others: [
            { sequence: 2, position: 0, rows: 9, logits: 'none' },
            { sequence: 1, position: 0, rows: 3, logits: 'all' },
          ],
        },
      ];
      let allFinite = true;
      for (const run of runs) {
        await program.run(run);
        allFinite &&= (await program.read(SLOTS.logits)).every(Number.isFinite);
      }
      await program.readBest(SLOTS.logits, 1);
      await program.readTop(SLOTS.logits, 40, 3);
      await program.readSums(SLOTS.logits, 1, 2);
      await program.readPart(SLOTS.logits, 7, 9, 1);
      await program.decodeGreedy(3, 302, 2);
      note(`cache of ${kv}, ${JSON.stringify(options)}: ${allFinite ? 'finite' : 'NOT FINITE'}`);
      if (!allFinite) process.exitCode = 1;
      await program.dispose();
      await backend.dispose();
    }
  },

  /** Products of many rows, of which the suite has none: equal to those of few. */
  many() {
    const device = new Device();
    const differing = MANY_CASES.filter((each) => !manyEqualFew(device, each));
    record(`many${LABEL}`, { cases: MANY_CASES.length, differing });
    note(`${MANY_CASES.length - differing.length} of ${MANY_CASES.length} products of many rows are right`);
    for (const each of differing) note(`DIFFERS ${JSON.stringify(each)}`);
    if (differing.length > 0) process.exitCode = 1;
    device.dispose();
  },

  ladder() {
    const device = new Device();
    const floor = measureBandwidth(device, WORKING_SET);
    note(
      `copy ${(floor.copyBytesPerSecond / 1e9).toFixed(0)} GB/s, read ${(floor.readBytesPerSecond / 1e9).toFixed(0)} GB/s, empty launch ${(floor.launchSeconds * 1e6).toFixed(2)} us`,
    );
    const shapes = [];
    for (const [rows, columns] of LADDER) {
      if (performance.now() > deadline) break;
      const rungs = climbLadder(device, rows, columns, [1, 2, 4, 8], ['mma', 'one'], WORKING_SET);
      const prefill = process.env.ONE_ROW
        ? []
        : climbLadder(device, rows, columns, [64, 512], ['mma'], WORKING_SET);
      const copySeconds = measureCopy(device, rungs[0].bytes, WORKING_SET);
      note(`${rows}x${columns} a copy of as many bytes: ${(copySeconds * 1e6).toFixed(2)} us`);
      shapes.push({ rows, columns, copySeconds, rungs: [...rungs, ...prefill] });
      for (const rung of [...rungs, ...prefill])
        note(
          `${rows}x${columns} ${rung.kernel} tokens ${rung.tokens}: ${(rung.seconds * 1e6).toFixed(2)} us, ${(rung.bytesPerSecond / 1e9).toFixed(0)} GB/s = ${((100 * rung.bytesPerSecond) / floor.copyBytesPerSecond).toFixed(0)} % of copy, ${((2 * rows * columns * rung.tokens) / rung.seconds / 1e12).toFixed(1)} TOPS${rung.difference === null ? '' : `, difference ${rung.difference.toExponential(1)}`}`,
        );
      record(`ladder${LABEL}`, { label: LABEL, device: device.facts, floor, shapes });
    }
    device.dispose();
  },

  /** Decoding and prefill of a shape, or of a file. */
  async speed(shape) {
    const backend = await createCudaBackend({ kv: 'f16' });
    const isShape = shape in SHAPES;
    const source = isShape ? makeRandomModel(shape) : await openContainer(await createFileSource(shape));
    const loading = performance.now();
    const { program } = await prepareModel(source, backend, {
      contextLength: 1024,
      maxRows: 512,
      sequences: SEQUENCES,
    });
    const loadSeconds = (performance.now() - loading) / 1000;
    const { device } = program.parts;
    const facts = {
      shape,
      device: device.facts,
      image: device.image,
      loadSeconds,
      weightBytes: program.weightBytes,
    };
    note(`loaded ${(program.weightBytes / 2 ** 20).toFixed(0)} MiB in ${loadSeconds.toFixed(2)} s`);
    const vocabulary = source.architecture.vocabularySize;
    const prompt = Int32Array.from({ length: 512 }, (_, i) => (i * 7919) % vocabulary);
    await program.write(SLOTS.tokens, prompt);
    const prefill = [];
    for (let i = 0; i < 4; i++) {
      const begun = performance.now();
      await program.run({ rows: 512, position: 0, logits: 'last' });
      const logits = await program.read(SLOTS.logits);
      prefill.push((performance.now() - begun) / 1000);
      if (i === 0 && !logits.every(Number.isFinite)) note('LOGITS NOT FINITE');
    }
    facts.prefill512 = 512 / Math.min(...prefill.slice(1));
    const linear = source.tensorNames
      .map((name) => source.tensorInfo(name))
      .filter(({ encoding }) => encoding.kind === 'w11')
      .reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
    facts.prefillTops = (2 * linear * facts.prefill512) / 1e12;
    note(
      `prefill 512: ${facts.prefill512.toFixed(0)} tokens/s, ${facts.prefillTops.toFixed(1)} TOPS of W(1+1) products`,
    );
    record(`speed-${isShape ? shape : 'file'}${LABEL}`, facts);

    // As texts are written: the best token is looked for, some of the best, or sums and the part of them where a token is drawn; and with all
    // logits, of which the best is found here.
    const looks = {
      best: async () => (await program.readBest(SLOTS.logits)).index,
      top40: async () => (await program.readTop(SLOTS.logits, 40)).indices[0],
      sums: async () => {
        const { highest, partLength, sums } = await program.readSums(SLOTS.logits, 1);
        const first = partLength * (sums.length >> 1);
        const part = await program.readPart(SLOTS.logits, first, Math.min(partLength, vocabulary - first));
        const reached = part.reduce((sum, logit) => sum + exponential(logit - highest), 0);
        return first + (reached > 0 ? part.indexOf(Math.max(...part)) : 0);
      },
      logits: async () => {
        const logits = await program.read(SLOTS.logits);
        let token = 0;
        for (let n = 1; n < logits.length; n++) if (logits[n] > logits[token]) token = n;
        return token;
      },
    };
    facts.decode = {};
    let begun = 0;
    for (const [name, look] of Object.entries(looks)) {
      let token = 1;
      const [steps, before] = [120, 4];
      for (let i = 0; i < before + steps; i++) {
        if (i === before) begun = performance.now();
        await program.write(SLOTS.tokens, Int32Array.of(token));
        await program.run({ rows: 1, position: 16 + i, logits: 'last' });
        token = await look();
      }
      facts.decode[name] = steps / ((performance.now() - begun) / 1000);
    }
    await program.decodeGreedy(1, 16, 40);
    begun = performance.now();
    await program.decodeGreedy(1, 16, 240);
    facts.decodeDevice = 240 / ((performance.now() - begun) / 1000);
    facts.decodeBytesPerSecond =
      facts.decodeDevice *
      (program.weightBytes -
        (source.architecture.tiedHead ? 0 : vocabulary * source.architecture.hiddenSize));
    note(
      `decode: ${facts.decodeDevice.toFixed(0)} tokens/s on the device (${(facts.decodeBytesPerSecond / 1e9).toFixed(0)} GB/s), ${tellSpeeds(facts.decode)}`,
    );
    record(`speed-${isShape ? shape : 'file'}${LABEL}`, facts);

    if (performance.now() < deadline) {
      await program.write(
        SLOTS.tokens,
        Int32Array.from({ length: SEQUENCES }, (_, i) => i + 1),
      );
      const times = [];
      for (let i = 0; i < 12; i++) {
        const [first, ...others] = Array.from({ length: SEQUENCES }, (_, sequence) => ({
          sequence,
          position: 64 + i,
          rows: 1,
          logits: 'last',
        }));
        begun = performance.now();
        await program.run({ ...first, others });
        for (let row = 0; row < SEQUENCES; row++) await program.readBest(SLOTS.logits, row);
        times.push((performance.now() - begun) / 1000);
      }
      facts.sequences = SEQUENCES / Math.min(...times);
      note(`${SEQUENCES} sequences at once: ${facts.sequences.toFixed(0)} tokens/s in sum`);
    }
    for (const [rows, positions] of [
      [1, 256],
      [512, 512],
    ])
      if (performance.now() < deadline) {
        const times = profileProgram(program, rows, positions);
        facts[`profile${rows}`] = times;
        for (const { kernel, launches, seconds: each } of times.slice(0, 9))
          note(
            `  ${rows} rows: ${kernel} x ${launches}: ${(each * 1e6).toFixed(1)} us, ${((each * 1e6) / launches).toFixed(2)} each`,
          );
      }
    record(`speed-${isShape ? shape : 'file'}${LABEL}`, facts);
    const before = device.memory().free;
    await program.dispose();
    facts.freed = device.memory().free - before;
    record(`speed-${isShape ? shape : 'file'}${LABEL}`, facts);
    await backend.dispose();
  },

  /** Loads, texts that are called off, a process that is killed. */
  async endurance(loads = '100', aborts = '1000') {
    const facts = { memory: await loadAndDispose(Number(loads), deadline) };
    note(`${facts.memory.loads} loads: ${facts.memory.lost} bytes not given back`);
    facts.killed = await killOne(process.argv[1]);
    note(`killed while it wrote: ${facts.killed.lost} bytes not given back`);
    facts.aborts = await callOff(Number(aborts), deadline);
    note(`${facts.aborts.aborts} texts called off: ${facts.aborts.differing} texts differ after that`);
    record('endurance', facts);
    if (facts.memory.lost > 0 || facts.killed.lost > 0 || facts.aborts.differing > 0) process.exitCode = 1;
  },

  /** From a container on the disk to the first token. */
  async cold(shape = '8B') {
    const facts = await startCold(process.argv[1], shape, join(OUT, `cold-${shape}.duo`));
    record('cold', facts);
    const steps = ['begun', 'opened', 'backend', 'loaded'].map(
      (step) => `${step} ${facts[`${step}After`].toFixed(2)}`,
    );
    const rate = (seconds) => `${(facts.bytes / seconds / 1e9).toFixed(2)} GB/s`;
    note(
      `${shape}: first token after ${facts.firstTokenAfter.toFixed(2)} s (${steps.join(', ')}), ${rate(facts.firstTokenAfter)}; written at ${rate(facts.writeSeconds)}, then read at ${rate(facts.readSeconds)}`,
    );
  },

  forever: writeForever,

  async 'first-token'(path) {
    console.log(JSON.stringify(await writeFirstToken(path)));
  },

  table() {
    const read = (name) => JSON.parse(readFileSync(join(OUT, name), 'utf8'));
    const names = readdirSync(OUT).filter((name) => name.endsWith('.json'));
    console.log('=== results');
    for (const name of names.sort()) {
      const facts = read(name);
      if (name === 'info.json')
        console.log(
          `device   ${facts.facts?.name ?? facts.reason} driver ${facts.facts?.driverVersion} ${facts.image ?? ''}`,
        );
      if (name.startsWith('conformance'))
        console.log(
          `suite    ${name.slice(12, -5).padEnd(8)} ${facts.done - facts.failures.length}/${facts.cases} pass ${facts.failures
            .map((f) => f.name)
            .join('; ')
            .slice(0, 300)}`,
        );
      if (name === 'endurance.json')
        console.log(
          `endured  ${facts.memory.loads} loads, ${facts.memory.lost} bytes lost; killed, ${facts.killed.lost} lost; ${facts.aborts.aborts} aborts, ${facts.aborts.differing} texts differ`,
        );
      if (name === 'cold.json')
        console.log(
          `cold     ${facts.shape}: first token after ${facts.firstTokenAfter.toFixed(2)} s (${(facts.bytes / 1e9).toFixed(2)} GB)`,
        );
      if (name.startsWith('greedy'))
        for (const r of facts)
          console.log(
            `greedy   ${r.name} ${r.kv}${name.slice(6, -5)}: ${r.firstDifference < 0 ? 'equal' : `differs at ${r.firstDifference}`}, loop ${r.loopDifference < 0 ? 'equal' : `differs at ${r.loopDifference}`}`,
          );
      if (name.startsWith('ladder')) {
        const percent = (b) => `${((100 * b) / facts.floor.copyBytesPerSecond).toFixed(0)}%`;
        console.log(
          `floor    copy ${(facts.floor.copyBytesPerSecond / 1e9).toFixed(0)} GB/s, read ${(facts.floor.readBytesPerSecond / 1e9).toFixed(0)} GB/s, launch ${(facts.floor.launchSeconds * 1e6).toFixed(2)} us, int8 ${(facts.floor.mmaProductsPerSecond * 2e-12).toFixed(0)} TOPS, bits ${(facts.floor.bitProductsPerSecond * 2e-12).toFixed(0)} TOPS`,
        );
        for (const { rows, columns, copySeconds, rungs } of facts.shapes)
          for (const tokens of [...new Set(rungs.map((rung) => rung.tokens))])
            console.log(
              `matvec   ${rows}x${columns} x${tokens}: ${tokens === 1 ? `copy ${(copySeconds * 1e6).toFixed(1)}us  ` : ''}${rungs
                .filter((r) => r.tokens === tokens)
                .map(
                  (r) =>
                    `${r.form} ${(r.seconds * 1e6).toFixed(1)}us ${tokens > 8 ? `${((2 * rows * columns * tokens) / r.seconds / 1e12).toFixed(0)}T` : percent(r.bytesPerSecond)}${r.difference > 1e-4 || Number.isNaN(r.difference) ? ' WRONG' : ''}`,
                )
                .join('  ')}`,
            );
      }
      if (name.startsWith('speed'))
        console.log(
          `speed    ${name.slice(6, -5)}: decode ${facts.decodeDevice?.toFixed(0)} t/s (${(facts.decodeBytesPerSecond / 1e9).toFixed(0)} GB/s), ${tellSpeeds(facts.decode)}, ${SEQUENCES} sequences ${facts.sequences?.toFixed(0)}, prefill512 ${facts.prefill512?.toFixed(0)} t/s (${facts.prefillTops?.toFixed(0)} TOPS), load ${facts.loadSeconds?.toFixed(2)} s for ${(facts.weightBytes / 1e6).toFixed(0)} MB`,
        );
    }
  },
};

async function prepareModel(source, backend, { contextLength, maxRows, sequences }) {
  const { buildPlan, readOutlierColumns, splitOutliers } = await import('@duobit/core');
  const plan = buildPlan(source, { outliers: await readOutlierColumns(source) });
  const program = await backend.prepare(
    plan,
    splitOutliers((name) => source.readTensor(name)),
    {
      capacity: contextLength,
      maxRows,
      sequences,
    },
  );
  return { plan, program };
}

if (!(part in PARTS)) {
  console.error(`parts: ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
try {
  await PARTS[part](...rest);
} catch (error) {
  note(`FAILED: ${error.code ?? ''} ${error.stack}`);
  if (error.cause) note(`cause: ${error.cause.stack ?? error.cause}`);
  process.exitCode = 1;
}
if (part !== 'first-token') note(`done, exit ${process.exitCode ?? 0}`);
