// All baselines through the one interface: sizes, order of losses, dead columns, degenerate Hessians, broken input.
import { DuobitError } from '@duobit/format';
import { beforeAll, describe, expect, it } from 'vitest';
import { Workspace } from '../../linalg/index.ts';
import { drawFloats, makeHessian, multiplyTransposed, sameBits } from '../../linalg/testing/matrices.ts';
import type { LayerProblem, LayerResult } from '../layer-method.ts';
import { createMethod, METHOD_NAMES } from './index.ts';

let space: Workspace;
beforeAll(async () => {
  space = await Workspace.create();
});

function makeProblem(seed: number, rows: number, columns: number, inputs = 4 * columns): LayerProblem {
  return {
    name: 'test.weight',
    rows,
    columns,
    weights: drawFloats(seed, rows * columns),
    hessian: makeHessian(seed + 1, columns, inputs),
  };
}

function run(name: string, problem: LayerProblem): LayerResult {
  return createMethod(name).quantize(problem, space);
}

/** Sum over rows of (w - q)^T H (w - q). */
function lossOf({ weights, hessian, rows, columns }: LayerProblem, { approximation }: LayerResult): number {
  const error = weights.map((weight, i) => weight - approximation[i]!);
  const product = multiplyTransposed(error, hessian, rows, columns, columns);
  return product.reduce((sum, value, i) => sum + value * error[i]!, 0);
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof DuobitError) return `${error.code} ${error.where}`;
    throw error;
  }
  return 'none';
}

const CALIBRATED = METHOD_NAMES.filter((name) => !name.startsWith('rtn'));

describe('createMethod', () => {
  it('makes each method under its own name and knows no other', () => {
    for (const name of METHOD_NAMES) expect(createMethod(name).name).toBe(name);
    expect(codeOf(() => createMethod('gptq-5'))).toBe('QUANTIZE_OPTION method');
    expect(codeOf(() => createMethod('toString'))).toBe('QUANTIZE_OPTION method');
  });
});

describe.each(METHOD_NAMES)('%s', (name) => {
  it('gives the same bits again, leaves its input alone and is finite', () => {
    const problem = makeProblem(3, 6, 160);
    const before = { weights: problem.weights.slice(), hessian: problem.hessian.slice() };
    const first = run(name, problem);
    expect(sameBits(problem.weights, before.weights) && sameBits(problem.hessian, before.hessian)).toBe(true);
    const second = run(name, problem);
    expect(sameBits(first.approximation, second.approximation)).toBe(true);
    expect(first.bytes).toBe(second.bytes);
    expect(first.approximation.every(Number.isFinite)).toBe(true);
  });

  it('takes layers of any width, one column too, and a Hessian of fewer inputs than columns', () => {
    for (const columns of [1, 2, 40, 129]) {
      const { approximation, bytes } = run(name, makeProblem(columns, 3, columns, 3));
      expect(approximation.every(Number.isFinite)).toBe(true);
      expect(approximation).toHaveLength(3 * columns);
      expect(Number.isInteger(bytes)).toBe(true);
    }
  });

  it('takes zeros: of weights, and of all inputs', () => {
    const problem = makeProblem(8, 4, 130);
    const zeros = run(name, { ...problem, weights: new Float32Array(4 * 130) });
    expect(zeros.approximation.every((value) => value === 0)).toBe(true);
    const silent = run(name, { ...problem, hessian: new Float32Array(130 * 130) });
    expect(silent.approximation.every(Number.isFinite)).toBe(true);
  });

  it('names weights too large for its f16 scales', () => {
    const problem = makeProblem(5, 3, 64);
    const weights = problem.weights.map((weight) => weight * 1e8);
    expect(codeOf(() => run(name, { ...problem, weights }))).toBe('QUANTIZE_OUT_OF_RANGE test.weight');
  });
});

describe.each(CALIBRATED)('%s', (name) => {
  it('is not moved by what the weights of a dead column are', () => {
    const columns = 140;
    const problem = makeProblem(21, 5, columns);
    const dead = 17;
    for (let i = 0; i < columns; i++)
      problem.hessian[i * columns + dead] = problem.hessian[dead * columns + i] = 0;
    // Small ones: PB-LLM's 8-bit range of a row is over all its weights, as in its official code.
    const runWith = (scale: number) => {
      for (let row = 0; row < 5; row++) problem.weights[row * columns + dead] = scale * (row - 2);
      return run(name, problem).approximation.map((value, i) => (i % columns === dead ? 0 : value));
    };
    expect(runWith(0.2)).toEqual(runWith(0));
  });

  it('refuses NaN and infinity in the Hessian, naming the column', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const problem = makeProblem(5, 3, 10);
      problem.hessian[34] = value;
      expect(codeOf(() => run(name, problem))).toBe('LINALG_NOT_FINITE column 4');
    }
  });
});

describe.each(METHOD_NAMES.filter((name) => name !== 'w11'))('%s', (name) => {
  it('refuses NaN and infinity in the weights, naming the layer', () => {
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const problem = makeProblem(5, 3, 10);
      problem.weights[23] = value;
      expect(codeOf(() => run(name, problem))).toBe('LINALG_NOT_FINITE test.weight');
    }
  });
});

describe('bits a weight', () => {
  const [rows, columns] = [256, 512];
  const bitsOf = (name: string) => {
    const { bytes } = run(name, makeProblem(2, rows, columns, 64));
    return (bytes * 8) / (rows * columns);
  };

  it.each([2, 3, 4])('of RTN and GPTQ at %i bits: bits + (16 + bits) / 128', (bits) => {
    expect(bitsOf(`rtn-${bits}`)).toBe(bits + (16 + bits) / 128);
    expect(bitsOf(`gptq-${bits}`)).toBe(bits + (16 + bits) / 128);
  });

  it('of PB-LLM: bitmap, 0.9, 0.8, 32 / 128 and 24 a row', () => {
    // The threshold itself is binary, so that each of four groups has a salient weight fewer.
    expect(bitsOf('pb-llm')).toBeCloseTo(1 + 0.9 + 0.8 + 32 / 128 + 24 / columns, 3);
  });

  it('of BiLLM: 2 + 7 * 16 / 128 and a bit a column', () => {
    expect(bitsOf('billm')).toBe(2.875 + 1 / rows);
  });

  it('of ARB-RC: more than BiLLM by column scales, less by one row scale', () => {
    const share = (r: number) => 2.75 + r + (1 + 32 + 32 * r) / rows;
    // 1 to 49 salient columns of 128, their plane padded to 32 bits a row.
    expect(bitsOf('arb-rc')).toBeGreaterThanOrEqual(share(1 / 128));
    expect(bitsOf('arb-rc')).toBeLessThanOrEqual(share(49 / 128) + 32 / columns);
  });
});

describe('losses', () => {
  it('GPTQ loses no more than RTN of as many bits where inputs are correlated', () => {
    for (let seed = 0; seed < 10; seed++) {
      const problem = makeProblem(seed, 24, 192, 100);
      for (const bits of [2, 3, 4])
        expect(lossOf(problem, run(`gptq-${bits}`, problem))).toBeLessThan(
          lossOf(problem, run(`rtn-${bits}`, problem)),
        );
    }
  });

  it('fall with bits, and from BiLLM to ARB-RC', () => {
    for (let seed = 0; seed < 4; seed++) {
      const problem = makeProblem(50 + seed, 48, 256, 200);
      const [four, three, two] = [4, 3, 2].map((bits) => lossOf(problem, run(`gptq-${bits}`, problem)));
      expect(four).toBeLessThan(three!);
      expect(three).toBeLessThan(two!);
      expect(lossOf(problem, run('arb-rc', problem))).toBeLessThan(lossOf(problem, run('billm', problem)));
    }
  });
});
