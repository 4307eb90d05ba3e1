// The windows that ours are calibrated on and the tokens that they are measured on (bench/quality/models.mjs), for
// run_official.py:
//   node scripts/official/tokens.mjs <out.json>
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MODELS, whatIsMissing } from '../../bench/quality/models.mjs';
import { bundleSource } from '../bundle-source.mjs';

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error('usage: node scripts/official/tokens.mjs <out.json>');
const model = MODELS.tinystories;
const missing = whatIsMissing(model);
if (missing) throw new Error(`${missing} is not here`);
const folder = mkdtempSync(join(tmpdir(), 'duobit-official-'));
const entry = join(dirname(fileURLToPath(import.meta.url)), 'entry.ts');
const duobit = await import(pathToFileURL(await bundleSource(entry, folder)).href);
rmSync(folder, { recursive: true });

const checkpoint = await duobit.openCheckpoint(model.checkpoint);
const tokenizer = await duobit.createTokenizer(checkpoint);
const corpus = await model.calibration();
const calibrationWindows = duobit.cutWindows(checkpoint, tokenizer, corpus).map((window) => [...window]);
const texts = await model.evaluation();
const evaluationTokens = texts.flatMap((text) => [...tokenizer.encode(text, { bos: false })]);
const settings = {
  context: corpus.context,
  calibrationWindows: calibrationWindows.length,
  group: 128,
  damping: 0.01,
};
writeFileSync(out, JSON.stringify({ settings, calibrationWindows, evaluationTokens }));
await checkpoint.close();
