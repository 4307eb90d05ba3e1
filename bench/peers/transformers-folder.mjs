// The folder that transformers.js loads a model from, made of the F16 GGUF: configuration and tokenizer as our export
// writes them, and an ONNX file for each dtype.
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { exportFolder, openCheckpoint } from '@duobit/quantizer';
import { CACHE, hashModule, identify, makeOnce } from '../models.mjs';
import { buildOnnxLlama } from './onnx-llama.mjs';
import { WEIGHTS } from './onnx-weights.mjs';
import { installPeer } from './setup.mjs';

/** What transformers.js calls the files of a dtype. */
const FILES = { q4: 'model_q4.onnx', q8: 'model_quantized.onnx' };
const WRITERS = ['onnx-llama', 'onnx-weights', 'onnx-protobuf'];
const FOLDER = path.join(CACHE, 'transformers');
const MODEL = path.join(FOLDER, 'model');

/** Subjects for Chromium, in the form of `prepareSubjects`, and the peer's versions; or none, pushed to `skipped`. */
export async function prepareTransformers(f16, skipped, log) {
  const { versions, reason } = installPeer('transformers.js', log);
  if (reason !== undefined) {
    skipped.push({ name: 'transformers.js', reason });
    return { subjects: [], peers: {} };
  }
  const checkpoint = await openCheckpoint(f16);
  try {
    await makeFolder(checkpoint, f16);
    const subjects = [];
    for (const dtype of Object.keys(FILES)) {
      const file = await makeFile(checkpoint, f16, dtype, log);
      const short = `transformers.js ${dtype}`;
      subjects.push({
        id: `transformers.js-${dtype}`,
        engine: 'transformers.js',
        label: short,
        short,
        file,
        open: { folder: FOLDER, dtype },
        ...(await describeFile(checkpoint, file, dtype)),
      });
    }
    return { subjects, peers: { 'transformers.js': versions } };
  } finally {
    await checkpoint.close();
  }
}

/** Everything but the weights. */
async function makeFolder(checkpoint, f16) {
  await makeOnce(path.join(MODEL, 'config.json'), await identify(f16), async () => {
    await exportFolder(checkpoint, MODEL, { dtype: 'f16', force: true });
    await rm(path.join(MODEL, 'model.safetensors'));
  });
}

async function makeFile(checkpoint, f16, dtype, log) {
  const inputs = {
    ...(await identify(f16)),
    writers: await Promise.all(WRITERS.map((name) => hashModule(`./peers/${name}.mjs`))),
  };
  return makeOnce(path.join(MODEL, 'onnx', FILES[dtype]), inputs, async (file) => {
    log(`writing the ONNX file of ${dtype}`);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(`${file}.part`, await buildOnnxLlama(checkpoint, dtype));
    await rename(`${file}.part`, file);
  });
}

/** As `describePeerFile` says it of a GGUF file; the tokenizer, which those hold, is counted with the file. */
async function describeFile(checkpoint, file, dtype) {
  const { bits, bitsOf } = WEIGHTS[dtype];
  const parts = await Promise.all([file, path.join(MODEL, 'tokenizer.json')].map((name) => stat(name)));
  const fileBytes = parts.reduce((sum, { size }) => sum + size, 0);
  let weights = 0;
  let matrices = 0;
  let linear = 0;
  let linearBits = 0;
  for (const name of checkpoint.tensorNames) {
    const [rows, columns = 1] = checkpoint.tensorInfo(name).shape;
    weights += rows * columns;
    if (columns === 1) continue;
    matrices += rows * columns;
    if (!name.startsWith('model.layers.')) continue;
    linear += rows * columns;
    linearBits += rows * columns * bitsOf(columns);
  }
  return {
    fileBytes,
    bitsPerWeight: (8 * fileBytes) / weights,
    linearBitsPerWeight: linearBits / linear,
    types: { [`int${bits}`]: matrices },
  };
}
