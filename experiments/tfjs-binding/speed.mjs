// Measures matMul of float32 squares, and a step of training, on the backends `tensorflow` and `wasm`, each setting in a
// process of its own, and what loading costs in time and memory. Prints a table in Markdown: the best rate by the clock of two rounds, and in brackets
// the rate per second of processor time, which other programs on the machine disturb less.
//
//   node experiments/tfjs-binding/speed.mjs
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { load } from './load.mjs';

const SIZES = [512, 1024, 2048];
/** oneDNN is another library for the same products; TensorFlow chooses by processor, these force it. */
const SETTINGS = [
  { name: 'tensorflow, 1 thread', backend: 'tensorflow', env: { TF_NUM_INTRAOP_THREADS: '1' } },
  { name: 'tensorflow, 2 threads', backend: 'tensorflow', env: { TF_NUM_INTRAOP_THREADS: '2' } },
  {
    name: 'tensorflow, 1 thread, no oneDNN',
    backend: 'tensorflow',
    env: { TF_NUM_INTRAOP_THREADS: '1', TF_ENABLE_ONEDNN_OPTS: '0' },
  },
  {
    name: 'tensorflow, 2 threads, no oneDNN',
    backend: 'tensorflow',
    env: { TF_NUM_INTRAOP_THREADS: '2', TF_ENABLE_ONEDNN_OPTS: '0' },
  },
  { name: 'wasm (SIMD, 1 thread)', backend: 'wasm', env: {} },
];

const resident = () => Math.round(process.memoryUsage().rss / 2 ** 20);

/**
 * Milliseconds of a step of Adam on one block as wide as SmolLM2-135M's (576, 9 heads of 64, 1536 inside), 512 tokens: the
 * kernels are many and small beside the products, as in training. Grouped keys and rotary positions are left out.
 */
function measureStep(tf) {
  const [tokens, width, heads, inner] = [512, 576, 9, 1536];
  const weight = (...shape) => tf.variable(tf.randomNormal(shape, 0, 0.04));
  const [query, key, value, out] = Array.from({ length: 4 }, () => weight(width, width));
  const [gate, up, down] = [weight(width, inner), weight(width, inner), weight(inner, width)];
  const weights = [query, key, value, out, gate, up, down];
  const input = tf.randomNormal([tokens, width]);
  const mask = tf.mul(tf.sub(tf.linalg.bandPart(tf.ones([tokens, tokens]), -1, 0), 1), 1e9);
  const norm = (x) => tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5)));
  const split = (x) => tf.transpose(tf.reshape(x, [tokens, heads, width / heads]), [1, 0, 2]);
  const loss = () => {
    const x = norm(input);
    const [q, k, v] = [query, key, value].map((matrix) => split(tf.matMul(x, matrix)));
    const shares = tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 0.125), mask));
    const mixed = tf.reshape(tf.transpose(tf.matMul(shares, v), [1, 0, 2]), [tokens, width]);
    const middle = tf.add(input, tf.matMul(mixed, out));
    const y = norm(middle);
    const gated = tf.matMul(y, gate);
    const hidden = tf.mul(tf.mul(gated, tf.sigmoid(gated)), tf.matMul(y, up));
    return tf.mean(tf.square(tf.add(middle, tf.matMul(hidden, down))));
  };
  const optimizer = tf.train.adam(1e-3);
  const times = [];
  for (let step = 0; step < 6; step++) {
    const begin = performance.now();
    tf.tidy(() => optimizer.minimize(loss, true, weights).dataSync());
    times.push(performance.now() - begin);
  }
  return Math.min(...times.slice(1));
}

async function measure(backend) {
  const bare = resident();
  const started = performance.now();
  const { tf, require } = await load();
  const loaded = performance.now() - started;
  const after = resident();
  if (backend === 'wasm') {
    const wasm = require('@tensorflow/tfjs-backend-wasm');
    const folder = require.resolve('@tensorflow/tfjs-backend-wasm').replace(/tf-backend-wasm\.node\.js$/, '');
    wasm.setWasmPaths(folder);
    await tf.setBackend('wasm');
  }
  const figures = SIZES.map((size) => {
    const [a, b] = [tf.randomUniform([size, size]), tf.randomUniform([size, size])];
    // Reading one value makes sure that the product is there.
    const multiply = () => tf.tidy(() => tf.slice(tf.matMul(a, b), [0, 0], [1, 1]).dataSync());
    multiply();
    const work = (2 * size ** 3) / 1e6;
    let [best, count] = [0, 0];
    const cpu = process.cpuUsage();
    const end = performance.now() + 3000;
    while (count < 5 || performance.now() < end) {
      const begin = performance.now();
      multiply();
      best = Math.max(best, work / (performance.now() - begin));
      count++;
    }
    const { user, system } = process.cpuUsage(cpu);
    // cpuUsage is in microseconds.
    const perProcessor = (work * count) / ((user + system) / 1000);
    tf.dispose([a, b]);
    return { best, perProcessor };
  });
  return { figures, step: measureStep(tf), loaded, bare, after, backend: tf.getBackend() };
}

if (process.argv[2] === '--measure') {
  console.log(`\n${JSON.stringify(await measure(process.argv[3]))}`);
} else {
  const best = SETTINGS.map(() => null);
  for (let round = 0; round < 2; round++) {
    for (const [at, { name, backend, env }] of SETTINGS.entries()) {
      const args = [fileURLToPath(import.meta.url), '--measure', backend];
      const options = { encoding: 'utf8', env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', ...env } };
      const { stdout, stderr, status } = spawnSync(process.execPath, args, options);
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
      const result = JSON.parse(stdout.trim().split('\n').at(-1));
      if (result.backend !== backend) throw new Error(`${name} ran on ${result.backend}`);
      const before = best[at];
      best[at] = before ? better(before, result) : result;
    }
  }
  console.log(
    `| GFLOP/s (per processor second) | ${SIZES.join(' | ')} | step, ms |\n|---|${'---|'.repeat(SIZES.length + 1)}`,
  );
  for (const [at, { name }] of SETTINGS.entries()) {
    const cells = best[at].figures.map((f) => `${f.best.toFixed(1)} (${f.perProcessor.toFixed(1)})`);
    console.log(`| ${name} | ${cells.join(' | ')} | ${Math.round(best[at].step)} |`);
  }
  const { loaded, bare, after } = best[0];
  console.log(`\nloading: ${Math.round(loaded)} ms, resident ${bare} MiB before and ${after} MiB after`);
}

function better(a, b) {
  const figures = a.figures.map((figure, at) => ({
    best: Math.max(figure.best, b.figures[at].best),
    perProcessor: Math.max(figure.perProcessor, b.figures[at].perProcessor),
  }));
  return { ...b, figures, step: Math.min(a.step, b.step), loaded: Math.min(a.loaded, b.loaded) };
}
