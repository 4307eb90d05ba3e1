// Checks that the ONNX files of onnx-llama.mjs are the model that they were made from:
//
//   node bench/peers/check-onnx.mjs [checkpoint]
//
// Both engines run the same tokens with the same rounded weights: ONNX Runtime by its own kernels, ours with the matrices in
// their place as f32. With inputs in single precision only the order of sums is left to differ, so logits must agree and the
// tokens that each goes on with be the same. The files as they are measured round inputs to 8 bits: their texts are shown.
import path from 'node:path';
import { createModel, createTokenizer, createWasmBackend } from '@duobit/core';
import { openCheckpoint } from '@duobit/quantizer';
import { CACHE } from '../models.mjs';
import { prepareEngine } from './onnx-engine.mjs';
import { buildOnnxLlama } from './onnx-llama.mjs';
import { decodeValues, roundValues, WEIGHTS } from './onnx-weights.mjs';
import { installPeer } from './setup.mjs';

const PROMPT = 'Once upon a time there was a little girl who found a box of 27 letters in the';
const GENERATED = 32;
/** Logits are some tens; a token passes some 400 sums of up to 1536 products, each rounded to 6e-8 of its size. */
const TOLERANCE = 1e-3;

/** The checkpoint with every matrix rounded as in the ONNX file. */
function roundCheckpoint(checkpoint, { bits, group }) {
  const tensorInfo = (name) => ({ ...checkpoint.tensorInfo(name), encoding: { kind: 'f32' } });
  return {
    name: checkpoint.name,
    architecture: checkpoint.architecture,
    specialTokens: checkpoint.specialTokens,
    tensorNames: checkpoint.tensorNames,
    tensorInfo,
    async readTensor(name) {
      const info = tensorInfo(name);
      const values = await checkpoint.readF32(name);
      const isMatrix = info.shape.length === 2;
      const given = isMatrix ? decodeValues(roundValues(values, bits, group(info.shape[1])), bits) : values;
      return { info, planes: { dense: new Uint8Array(given.buffer) } };
    },
    readAsset: (role) => checkpoint.readAsset(role),
    close: async () => {},
  };
}

const indexOfMost = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
const greatestDifference = (a, b) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);

/** Logits of the whole prompt, and the likeliest tokens after it. @param run takes tokens and how many logits to keep */
async function runPrompt(prompt, run) {
  const logits = Float32Array.from(await run(prompt, prompt.length));
  const tokens = [indexOfMost(logits.subarray(-logits.length / prompt.length))];
  while (tokens.length < GENERATED) tokens.push(indexOfMost(await run([tokens.at(-1)], 1)));
  return { logits, tokens };
}

async function runOurs(source, prompt) {
  const backend = await createWasmBackend({ threads: 1 });
  const model = await createModel(source, backend, { contextLength: 256, activations: 'f16', kv: 'f32' });
  let position = 0;
  const result = await runPrompt(prompt, (tokens, kept) => {
    position += tokens.length;
    return model.forward(tokens, {
      position: position - tokens.length,
      logits: kept === 1 ? 'last' : 'all',
    });
  });
  await model.dispose();
  await backend.dispose();
  return result;
}

async function runTheirs(checkpoint, weights, prompt) {
  const { open } = await prepareEngine();
  const engine = await open({ file: await buildOnnxLlama(checkpoint, weights), threads: 1 });
  engine.clear();
  const result = await runPrompt(prompt, (tokens, kept) => engine.run(tokens, kept));
  await engine.close();
  return result;
}

const { reason } = installPeer('onnxruntime', console.error);
if (reason !== undefined) throw new Error(reason);
const checkpoint = await openCheckpoint(process.argv[2] ?? path.join(CACHE, 'F16.gguf'));
const tokenizer = await createTokenizer(checkpoint);
const prompt = tokenizer.encode(PROMPT, { bos: false });
const show = (name, { tokens }) => console.log(`${name}: ${JSON.stringify(tokenizer.decode(tokens))}`);

show('ours, F16', await runOurs(checkpoint, prompt));
for (const weights of ['q4', 'q8']) {
  const ours = await runOurs(roundCheckpoint(checkpoint, WEIGHTS[weights]), prompt);
  show(`ours with the weights of ${weights}`, ours);
  show(`ONNX Runtime, ${weights}`, await runTheirs(checkpoint, weights, prompt));
  if (weights !== 'q4') continue;
  const exact = await runTheirs(checkpoint, 'q4 exact', prompt);
  show('ONNX Runtime, q4, inputs in single precision', exact);
  const difference = greatestDifference(ours.logits, exact.logits);
  console.log(`  its logits from ours: at most ${difference.toExponential(2)}`);
  if (difference > TOLERANCE || ours.tokens.some((token, i) => token !== exact.tokens[i])) {
    console.error('check-onnx: the ONNX file is not the same model');
    process.exitCode = 1;
  }
}
await checkpoint.close();
