// Speed of the training kernels: products in the shapes of training, then one whole step (forward, backward, Adam) of one Llama
// block in the shapes of two models, with the share of each kernel. "plain" trains f32 weights, "quantized" puts before each linear
// layer a rotation and 4-bit activations, and takes weights to the nearest of their levels, as quantization-aware training does.
// Shortest of many runs, and GFLOP/s per second of processor time, as on a shared machine the clock measures the neighbours too.
// Needs `npm run build`.
//
//   node scripts/bench-training.mjs [--isa <name>] [--threads <n>] [--seconds <of each>] [--only products | steps]
import { parseArgs } from 'node:util';
import { createTrainingKernels } from '@duobit/runtime-node';

const { values: options } = parseArgs({
  options: {
    isa: { type: 'string' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '0.5' },
    only: { type: 'string' },
  },
});
const seconds = Number(options.seconds);
const GROUP = 128;

const MODELS = {
  'TinyStories-656K': { hidden: 128, inner: 384, headCount: 8, kvHeadCount: 4, headSize: 16, windows: 4 },
  'SmolLM2-135M': { hidden: 576, inner: 1536, headCount: 9, kvHeadCount: 3, headSize: 64, windows: 2 },
};
const TOKENS = 512;

const draw = (count, scale = 1) =>
  Float32Array.from({ length: count }, () => scale * (Math.random() * 2 - 1));
const make = (count) => new Float32Array(count);
const processorSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Shortest time of one call by the clock, and by the processor, over runs of about a tenth of the time. */
function time(act) {
  act();
  let [clock, processor] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const end = performance.now() + 1000 * seconds;
  // Processor time counts in steps of the system, so calls are taken together.
  for (let turns = 1; performance.now() < end || clock === Number.POSITIVE_INFINITY; ) {
    const [start, startProcessor] = [performance.now(), processorSeconds()];
    for (let i = 0; i < turns; i++) act();
    const took = (performance.now() - start) / 1000;
    // A step is long enough by itself; of products several fit into a step of the system's count.
    if (took < Math.min(0.025, seconds / 20)) turns *= 2;
    else {
      clock = Math.min(clock, took / turns);
      processor = Math.min(processor, (processorSeconds() - startProcessor) / turns);
    }
  }
  return { clock, processor };
}

/** The kernels, with the time that each takes added up. */
function watch(kernels) {
  const shares = new Map();
  const watched = {};
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(kernels)))
    if (name !== 'constructor')
      watched[name] = (...args) => {
        const start = performance.now();
        const result = kernels[name](...args);
        shares.set(name, (shares.get(name) ?? 0) + performance.now() - start);
        return result;
      };
  return { watched, shares };
}

/** A linear layer of a block: out = x W^T, W [rows, columns], with room for all that training needs. */
class Linear {
  constructor(tokens, rows, columns, quantized) {
    Object.assign(this, { tokens, rows, columns, quantized });
    const size = rows * columns;
    const groups = Math.ceil(columns / GROUP);
    this.parameters = [draw(size, columns ** -0.5)];
    if (quantized) {
      const levels = Array.from({ length: rows * groups * 4 }, (_, i) => ((i % 4) - 1.5) * columns ** -0.5);
      this.parameters.push(Float32Array.from(levels), Float32Array.of(0.95, 0.95));
      this.rounded = make(size);
      this.turned = make(tokens * columns);
      this.decoded = make(tokens * columns);
      this.dTurned = make(tokens * columns);
      this.dDecoded = make(tokens * columns);
    }
    this.gradients = this.parameters.map(({ length }) => make(length));
    this.means = this.parameters.map(({ length }) => make(length));
    this.squares = this.parameters.map(({ length }) => make(length));
    this.out = make(tokens * rows);
    this.dX = make(tokens * columns);
  }

  forward(k, x) {
    const [weight, levels, clips] = this.parameters;
    this.x = x;
    if (this.quantized) {
      k.rotate(x, this.columns, false, this.turned);
      k.quantizeActivations(this.turned, this.columns, clips, this.decoded);
      k.nearestLevels(weight, levels, this.columns, GROUP, this.rounded);
      this.x = this.decoded;
    }
    const sizes = { m: this.tokens, n: this.rows, k: this.columns };
    k.matMul(this.x, this.quantized ? this.rounded : weight, this.out, sizes, { a: false, b: true });
    return this.out;
  }

  backward(k, dOut) {
    const [weight, levels, clips] = this.parameters;
    const { tokens, rows, columns, quantized } = this;
    const dX = quantized ? this.dDecoded : this.dX;
    k.matMul(dOut, this.x, this.gradients[0], { m: rows, n: columns, k: tokens }, { a: true, b: false });
    k.matMul(
      dOut,
      quantized ? this.rounded : weight,
      dX,
      { m: tokens, n: columns, k: rows },
      { a: false, b: false },
    );
    if (quantized) {
      k.nearestLevelsGradient(weight, levels, columns, GROUP, this.gradients[0], this.gradients[1]);
      k.quantizeActivationsGradient(this.turned, columns, clips, dX, this.dTurned, this.gradients[2]);
      k.rotate(this.dTurned, columns, true, this.dX);
    }
    return this.dX;
  }
}

/** One block: a step is forward, backward of a given gradient, the norm of all gradients, Adam. */
function createBlock({ hidden, inner, windows, ...heads }, quantized) {
  const tokens = windows * TOKENS;
  const rows = { windows, tokens: TOKENS };
  const { headCount, kvHeadCount, headSize } = heads;
  const frequencies = Float64Array.from({ length: headSize / 2 }, (_, i) => 10000 ** ((-2 * i) / headSize));
  const linear = (outputs, inputs) => new Linear(tokens, outputs, inputs, quantized);
  const query = linear(headCount * headSize, hidden);
  const [key, value] = [0, 1].map(() => linear(kvHeadCount * headSize, hidden));
  const out = linear(hidden, headCount * headSize);
  const [gate, up] = [0, 1].map(() => linear(inner, hidden));
  const down = linear(hidden, inner);
  const norms = [0, 1].map(() => ({
    parameters: [draw(hidden)],
    gradients: [make(hidden)],
    means: [make(hidden)],
    squares: [make(hidden)],
  }));
  const layers = [query, key, value, out, gate, up, down, ...norms];
  const wide = () => make(tokens * hidden);
  const like = (layer) => make(layer.out.length);
  const [normed, between, normed2, result, dBetween, dNorm, dInput, sum] = Array.from({ length: 8 }, wide);
  const [turnedQ, dTurnedQ, dQ, mixed] = Array.from({ length: 4 }, () => like(query));
  const [turnedK, dTurnedK, dK, dV] = Array.from({ length: 4 }, () => like(key));
  const [active, dGate, dUp] = Array.from({ length: 3 }, () => like(gate));
  const logSums = make(tokens * headCount);
  const [x, dResult] = [draw(tokens * hidden), draw(tokens * hidden)];
  const EPSILON = 1e-5;
  let count = 0;
  return (k) => {
    const [first, second] = norms.map(({ parameters }) => parameters[0]);
    k.rmsNorm(x, first, EPSILON, normed);
    k.rope(query.forward(k, normed), headCount, frequencies, rows, false, turnedQ);
    k.rope(key.forward(k, normed), kvHeadCount, frequencies, rows, false, turnedK);
    value.forward(k, normed);
    k.attention(turnedQ, turnedK, value.out, heads, rows, null, mixed, logSums);
    k.add(x, out.forward(k, mixed), between);
    k.rmsNorm(between, second, EPSILON, normed2);
    k.siluMul(gate.forward(k, normed2), up.forward(k, normed2), active);
    k.add(between, down.forward(k, active), result);

    k.siluMulGradient(gate.out, up.out, down.backward(k, dResult), dGate, dUp);
    k.add(gate.backward(k, dGate), up.backward(k, dUp), sum);
    k.rmsNormGradient(between, second, EPSILON, sum, dNorm, norms[1].gradients[0]);
    k.add(dResult, dNorm, dBetween);
    k.attentionGradient(
      { query: turnedQ, key: turnedK, value: value.out },
      { out: mixed, logSums },
      out.backward(k, dBetween),
      heads,
      rows,
      null,
      { query: dTurnedQ, key: dTurnedK, value: dV },
    );
    k.rope(dTurnedQ, headCount, frequencies, rows, true, dQ);
    k.rope(dTurnedK, kvHeadCount, frequencies, rows, true, dK);
    k.add(query.backward(k, dQ), key.backward(k, dK), sum);
    k.add(sum, value.backward(k, dV), sum);
    k.rmsNormGradient(x, first, EPSILON, sum, dNorm, norms[0].gradients[0]);
    k.add(dBetween, dNorm, dInput);

    let total = 0;
    for (const { gradients } of layers) for (const gradient of gradients) total += k.sumOfSquares(gradient);
    const adam = {
      rate: 1e-4,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      step: ++count,
      scale: Math.min(1, 1 / Math.sqrt(total)),
    };
    for (const { parameters, gradients, means, squares } of layers)
      parameters.forEach((p, i) => {
        k.adam(p, gradients[i], means[i], squares[i], adam);
      });
    return total;
  };
}

function benchProducts(kernels) {
  console.log(`matMul, 1 thread, ${kernels.name}: GFLOP/s (per processor second)`);
  for (const m of [512, 1024, 2048])
    for (const [n, k] of [
      [128, 128],
      [384, 128],
      [128, 384],
      [384, 384],
      [576, 576],
      [1536, 576],
      [576, 1536],
      [1536, 1536],
    ]) {
      const [a, b, out, b2, out2] = [m * k, k * n, m * n, m * n, k * n].map((size) => draw(size));
      const cases = [
        ["x W'", () => kernels.matMul(a, b, out, { m, n, k }, { a: false, b: true })],
        ['x W', () => kernels.matMul(a, b, out, { m, n, k }, { a: false, b: false })],
        ["x' y", () => kernels.matMul(a, b2, out2, { m: k, n, k: m }, { a: true, b: false })],
      ];
      const cells = cases.map(([name, act]) => {
        const { clock, processor } = time(act);
        const rate = (took) => ((2 * m * n * k) / took / 1e9).toFixed(1);
        return `${name} ${rate(clock)} (${rate(processor)})`;
      });
      console.log(`  ${m} x ${n} x ${k}: ${cells.join('   ')}`);
    }
}

function benchSteps(kernels) {
  for (const [model, shape] of Object.entries(MODELS))
    for (const quantized of [false, true]) {
      const step = createBlock(shape, quantized);
      const { clock, processor } = time(() => step(kernels));
      const tokens = shape.windows * TOKENS;
      const { watched, shares } = watch(kernels);
      for (let i = 0; i < 5; i++) step(watched);
      const all = [...shares.values()].reduce((sum, share) => sum + share, 0);
      const parts = [...shares]
        .sort((a, b) => b[1] - a[1])
        .map(([name, share]) => `${name} ${((100 * share) / all).toFixed(1)} %`);
      console.log(
        `${model}, ${quantized ? 'quantized' : 'plain'}, ${tokens} tokens, ${kernels.threads} threads: ` +
          `${(1000 * clock).toFixed(1)} ms, ${Math.round(tokens / clock)} tokens/s ` +
          `(${(1000 * processor).toFixed(1)} ms of processor time)\n  ${parts.join(', ')}`,
      );
    }
}

const instructionSet = options.isa;
if (options.only !== 'steps') benchProducts(createTrainingKernels({ threads: 1, instructionSet }));
if (options.only !== 'products')
  for (const threads of new Set([1, Number(options.threads)]))
    benchSteps(createTrainingKernels({ threads, instructionSet }));
