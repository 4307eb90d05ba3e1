// The models whose quality is measured, with their texts. Data lies in ../shared/data, beside the repository.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../options.mjs';

const SHARED = path.resolve(ROOT, '../shared/data');
const shared = (file) => path.join(SHARED, file);

async function readStories() {
  const parsed = JSON.parse(await readFile(shared('tinystories/tinystories_1000.json'), 'utf8'));
  const list = Array.isArray(parsed) ? parsed : Object.values(parsed).find(Array.isArray);
  return list.map((story) => (typeof story === 'string' ? story : (story.text ?? story.story)));
}

export const MODELS = {
  tinystories: {
    title: 'TinyStories-656K',
    checkpoint: path.join(ROOT, 'fixtures/tinystories-656k'),
    needs: shared('tinystories/tinystories_1000.json'),
    describe:
      'calibrated on the first 700 of 1,000 TinyStories (58 windows of 512), measured on the last 200, joined',
    contexts: [512],
    calibration: async () => ({ text: (await readStories()).slice(0, 700), context: 512, maxWindows: 58 }),
    evaluation: async () => (await readStories()).slice(-200),
  },
  smollm2: {
    title: 'SmolLM2-135M-Instruct',
    checkpoint: path.join(ROOT, '.cache/bench/F16.gguf'),
    needs: shared('wikitext-2-raw/wiki.test.raw'),
    describe: 'calibrated on C4 samples, measured on the WikiText-2 raw test set',
    contexts: [512],
    calibration: async () => ({
      text: await readFile(shared('calibration/c4.utf8'), 'utf8'),
      context: 512,
      maxWindows: 128,
    }),
    evaluation: async () => [await readFile(shared('wikitext-2-raw/wiki.test.raw'), 'utf8')],
  },
};

/** Why a model cannot be measured here, or null. */
export function whatIsMissing({ checkpoint, needs }) {
  return [checkpoint, needs].find((file) => !existsSync(file)) ?? null;
}
