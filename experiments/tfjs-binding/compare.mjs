// Runs operations, gradients and Adam on the backends `tensorflow` and `cpu`, and prints the largest difference of each,
// relative to the largest value. Fails when one is above 1e-5, or when an operation runs on `cpu` only.
//
//   node experiments/tfjs-binding/compare.mjs
import { load } from './load.mjs';

const { tf, binding } = await load();
console.log(`TensorFlow ${binding.TF_Version}, TensorFlow.js ${tf.version.tfjs}, Node ${process.version}`);

/** The same numbers on every backend. */
function makeRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 2 - 1;
  };
}
function randomTensor(seed, ...shape) {
  const next = makeRandom(seed);
  return tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next), shape);
}

const indices = () => tf.tensor1d([3, 0, 3, 7, 11, 3, 2, 0], 'int32');
const rmsNorm = (x) => tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5)));
const straightThrough = () =>
  tf.customGrad((x, save) => {
    save([x]);
    const bounded = (dy, [kept]) =>
      tf.mul(dy, tf.cast(tf.logicalAnd(tf.greater(kept, -0.8), tf.less(kept, 0.8)), 'float32'));
    return { value: tf.round(tf.mul(x, 1.5)), gradFunc: bounded };
  });
function crossEntropy(logits, labels, classes) {
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.oneHot(labels, classes), tf.logSoftmax(logits)), -1)));
}

/** Each gives one tensor, of which values are compared; with `grad`, also the gradient by its first input. */
const cases = {
  matMul: [(a, b) => tf.matMul(a, b), [17, 33], [33, 29]],
  'matMul, second transposed': [(a, b) => tf.matMul(a, b, false, true), [17, 33], [29, 33]],
  'matMul, batches of 4-D': [(a, b) => tf.matMul(a, b), [2, 3, 8, 16], [2, 3, 16, 8]],
  'gather of rows': [(a) => tf.square(tf.gather(a, indices())), [12, 9]],
  softmax: [(a) => tf.square(tf.softmax(a)), [7, 31]],
  logSoftmax: [(a) => tf.square(tf.logSoftmax(a)), [7, 31]],
  // A square would do no good here: the sum of squares of a normalised row is fixed, and its gradient only rounding.
  'RMS norm': [(a) => tf.sigmoid(rmsNorm(a)), [6, 48]],
  SiLU: [(a) => tf.mul(a, tf.sigmoid(a)), [6, 48]],
  erf: [(a) => tf.erf(a), [6, 48]],
  'transpose, reshape, slice, concat': [
    (a) => {
      const turned = tf.reshape(tf.transpose(a, [1, 0, 2]), [8, 30]);
      return tf.square(tf.concat([tf.slice(turned, [0, 3], [8, 10]), tf.slice(turned, [0, 0], [8, 5])], 1));
    },
    [5, 8, 6],
  ],
  'split, stack': [(a) => tf.square(tf.stack(tf.split(a, 4, 1))), [6, 48]],
  cumsum: [(a) => tf.square(tf.cumsum(a, 1)), [6, 20]],
  'max, min': [(a) => tf.add(tf.max(a, -1), tf.min(a, -1)), [6, 20]],
  'abs, maximum, clip': [(a) => tf.clipByValue(tf.maximum(tf.abs(a), 0.2), 0.1, 0.7), [6, 20]],
  'where with a fixed condition': [
    (a) => tf.where(tf.tensor2d([[1, 0, 1, 1]], [1, 4], 'bool').tile([6, 1]), tf.square(a), tf.neg(a)),
    [6, 4],
  ],
  'exp, log, sqrt, pow, divide': [
    (a) => {
      const positive = tf.add(tf.exp(a), 0.5);
      return tf.div(tf.log(positive), tf.add(tf.sqrt(positive), tf.pow(positive, 1.5)));
    },
    [6, 20],
  ],
  'straight-through rounding (customGrad)': [(a) => tf.square(straightThrough()(a)), [6, 20]],
  'cross-entropy over oneHot': [(a) => crossEntropy(a, indices(), 12), [8, 12]],
  einsum: [(a, b) => tf.einsum('bij,bkj->bik', a, b), [2, 6, 8], [2, 5, 8]],
  'sort (topk)': [(a) => tf.topk(a, 5).values, [6, 20]],
};
/** tfjs-core itself has no gradient for these, on any backend. */
const WITHOUT_GRADIENT = ['einsum', 'sort (topk)'];

/** A small language model: embedding, RMS norm, attention with a mask, SiLU, head; `steps` of Adam. Losses, then weights. */
function train(steps) {
  const [vocabulary, width, hidden, length] = [12, 16, 40, 8];
  const shapes = {
    embedding: [vocabulary, width],
    query: [width, width],
    key: [width, width],
    value: [width, width],
    up: [width, hidden],
    down: [hidden, width],
  };
  const weights = Object.values(shapes).map((shape, at) =>
    tf.variable(tf.mul(randomTensor(100 + at, ...shape), 0.5), true),
  );
  const [embedding, query, key, value, up, down] = weights;
  const mask = tf.mul(tf.sub(tf.linalg.bandPart(tf.ones([length, length]), -1, 0), 1), 1e9);
  const optimizer = tf.train.adam(0.02);
  const losses = [];
  for (let step = 0; step < steps; step++) {
    const loss = optimizer.minimize(
      () => {
        const x = tf.gather(embedding, indices());
        const y = rmsNorm(x);
        const scores = tf.add(
          tf.mul(tf.matMul(tf.matMul(y, query), tf.matMul(y, key), false, true), 0.25),
          mask,
        );
        const mixed = tf.add(x, tf.matMul(tf.softmax(scores), tf.matMul(y, value)));
        const inner = tf.matMul(rmsNorm(mixed), up);
        const out = tf.add(mixed, tf.matMul(tf.mul(inner, tf.sigmoid(inner)), down));
        const next = tf.tensor1d([0, 3, 7, 11, 3, 2, 0, 5], 'int32');
        return crossEntropy(tf.matMul(rmsNorm(out), embedding, false, true), next, vocabulary);
      },
      true,
      weights,
    );
    losses.push(loss.dataSync()[0]);
  }
  const values = weights.flatMap((weight) => Array.from(weight.dataSync()));
  for (const weight of weights) weight.dispose();
  optimizer.dispose();
  return { losses, values };
}

function difference(a, b) {
  if (a.length !== b.length) throw new Error(`lengths ${a.length} and ${b.length}`);
  let largest = 0;
  let scale = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i]) || Number.isNaN(b[i])) return Number.NaN;
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    scale = Math.max(scale, Math.abs(b[i]));
  }
  return scale === 0 ? largest : largest / scale;
}

async function on(backend, run) {
  await tf.setBackend(backend);
  return run();
}
const attempt = async (backend, run) => {
  try {
    return { values: await on(backend, () => tf.tidy(() => run().dataSync())) };
  } catch (error) {
    return { error: error.message.split('\n')[0] };
  }
};

let failures = 0;
function report(mine, theirs) {
  if (mine.error && theirs.error) return `neither (${theirs.error.slice(0, 60)})`;
  if (mine.error) failures++;
  if (mine.error) return `FAILS: ${mine.error}`;
  if (theirs.error) return 'runs, cpu does not';
  const found = difference(mine.values, theirs.values);
  if (!(found <= 1e-5)) failures++;
  return `${found.toExponential(1)}${found <= 1e-5 ? '' : ' TOO LARGE'}`;
}

for (const [name, [compute, ...shapes]] of Object.entries(cases)) {
  const both = {};
  for (const backend of ['tensorflow', 'cpu']) {
    const inputs = () => shapes.map((shape, at) => randomTensor(7 + at, ...shape));
    both[backend] = [await attempt(backend, () => compute(...inputs()))];
    if (WITHOUT_GRADIENT.includes(name)) continue;
    for (let by = 0; by < shapes.length; by++) {
      const gradient = () => tf.grads((...given) => tf.sum(tf.mul(compute(...given), 0.7)))(inputs())[by];
      both[backend].push(await attempt(backend, gradient));
    }
  }
  const [forward, ...gradients] = both.tensorflow.map((mine, at) => report(mine, both.cpu[at]));
  console.log(`${name}: value ${forward}${gradients.map((text) => `, gradient ${text}`).join('')}`);
}

// Later steps say less: on so small a text the loss begins to jump, and a jump makes much of any rounding.
const STEPS = 40;
const mine = await on('tensorflow', () => train(STEPS));
const theirs = await on('cpu', () => train(STEPS));
const apart = difference(mine.values, theirs.values);
const lossApart = difference(mine.losses, theirs.losses);
const [first, last] = [mine.losses[0], mine.losses.at(-1)].map((loss) => loss.toFixed(4));
console.log(
  `Adam, ${STEPS} steps: loss ${first} to ${last}; losses differ by ${lossApart.toExponential(1)}, weights by ${apart.toExponential(1)}`,
);
// Adam divides by the size of the gradient: where that is small, what rounding did to it is not.
if (!(apart <= 1e-4) || !(lossApart <= 1e-5) || !(last < first / 2)) failures++;

await tf.setBackend('tensorflow');
const before = tf.memory().numTensors;
const handles = binding.getNumOfTensors();
const resident = [];
for (let round = 0; round < 20; round++) {
  for (let at = 0; at < 200; at++) {
    tf.tidy(() =>
      tf
        .matMul(tf.tensor2d(new Float32Array(256 * 256).fill(at), [256, 256]), tf.ones([256, 256]))
        .dataSync(),
    );
  }
  await new Promise((done) => setImmediate(done));
  resident.push(Math.round(process.memoryUsage().rss / 2 ** 20));
}
const left = tf.memory().numTensors - before;
console.log(
  `4000 tensors made from typed arrays: ${left} tensors and ${binding.getNumOfTensors() - handles} handles left over, resident ${resident[4]} then ${resident[19]} MiB`,
);
if (left !== 0) failures++;
console.log(failures === 0 ? 'all agree' : `${failures} FAILED`);
process.exitCode = failures === 0 ? 0 : 1;
