import { readFile, writeFile, rm } from 'node:fs/promises';
import { createBackend, createTrainingKernels, loadModel } from '@duobit/runtime-node';
import { createTokenizer } from '@duobit/core';
import { evaluateTokens, openCheckpoint, quantize } from '@duobit/quantizer';
import { openEngine } from '@duobit/tfjs';
const CONFIGS = {
  nearest: { bits: 'nearest' },
  relaxed: {},
  'relaxed-002': { rates: { latent: 0.002 } },
  none: null,
};
const [name, passes = '2'] = process.argv.slice(2);
const checkpoint = '/work/main/.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf';
const threads = 1;
const engine = await openEngine({ device: 'native', kernels: () => createTrainingKernels({ threads }) });
const backend = await createBackend('native', { threads });
const out = `/tmp/x/smol-${name}.duo`;
const text = (await readFile('/work/shared/data/calibration/c4.utf8', 'utf8'));
const begun = performance.now();
const blocks = [];
const c = CONFIGS[name];
await quantize(checkpoint, out, {
  calibration: { text, context: 512, maxWindows: 48 }, backend,
  workFolder: `/tmp/x/smol-${name}.work`,
  ...(c && { distillation: { engine, tokens: 24576, seed: 0, weights: { passes: Number(passes), ...c }, activations: null, endToEnd: null } }),
  onBlock(stage, { block, training }) { if (training) { const l = `${((performance.now() - begun) / 1000).toFixed(0)} s: block ${block}: ${training.heldOutBefore} -> ${training.heldOutAfter} kept ${training.kept}`; blocks.push(l); console.log(name, l); } },
});
const seconds = (performance.now() - begun) / 1000;
const t = await createTokenizer(await openCheckpoint(checkpoint));
const tokens = t.encode(await readFile('/work/shared/data/wikitext-2-raw/wiki.test.raw', 'utf8'), { bos: false }).slice(0, 16 * 512);
const perplexity = {};
for (const activations of ['f16', 'a4']) { const m = await loadModel(out, { backend: 'native', threads, activations, contextLength: 512 }); perplexity[activations] = (await evaluateTokens(m, tokens, { context: 512 })).perplexity; await m.dispose(); }
console.log(name, 'DONE', JSON.stringify(perplexity), seconds.toFixed(0));
await writeFile(`/tmp/x/smol-${name}.json`, JSON.stringify({ name, passes, perplexity, seconds, blocks }, null, 1));
process.exit(0);
