// The child process of one quantization by llama.cpp's own quantizer; its log goes to stderr.
import { readFileSync } from 'node:fs';
import { openLlama } from './llama-library.mjs';
import { findLlama } from './setup.mjs';

process.once('message', (job) => {
  let answer;
  try {
    quantize(job);
    answer = {};
  } catch (error) {
    answer = { error: error.stack ?? String(error) };
  }
  process.send(answer, () => process.exit(0));
});

function quantize({ source, target, type, pure, threads, imatrix }) {
  const { koffi, llama } = openLlama(findLlama());
  const params = {
    ...llama.quantizeDefaults(),
    nthread: threads,
    ftype: type,
    pure,
    imatrix: makeImportance(koffi, JSON.parse(readFileSync(imatrix, 'utf8'))),
  };
  const code = llama.quantize(source, target, params);
  if (code !== 0) throw new Error(`llama_model_quantize gives ${code}`);
}

/** Array of {name, values, count} ended by a null name; it lives as long as the process. */
function makeImportance(koffi, importance) {
  const items = Object.entries(importance).map(([name, values]) => ({
    name: store(koffi, 'char', Array.from(Buffer.from(`${name}\0`))),
    data: store(koffi, 'float', values),
    size: values.length,
  }));
  items.push({ name: null, data: null, size: 0 });
  return store(koffi, 'llama_imatrix', items);
}

function store(koffi, type, values) {
  const pointer = koffi.alloc(type, values.length);
  koffi.encode(pointer, koffi.array(type, values.length), values);
  return pointer;
}
