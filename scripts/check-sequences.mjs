// Checks on a whole model that texts written at the same time, and texts that begin behind what a cache holds, are those that each
// would be alone. Needs `npm run build`.
//
//   node scripts/check-sequences.mjs [model.duo] [native:f16,native:int8,wasm]     default: .cache/bench/w11.duo, native:f16,wasm
import { createWasmBackend } from '@duobit/core';
import { createNativeBackend, loadModel } from '@duobit/runtime-node';

const [path = '.cache/bench/w11.duo', names = 'native:f16,wasm'] = process.argv.slice(2);
const [TEXTS, TOKENS, CONTEXT] = [10, 48, 640];

async function write(model, tokens, seed) {
  const text = [];
  const options = { maxTokens: TOKENS, ignoreEos: true, temperature: seed % 2, seed };
  let cached = 0;
  for await (const event of model.generate({ tokens }, options)) {
    if (event.kind === 'token') text.push(event.token);
    else cached = event.cachedTokens;
  }
  return { text, cached };
}

let failures = 0;
for (const name of names.split(',')) {
  const [kind, kv] = name.split(':');
  const backend =
    kind === 'wasm' ? await createWasmBackend({ threads: 2 }) : await createNativeBackend({ kv, threads: 2 });
  const load = (options) =>
    loadModel(path, { backend, contextLength: CONTEXT, tokenizer: false, ...options });
  const alone = await load({});
  const together = await load({ sequences: 4, queue: TEXTS });
  const { vocabularySize } = alone.architecture;
  // Of 5 to 300 tokens.
  let prompts = Array.from({ length: TEXTS }, (_, i) =>
    Array.from({ length: [5, 64, 130, 300][i % 4] }, (_, k) => (k * 7919 + i * 31) % vocabularySize),
  );
  let [differing, cached] = [0, 0];
  for (let turn = 0; turn < 2; turn++) {
    const wanted = [];
    for (const [i, prompt] of prompts.entries()) wanted.push((await write(alone, prompt, i)).text);
    const found = await Promise.all(prompts.map((prompt, i) => write(together, prompt, i)));
    differing += found.filter(({ text }, i) => text.join() !== wanted[i].join()).length;
    cached += found.reduce((sum, text) => sum + text.cached, 0);
    // The last come first, as the caches hold theirs.
    prompts = prompts.map((prompt, i) => [...prompt, ...wanted[i], 11, 12]).reverse();
  }
  console.log(
    `${name}: ${2 * TEXTS} texts of ${TOKENS} tokens, 4 at a time, ${cached} tokens of prompts taken from caches: ` +
      (differing === 0 ? 'all as alone' : `${differing} differ`),
  );
  // A check of caches that were not used is none.
  failures += differing + (cached === 0);
  await alone.dispose();
  await together.dispose();
  await backend.dispose();
}
process.exitCode = failures === 0 ? 0 : 1;
