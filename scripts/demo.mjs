// `npm run demo`: the whole path on the checkpoint that is in the repository. Runs the built command line as a
// user would, prints what it does, and says plainly what the result is worth.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const DUOBIT = join(ROOT, 'packages/cli/bin/duobit.mjs');
const CHECKPOINT = 'fixtures/tinystories-656k';
const CONTAINER = 'out/tinystories-656k.duo';
const HELDOUT = 'fixtures/stories/heldout.txt';
const PROMPT = 'Once upon a time, there was a little';
const WINDOWS = 4;

function runDuobit(args, stdout) {
  const result = spawnSync(process.execPath, [DUOBIT, ...args], {
    cwd: ROOT,
    stdio: ['ignore', stdout, 'inherit'],
    encoding: 'utf8',
  });
  if (result.status === 0) return result.stdout;
  console.error(`demo: duobit ${args.join(' ')} ended with ${result.status ?? result.signal}`);
  process.exit(1);
}

function title(text) {
  console.log(`\n== ${text}`);
}

/** Shows the command and lets it print. */
function show(...args) {
  console.log(`$ npx duobit ${args.map((arg) => (/\s/.test(arg) ? `"${arg}"` : arg)).join(' ')}`);
  runDuobit(args, 'inherit');
}

/** Runs a command for its JSON. */
function ask(...args) {
  return JSON.parse(runDuobit([...args, '--json'], 'pipe'));
}

mkdirSync(join(ROOT, 'out'), { recursive: true });

title('1. Quantize the embedded checkpoint (TinyStories-656K, a trained Llama of 656,000 parameters)');
show('quantize', CHECKPOINT, '-o', CONTAINER);

title('2. Validate the container: structure, meaning, every hash');
show('validate', CONTAINER);

title('3. A story by the unquantized checkpoint');
show('run', CHECKPOINT, '-p', PROMPT, '-n', '120');

title('4. A story by the quantized container, W(1+1)A4');
show('run', CONTAINER, '-p', PROMPT, '-n', '120');

title(`5. Measured: perplexity over ${WINDOWS} windows of ${HELDOUT}, and speed`);
const sizes = ask('inspect', CONTAINER);
const evaluate = (model, ...more) =>
  ask('eval', 'ppl', model, '--text', HELDOUT, '--max-windows', String(WINDOWS), ...more).perplexity;
const full = evaluate(CHECKPOINT);
const weightsOnly = evaluate(CONTAINER, '--activations', 'f16');
const quantized = evaluate(CONTAINER);
const bench = (model) => ask('bench', model, '--repeats', '3');
const fullSpeed = bench(CHECKPOINT);
const speed = bench(CONTAINER);

const rows = [
  ['', 'unquantized', 'W(1+1)A4'],
  ['file bytes', '', sizes.file_bytes.toLocaleString('en-US')],
  ['bits a weight, linear layers only', '32', sizes.bits_per_weight_linear.toFixed(3)],
  ['bits a weight, whole file', '', sizes.bits_per_weight_file.toFixed(3)],
  ['perplexity', full.toFixed(2), quantized.toFixed(2)],
  ['perplexity, activations not quantized', '', weightsOnly.toFixed(2)],
  [
    'prefill tokens/s',
    fullSpeed.prefill_tokens_per_second.toFixed(0),
    speed.prefill_tokens_per_second.toFixed(0),
  ],
  [
    'decode tokens/s',
    fullSpeed.decode_tokens_per_second.toFixed(0),
    speed.decode_tokens_per_second.toFixed(0),
  ],
];
for (const [label, left, right] of rows)
  console.log(`${label.padEnd(40)}${left.padStart(14)}${right.padStart(14)}`);
const { machine } = speed;
console.log(
  `\nMachine: ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; one thread, ${speed.backend} backend.`,
);

console.log(`
What this shows, and what it does not: the container stores the linear layers at two bits and their scales, and
the same code runs and measures both models. The quantized story is much worse, which is to be expected: stage 1
only rounds each weight to the best of four levels a group, without repairing what that does to the layers after
it, and a model this small has no redundancy to spare. Distillation (stage 2) and learned activation ranges
(stage 3), which recover most of the loss, are not part of this version. The whole file is far above the linear
figure because a model this small is mostly embedding, tokenizer and alignment of its parts.`);
