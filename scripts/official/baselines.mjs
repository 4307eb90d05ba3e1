// Perplexities and sizes of all baselines and W(1+1) on a small checkpoint, each layer against the inputs it really sees and
// with no correction towards the teacher, as the papers have it. Writes them with the token ids, for run_official.py:
//   node scripts/official/baselines.mjs <checkpoint> <stories.json> <out.json>
// stories.json is a list of texts: the first 700 calibrate, the last 200 evaluate.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundleSource } from '../bundle-source.mjs';

const CONTEXT = 512;
const WINDOWS = 58;
const ACTIVATIONS = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

const [path, storiesPath, out] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'duobit-baselines-'));
const entry = join(dirname(fileURLToPath(import.meta.url)), 'entry.ts');
const duobit = await import(pathToFileURL(await bundleSource(entry, folder)).href);
rmSync(folder, { recursive: true });

const checkpoint = await duobit.openCheckpoint(path);
const backend = await duobit.createWasmBackend();
const space = await duobit.Workspace.create();
const tokenizer = await duobit.createTokenizer(checkpoint);
const stories = JSON.parse(readFileSync(storiesPath, 'utf8'));
const encode = (texts) => texts.flatMap((text) => [...tokenizer.encode(text, { bos: false })]);
const calibration = encode(stories.slice(0, 700));
const evaluation = encode(stories.slice(-200));
const whole = Math.floor(calibration.length / CONTEXT);
const windows = Array.from({ length: WINDOWS }, (_, i) => {
  const start = Math.floor((i * whole) / WINDOWS) * CONTEXT;
  return calibration.slice(start, start + CONTEXT);
});

async function perplexity(layers, activations) {
  const infoOf = (name) => {
    const info = checkpoint.tensorInfo(name);
    return layers.has(name) ? { ...info, encoding: { kind: 'f32' } } : info;
  };
  const source = {
    name: checkpoint.name,
    architecture: checkpoint.architecture,
    specialTokens: checkpoint.specialTokens,
    tensorNames: checkpoint.tensorNames,
    tensorInfo: infoOf,
    readTensor: async (name) => {
      const layer = layers.get(name);
      if (!layer) return checkpoint.readTensor(name);
      return { info: infoOf(name), planes: { dense: new Uint8Array(layer.approximation.buffer) } };
    },
    readAsset: (role) => checkpoint.readAsset(role),
    close: async () => {},
  };
  const model = await duobit.createModel(source, backend, {
    contextLength: CONTEXT,
    activations,
    quantizers: activations === 'a4' ? () => ACTIVATIONS : undefined,
    tokenizer: false,
  });
  const report = await duobit.evaluateTokens(model, evaluation, { context: CONTEXT });
  await model.dispose();
  return report.perplexity;
}

async function measure(name, layers) {
  const a16 = await perplexity(layers, 'f16');
  const a4 = await perplexity(layers, 'a4');
  let bytes = 0;
  let weights = 0;
  for (const layer of layers.values()) {
    bytes += layer.bytes;
    weights += layer.approximation.length;
  }
  const size = weights === 0 ? {} : { bytes, bitsPerWeight: (8 * bytes) / weights };
  console.log(name, a16.toFixed(2), a4.toFixed(2), size);
  return { perplexityA16: a16, perplexityA4: a4, ...size };
}

const ours = { none: await measure('none', new Map()) };
for (const name of duobit.METHOD_NAMES) {
  const stream = await duobit.embedWindows(
    checkpoint,
    backend,
    windows.map((window) => Int32Array.from(window)),
  );
  const layers = new Map();
  const options = { method: duobit.createMethod(name), correction: 0, correctionDamping: 0 };
  for await (const block of duobit.quantizeBlocks(checkpoint, backend, space, stream, options))
    for (const [weight, layer] of block.layers) layers.set(weight, layer);
  ours[name] = await measure(name, layers);
}
const settings = { context: CONTEXT, calibrationWindows: WINDOWS, group: 128, damping: 0.01, correction: 0 };
writeFileSync(
  out,
  JSON.stringify({ settings, ours, calibrationWindows: windows, evaluationTokens: evaluation }),
);
