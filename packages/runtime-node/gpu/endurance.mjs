// What a day of use does to a GPU, in a minute: models loaded and disposed of, texts called off in the middle, a process killed; and
// how long a fresh process takes to its first token.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createModel } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSink, createFileSource } from '@duobit/format/node';
import { createRandom, makeTinyModel, writeModel } from '@duobit/testkit';
import { createCudaBackend } from '../src/cuda/backend.ts';
import { Device } from '../src/cuda/device.ts';
import { makeRandomModel } from './random-model.mjs';

const OPTIONS = { contextLength: 128, maxRows: 16, tokenizer: false };
const makeModel = (seed) =>
  makeTinyModel({ seed, linear: 'w11', embedding: 'int8', architecture: { contextLength: 128 } });

async function write(model, tokens, maxTokens, signal) {
  const text = [];
  for await (const event of model.generate(
    { tokens },
    { maxTokens, temperature: 0, ignoreEos: true, signal },
  ))
    if (event.kind === 'token') text.push(event.token);
  return text;
}

/**
 * Free bytes before and after so many loads, each of which writes some tokens, and after every tenth of them. What the driver takes for
 * itself at the first load, and gives back with the context, is told apart.
 */
export async function loadAndDispose(loads, deadline) {
  const device = new Device();
  const first = device.memory().free;
  const frees = [];
  let [done, before] = [0, first];
  for (; done <= loads && performance.now() < deadline; done++) {
    if (done === 1) before = device.memory().free;
    if (done % 10 === 0) frees.push(device.memory().free);
    const backend = await createCudaBackend({ kv: 'f16' });
    const model = await createModel(makeModel(done), backend, OPTIONS);
    await write(model, [1, 2, 3], 3);
    await model.dispose();
    await backend.dispose();
  }
  const after = device.memory().free;
  device.dispose();
  return {
    loads: Math.max(0, done - 1),
    ofDriver: first - before,
    before,
    frees,
    after,
    lost: before - after,
  };
}

/** Texts called off after some tokens, several at a time; now and then one is written whole, and must be what it was at first. */
export async function callOff(count, deadline) {
  const backend = await createCudaBackend({ kv: 'f32' });
  const model = await createModel(makeModel(11), backend, { ...OPTIONS, sequences: 4, queue: 8 });
  const random = createRandom(23);
  const prompt = [5, 77, 130, 6];
  const expected = await write(model, prompt, 8);
  let [done, differing] = [0, 0];
  while (done < count && performance.now() < deadline) {
    const texts = Array.from({ length: 4 }, async () => {
      const control = new AbortController();
      const most = Math.floor(8 * random());
      const tokens = Array.from({ length: 1 + Math.floor(20 * random()) }, () => Math.floor(260 * random()));
      if (random() < 0.3) setImmediate(() => control.abort());
      let written = 0;
      try {
        const options = { maxTokens: 64, temperature: 0, ignoreEos: true, signal: control.signal };
        for await (const event of model.generate({ tokens }, options))
          if (event.kind === 'token' && ++written > most) control.abort();
      } catch (error) {
        if (!control.signal.aborted) throw error;
      }
    });
    await Promise.all(texts);
    done += texts.length;
    if (done % 40 === 0 && (await write(model, prompt, 8)).join() !== expected.join()) differing += 1;
  }
  if ((await write(model, prompt, 8)).join() !== expected.join()) differing += 1;
  await model.dispose();
  await backend.dispose();
  return { aborts: done, differing };
}

/** Free bytes before a process that writes is killed, and some time after. */
export async function killOne(script) {
  const device = new Device();
  const before = device.memory().free;
  const child = spawn(process.execPath, [script, 'forever'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const during = device.memory().free;
  child.kill('SIGKILL');
  await ended;
  let after = device.memory().free;
  for (let i = 0; i < 50 && after < before; i++) {
    await pause(100);
    after = device.memory().free;
  }
  device.dispose();
  return { before, during, after, lost: before - after };
}

/** The process that is killed: says when it writes, and goes on. */
export async function writeForever() {
  const backend = await createCudaBackend();
  const model = await createModel(makeModel(1), backend, OPTIONS);
  for (let i = 0; ; i++) {
    await write(model, [1, 2, 3], 16);
    if (i === 0) console.log('writing');
  }
}

/** A container of a shape on the disk, and then a fresh process from its start to its first token. */
export async function startCold(script, shape, path) {
  try {
    let begun = performance.now();
    const sink = await createFileSink(path);
    await writeModel(makeRandomModel(shape), sink);
    const writeSeconds = (performance.now() - begun) / 1000;
    begun = performance.now();
    const child = spawn(process.execPath, [script, 'first-token', path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.on('data', (bytes) => {
      said += bytes;
    });
    const status = await new Promise((resolve) => child.once('exit', resolve));
    const seconds = (performance.now() - begun) / 1000;
    if (status !== 0) throw new Error(`the process that starts cold ended with ${status}`);
    const readSeconds = readAll(path);
    return { shape, writeSeconds, readSeconds, seconds, ...JSON.parse(said.trim().split('\n').at(-1)) };
  } finally {
    rmSync(path, { force: true });
  }
}

/** Seconds to read a file and do nothing with it, into the same memory again and again. */
function readAll(path) {
  const memory = new Uint8Array(4 << 20);
  const file = openSync(path);
  const begun = performance.now();
  while (readSync(file, memory) > 0);
  closeSync(file);
  return (performance.now() - begun) / 1000;
}

/** The fresh process: seconds from its start to each step. */
export async function writeFirstToken(path) {
  const after = () => performance.now() / 1000;
  const begunAfter = after();
  const source = await createFileSource(path);
  const container = await openContainer(source);
  const openedAfter = after();
  const backend = await createCudaBackend();
  const backendAfter = after();
  const model = await createModel(container, backend, OPTIONS);
  const loadedAfter = after();
  await write(model, [1, 2, 3], 1);
  const firstTokenAfter = after();
  const facts = { bytes: source.size, begunAfter, openedAfter, backendAfter, loadedAfter, firstTokenAfter };
  await model.dispose();
  await backend.dispose();
  return facts;
}
