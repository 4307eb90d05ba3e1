// Checks that a backend writes the very tokens that the reference backend writes, greedily, on a whole model. Needs `npm run build`.
//
//   node scripts/check-greedy.mjs model.duo [--backend webgpu,native,…] [--tokens 16] [--prompt text] [--activations a4|f16]
//
// The KV cache is in f32, as the reference's. With quantized activations a code that falls the other way can tip a token of a large
// model (docs/numerics.md); with --activations f16 all tokens must be equal. On a machine without a GPU webgpu runs on SwiftShader,
// which Debian's Chromium brings:
//
//   LD_LIBRARY_PATH=/usr/lib/chromium VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json node scripts/check-greedy.mjs …
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { createReferenceBackend } from '@duobit/core';
import { createBackend, loadModel } from '@duobit/runtime-node';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: 'string', default: 'webgpu' },
    tokens: { type: 'string', default: '16' },
    prompt: { type: 'string', default: 'The capital of France is' },
    activations: { type: 'string' },
  },
});
const [path] = positionals;
if (!path) throw new Error('name a model: node scripts/check-greedy.mjs model.duo');

async function write(backend) {
  const { activations } = flags;
  const model = await loadModel(path, { backend, contextLength: 256, activations });
  const start = performance.now();
  const text = [];
  const prompt = { tokens: model.tokenizer.encode(flags.prompt) };
  const options = { maxTokens: Number(flags.tokens), temperature: 0, ignoreEos: true };
  for await (const event of model.generate(prompt, options))
    if (event.kind === 'token') text.push(event.token);
  const seconds = (performance.now() - start) / 1000;
  const words = model.tokenizer.decode(text);
  await model.dispose();
  await backend.dispose();
  return { text, words, seconds };
}

const wanted = await write(await createReferenceBackend());
let failed = false;
for (const name of flags.backend.split(',')) {
  const found = await write(await createBackend(name, { kv: 'f32' }));
  const first = wanted.text.findIndex((token, i) => token !== found.text[i]);
  failed ||= first >= 0;
  console.log(
    `${name}: ${first < 0 ? `${found.text.length} tokens equal` : `differs from token ${first} on`} ` +
      `(${found.seconds.toFixed(1)} s, reference ${wanted.seconds.toFixed(1)} s): ${JSON.stringify(found.words)}`,
  );
}
process.exitCode = failed ? 1 : 0;
