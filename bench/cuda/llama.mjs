// What run.sh runs beside check.mjs of .gpu: llama.cpp's CUDA build on a shape in Q4_0, by its C interface; the table of both.
//
//   node llama.mjs make SHAPE FILE | measure SHAPE FILE GPU_FOLDER | table
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SHAPES } from '../../packages/runtime-node/gpu/random-model.mjs';
import { prepareEngine } from '../peers/llama-cpp.mjs';
import { writeRandomGguf } from './random-gguf.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const OUT = process.env.OUT;
const VERSION = '3.14.5';
/** As in check.mjs, `speed`. */
const CONTEXT = 1024;
const PROMPT = 512;
const STEPS = 240;

const perSecond = (count, begun) => (count * 1000) / (performance.now() - begun);

async function measure(shape, file, gpuFolder) {
  const require = createRequire(join(gpuFolder, 'check.mjs'));
  const engine = await prepareEngine({
    koffi: require('koffi'),
    folder: join(HERE, 'llama'),
    version: VERSION,
  });
  const { vocabularySize } = SHAPES[shape];
  const model = await engine.open({
    file,
    threads: 2,
    contextLength: CONTEXT,
    vocabularySize,
    gpuLayers: 999,
  });
  const prompt = Array.from({ length: PROMPT }, (_, i) => (i * 7919) % vocabularySize);
  const step = async (position) => model.step((position * 7919) % vocabularySize);
  const rates = { prefill: 0, decode: 0 };
  // The best of three, the first of which also warms up; a graph is recorded in the first steps.
  for (let round = 0; round < 3; round++) {
    let begun = performance.now();
    await model.prefill(prompt);
    rates.prefill = Math.max(rates.prefill, perSecond(PROMPT, begun));
    await model.prefill(prompt.slice(0, 16));
    for (let i = 0; i < 8; i++) await step(i);
    begun = performance.now();
    for (let i = 0; i < STEPS; i++) await step(i);
    rates.decode = Math.max(rates.decode, perSecond(STEPS, begun));
  }
  await model.close();
  return { hasGpu: engine.hasGpu(), system: engine.describe(), rates };
}

function printTable() {
  const names = readdirSync(OUT).filter((name) => /^llama-.*\.json$/.test(name));
  console.log('=== beside llama.cpp, Q4_0, in the same run');
  for (const name of names.sort()) {
    const { shape, hasGpu, turns } = JSON.parse(readFileSync(join(OUT, name), 'utf8'));
    const best = (key) => Math.max(...turns.map((turn) => turn[key]));
    const ours = best('ours');
    console.log(
      `${hasGpu ? 'llama   ' : 'NO GPU  '} ${shape}: decode ${best('decode').toFixed(0)} t/s, ours ${ours.toFixed(0)} = ${(ours / best('decode')).toFixed(2)}x (by best ${best('oursByBest').toFixed(0)}, by top40 ${best('oursByTop').toFixed(0)}); prefill512 ${best('prefill').toFixed(0)}, ours ${best('oursPrefill').toFixed(0)} = ${(best('oursPrefill') / best('prefill')).toFixed(2)}x`,
    );
  }
}

const [part, shape, file, gpuFolder] = process.argv.slice(2);
if (part === 'make') await writeRandomGguf(SHAPES[shape], file);
else if (part === 'measure') {
  const { hasGpu, system, rates } = await measure(shape, file, gpuFolder);
  const path = join(OUT, `llama-${shape}.json`);
  const { turns } = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { turns: [] };
  // What check.mjs measured just before.
  const ours = JSON.parse(readFileSync(join(OUT, `speed-${shape}.json`), 'utf8'));
  const turn = {
    ...rates,
    ...{
      ours: ours.decodeDevice,
      oursByBest: ours.decode.best,
      oursByTop: ours.decode.top40,
      oursPrefill: ours.prefill512,
    },
  };
  turns.push(turn);
  const facts = { shape, version: VERSION, hasGpu, system, device: ours.device, turns };
  writeFileSync(path, `${JSON.stringify(facts, null, 1)}\n`);
  console.log(JSON.stringify(turn));
  if (!hasGpu) throw new Error('llama.cpp found no GPU: what it printed says why');
} else if (part === 'table') printTable();
else throw new Error('parts: make, measure, table');
