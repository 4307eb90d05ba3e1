// `npm run demo`: the whole path on the checkpoint that is in the repository. Runs the built command line as a
// user would, prints what it does, and says plainly what the result is worth.
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const DUOBIT = join(ROOT, 'packages/cli/bin/duobit.mjs');
const CHECKPOINT = 'fixtures/tinystories-656k';
/** Made with all the stories there are and the preset `best`; fixtures/embedded/README.md. */
const EMBEDDED = 'fixtures/embedded/tinystories-656k.duo';
const CONTAINER = 'out/tinystories-656k.duo';
const CALIBRATION = 'fixtures/stories/calibration.txt';
const HELDOUT = 'fixtures/stories/heldout.txt';
/** The checkpoint writes its end marker as ordinary text, so it is a stop text. */
const STORY = [
  '-p',
  'Once upon a time',
  '-n',
  '140',
  '--repetition-penalty',
  '1.1',
  '--stop',
  '<|end_story|>',
];

/** Runs the command line; its output goes to ours, or with `capture` is returned. */
function runDuobit(args, capture) {
  const stdio = capture ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'];
  const result = spawnSync(process.execPath, [DUOBIT, ...args], { cwd: ROOT, stdio, encoding: 'utf8' });
  if (result.status === 0) return result.stdout;
  console.error(result.stderr ?? '');
  console.error(`demo: duobit ${args.join(' ')} ended with ${result.status ?? result.signal}`);
  process.exit(1);
}

function title(text) {
  console.log(`\n== ${text}`);
}

/** Shows the command and lets it print. */
function show(...args) {
  console.log(`$ npx duobit ${args.map((arg) => (/[\s|<>]/.test(arg) ? `"${arg}"` : arg)).join(' ')}`);
  runDuobit(args, false);
}

/** Runs a command for its JSON. */
function ask(...args) {
  return JSON.parse(runDuobit([...args, '--json'], true));
}

mkdirSync(join(ROOT, 'out'), { recursive: true });

title('1. A story by a model of two bits a weight that is in the repository (TinyStories-656K)');
show('run', EMBEDDED, ...STORY);

title('2. Quantize the checkpoint it came from, by all four stages, with a short text');
show(
  ...['quantize', CHECKPOINT, '-o', CONTAINER, '--calibration', CALIBRATION],
  ...['--stages', '1,2,3,4', '--preset', 'balanced', '--tokens', '16384', '--device', 'auto'],
);
console.log(`(Look at ${CONTAINER.replace('.duo', '.report.html')} in a browser.)`);

title('3. Validate the container: structure, meaning, every hash');
show('validate', CONTAINER);

title('4. A story by the unquantized checkpoint, then one by the new container, W(1+1)A4');
show('run', CHECKPOINT, ...STORY);
show('run', CONTAINER, ...STORY);

title(`5. Measured: perplexity on ${HELDOUT}, and speed`);
const evaluate = (model, ...more) =>
  ask('eval', 'ppl', model, '--text', HELDOUT, ...more).result.perplexity.toFixed(2);
const bench = (model) => ask('bench', model, '--repeats', '3');
const weights = statSync(join(ROOT, CHECKPOINT, 'model.safetensors')).size;
const fullSpeed = bench(CHECKPOINT);
const speed = bench(CONTAINER);
const rate = (value) => value.toFixed(0);
const containers = [CONTAINER, EMBEDDED];
const sizes = containers.map((file) => ask('inspect', file));

const rows = [
  ['', 'unquantized', 'made here', 'embedded'],
  [
    'file bytes (left: without tokenizer)',
    weights.toLocaleString('en-US'),
    ...sizes.map(({ file_bytes }) => file_bytes.toLocaleString('en-US')),
  ],
  ['bits a weight, linear layers only', '32', ...sizes.map((size) => size.bits_per_weight_linear.toFixed(2))],
  [
    'bits a weight, whole file',
    ((weights * 8) / sizes[0].parameters).toFixed(2),
    ...sizes.map((size) => size.bits_per_weight_file.toFixed(2)),
  ],
  ['perplexity', evaluate(CHECKPOINT), ...containers.map((file) => evaluate(file))],
  [
    'perplexity, 4-bit activations off',
    '',
    ...containers.map((file) => evaluate(file, '--activations', 'f16')),
  ],
  ['prefill tokens/s', rate(fullSpeed.prefill_tokens_per_second), rate(speed.prefill_tokens_per_second)],
  ['decode tokens/s', rate(fullSpeed.decode_tokens_per_second), rate(speed.decode_tokens_per_second)],
];
for (const [label, ...cells] of rows) {
  console.log(label.padEnd(38) + cells.map((cell) => cell.padStart(14)).join(''));
}
const { machine } = speed;
console.log(
  `matvec kernel at 4096 x 4096: ${speed.matvec_gweights_per_second.toFixed(1)} G weights/s\n` +
    `machine: ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${speed.backend} backend, one thread`,
);

console.log(`
What this shows, and what it does not: a container stores each linear weight as two bits and its share of the
levels, and the same code runs and measures all three models. What was made here was trained on 16,384 tokens in a
minute or so; the embedded one on 145,000, 18 times over in all stages, by the same command (fixtures/embedded/README.md). A
model of this size has no redundancy to spare, so two bits cost it something. The whole file is far above the linear
figure because a model this small is mostly embedding, tokenizer and alignment.`);
