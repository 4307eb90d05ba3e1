// Speed of the wasm backend on a model shaped like SmolLM2-135M with random weights: decode at a few cache depths, prefill,
// and the same for the unquantized f32 model. Run after `npm run build`: node experiments/kernels/smollm2-decode/bench.mjs
// Arguments: [w11|f32] [q8|q4]. On a shared machine the CPU time (second figure) is the steadier one.
import { cpus } from 'node:os';
import { buildPlan, createWasmBackend } from '@duobit/core';
import { encodedPlaneLengths } from '@duobit/format';

const [linear = 'w11', embedding = 'q8'] = process.argv.slice(2);
const architecture = {
  family: 'llama',
  vocabularySize: 49152,
  hiddenSize: 576,
  intermediateSize: 1536,
  blockCount: 30,
  headCount: 9,
  kvHeadCount: 3,
  headSize: 64,
  contextLength: 8192,
  normEpsilon: 1e-5,
  ropeTheta: 100000,
  ropeScaling: null,
  slidingWindow: null,
  tiedHead: true,
};
const { hiddenSize: H, intermediateSize: I } = architecture;
const KV = architecture.kvHeadCount * architecture.headSize;
const SHAPES = [
  [/embed_tokens/, [architecture.vocabularySize, H]],
  [/(q|o)_proj/, [H, H]],
  [/(k|v)_proj/, [KV, H]],
  [/(gate|up)_proj/, [I, H]],
  [/down_proj/, [H, I]],
  [/norm/, [H]],
];

function tensorInfo(name) {
  const shape = SHAPES.find(([pattern]) => pattern.test(name))[1];
  const f32 = { kind: 'f32' };
  if (linear === 'f32' || shape.length === 1) return { name, shape, encoding: f32, activation: null };
  if (/embed_tokens/.test(name)) {
    const encoding = embedding === 'q8' ? { kind: 'int8', groupSize: 64 } : { kind: 'int4', groupSize: 32 };
    return { name, shape, encoding, activation: null };
  }
  const activation = { bits: 4, clipLow: 1, clipHigh: 1 };
  return { name, shape, encoding: { kind: 'w11', groupSize: 128, offsets: true }, activation };
}

let state = 0x9e3779b9;
function noise() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 8;
}

/** Random bits and codes; floats and scales small and finite. */
async function readTensor(name) {
  const info = tensorInfo(name);
  const planes = {};
  for (const [role, length] of Object.entries(encodedPlaneLengths(info.encoding, info.shape))) {
    const plane = new Uint8Array(length);
    if (role === 'dense') {
      const values = new Float32Array(plane.buffer);
      for (let i = 0; i < values.length; i++) values[i] = ((noise() & 0xffff) / 0x8000 - 1) * 0.05;
    } else if (role === 'alpha' || role === 'scale') {
      new Uint16Array(plane.buffer).fill(role === 'alpha' ? 0x2a00 : 0x1400);
    } else if (role !== 'mu') for (let i = 0; i < plane.length; i++) plane[i] = noise();
    planes[role] = plane;
  }
  return { info, planes };
}

const names = [];
const source = {
  name: 'random',
  architecture,
  get tensorNames() {
    return names;
  },
  tensorInfo,
};
names.push('model.embed_tokens.weight');
for (let block = 0; block < architecture.blockCount; block++) {
  const at = `model.layers.${block}.`;
  for (const part of ['q', 'k', 'v', 'o']) names.push(`${at}self_attn.${part}_proj.weight`);
  for (const part of ['gate', 'up', 'down']) names.push(`${at}mlp.${part}_proj.weight`);
  names.push(`${at}input_layernorm.weight`, `${at}post_attention_layernorm.weight`);
}
names.push('model.norm.weight');

const backend = await createWasmBackend();
const start = performance.now();
const program = await backend.prepare(buildPlan(source), readTensor, { capacity: 2048, maxRows: 512 });
console.log(`${cpus()[0].model}, Node ${process.version}, ${linear} blocks, ${embedding} head`);
console.log(
  `load ${((performance.now() - start) / 1000).toFixed(1)} s, ${(program.weightBytes / 1e6).toFixed(1)} MB`,
);

async function measure(label, tokens, run) {
  const cpu = process.cpuUsage();
  const wall = performance.now();
  await run();
  const seconds = (performance.now() - wall) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const busy = (user + system) / 1e6;
  console.log(
    `${label}: ${(tokens / seconds).toFixed(1)} tokens/s wall, ${(tokens / busy).toFixed(1)} tokens a CPU second`,
  );
}

async function decode(from, count) {
  for (let i = 0; i < count; i++) {
    await program.write('tokens', Int32Array.of((i * 7919) % architecture.vocabularySize));
    await program.run({ rows: 1, position: from + i, logits: 'last' });
    await program.read('logits');
  }
}

await decode(0, 20);
for (const [from, count] of linear === 'f32'
  ? [[0, 20]]
  : [
      [0, 100],
      [0, 100],
      [500, 60],
      [1900, 60],
    ])
  await measure(`decode ${count} tokens from position ${from}`, count, () => decode(from, count));
for (const [rows, logits] of [
  [64, 'last'],
  [512, 'last'],
  [512, 'all'],
]) {
  await program.write(
    'tokens',
    Int32Array.from({ length: rows }, (_, i) => (i * 7919) % architecture.vocabularySize),
  );
  await measure(`prefill ${rows} tokens, logits ${logits}`, rows, () =>
    program.run({ rows, position: 0, logits }),
  );
}
