// The suite itself: it must find faults. Each backend here is the reference with one plausible mistake.
import {
  type Backend,
  createReferenceBackend,
  type ExecutionPlan,
  type Operation,
  type Program,
  type RunRequest,
} from '@duobit/core';
import { f16ToF32, f32ToF16, type TensorData } from '@duobit/format';
import { describe, expect, it, vi } from 'vitest';
import { compareValues, type Expectation, exactly } from '../src/compare.ts';
import { conformanceCases, registerConformance } from '../src/conformance.ts';
import { gamma, UNIT } from '../src/tolerance.ts';

interface Fault {
  readonly operation?: (operation: Operation) => Operation;
  readonly plan?: (plan: ExecutionPlan) => ExecutionPlan;
  readonly weight?: (data: TensorData) => TensorData;
  readonly request?: (request: RunRequest) => RunRequest;
  readonly result?: (values: Float32Array, slot: string) => Float32Array;
}

function faulty(fault: Fault): Backend {
  const inner = createReferenceBackend();
  return {
    ...inner,
    async prepare(plan, weights, options) {
      const operations = plan.operations.map(fault.operation ?? ((operation) => operation));
      const changed = fault.plan?.({ ...plan, operations }) ?? { ...plan, operations };
      const program = await inner.prepare(
        changed,
        async (name) => {
          const data = await weights(name);
          return fault.weight?.(data) ?? data;
        },
        options,
      );
      const wrapped: Program = {
        weightBytes: program.weightBytes,
        write: (slot, values) => program.write(slot, values),
        run: (request) => program.run(fault.request?.(request) ?? request),
        read: async (slot) => {
          const values = await program.read(slot);
          return fault.result?.(values, slot) ?? values;
        },
        dispose: () => program.dispose(),
      };
      return wrapped;
    },
  };
}

/** Runs the cases whose names match until one fails; gives its message. */
async function findFailure(backend: Backend, names: RegExp): Promise<string | null> {
  const cases = conformanceCases('f32', true).filter(({ name }) => names.test(name));
  expect(cases.length).toBeGreaterThan(0);
  for (const { name, run } of cases) {
    try {
      await run(backend);
    } catch (error) {
      return `${name}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return null;
}

const swapPlanes = (data: TensorData): TensorData => {
  const { sign, bitmap } = data.planes;
  return sign && bitmap ? { ...data, planes: { ...data.planes, sign: bitmap, bitmap: sign } } : data;
};

/** Moves every scale of the last group of each row up by one unit in the last place of f16. */
const nudgeScales = (data: TensorData): TensorData => {
  if (!data.planes.scale) return data;
  const scale = data.planes.scale.slice();
  const view = new DataView(scale.buffer);
  for (let i = 0; i < scale.length; i += 2) view.setUint16(i, view.getUint16(i, true) + 1, true);
  return { ...data, planes: { ...data.planes, scale } };
};

const roundToF16 = (values: Float32Array): Float32Array => values.map((value) => f16ToF32(f32ToF16(value)));

/** The next f32 away from zero. */
const nextUp = (value: number): number => {
  const word = new Uint32Array(Float32Array.of(value).buffer);
  word[0]! += 1;
  return new Float32Array(word.buffer)[0]!;
};

const FAULTS: readonly (readonly [string, RegExp, Fault])[] = [
  ['results kept in f16', /^denseMatMul f32.*K 64, N 17/, { result: roundToF16 }],
  [
    'a relative error of 2^-13',
    /^rmsNorm/,
    { result: (values) => values.map((value) => value * (1 + 2 ** -13)) },
  ],
  [
    'a sum off by one',
    /^integer sums.*K 576, N 17/,
    { result: (values) => values.map((value) => value + 1) },
  ],
  ['sign and bitmap swapped', /^w11MatMul.*K 172, N 17/, { weight: swapPlanes }],
  ['scales off by one unit', /^denseMatMul int8.*K 64, N 17/, { weight: nudgeScales }],
  [
    'clips left out',
    /^quantizeActivations bit/,
    {
      operation: (operation) =>
        operation.op === 'quantizeActivations'
          ? { ...operation, quantizer: { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } }
          : operation,
    },
  ],
  [
    'a rotation left out',
    /^rotateInput bit.*width 96$/,
    {
      operation: (operation) =>
        operation.op === 'rotateInput'
          ? { op: 'add', input: operation.input, out: operation.out }
          : operation,
    },
  ],
  [
    'a rotation off by one unit in the last place',
    /^rotateInput bit.*width 96$/,
    { result: (values, slot) => (slot === 'y' ? values.map(nextUp) : values) },
  ],
  [
    'rotated inputs read unrotated in whole models',
    /^whole model, W\(1\+1\)A4 on rotated/,
    {
      operation: (operation) =>
        operation.op === 'quantizeActivations'
          ? { ...operation, input: operation.input.replace(/\.rotated$/, '') }
          : operation,
    },
  ],
  [
    'a column taken one off',
    /^takeColumns bit.*width 64$/,
    {
      operation: (operation) =>
        operation.op === 'takeColumns' && operation.columns.length === 1
          ? { ...operation, columns: [operation.columns[0]! - 1] }
          : operation,
    },
  ],
  [
    'taken columns left in what is kept',
    /^takeColumns bit.*width 64$/,
    {
      plan: (plan) => ({
        ...plan,
        operations: plan.operations.flatMap((operation): Operation[] =>
          operation.op === 'takeColumns'
            ? [operation, { op: 'add', input: operation.input, out: operation.kept }]
            : [operation],
        ),
      }),
    },
  ],
  [
    'outlier columns left in what is quantized in whole models',
    /^whole model, W\(1\+1\)A4 with outlier columns$/,
    {
      operation: (operation) =>
        operation.op === 'quantizeActivations'
          ? { ...operation, input: operation.input.replace(/\.kept$/, '') }
          : operation,
    },
  ],
  [
    'products of outlier columns left out',
    /^a container of weights with outlier columns$/,
    {
      weight: (data) =>
        data.info.name.endsWith(':outliers') && data.planes.codes
          ? { ...data, planes: { ...data.planes, codes: new Uint8Array(data.planes.codes.length) } }
          : data,
    },
  ],
  [
    'another epsilon',
    /^rmsNorm/,
    {
      operation: (operation) => (operation.op === 'rmsNorm' ? { ...operation, epsilon: 1.1e-5 } : operation),
    },
  ],
  [
    'a window one too wide',
    /^attention with a cache/,
    {
      operation: (operation) =>
        operation.op === 'attention' && operation.window !== null
          ? { ...operation, window: operation.window + 1 }
          : operation,
    },
  ],
  [
    'frequencies in f32',
    /^rope/,
    {
      plan: (plan) => ({ ...plan, ropeFrequencies: plan.ropeFrequencies.map((value) => Math.fround(value)) }),
    },
  ],
  [
    'keys and values exchanged in whole models',
    /^whole model, dense f32/,
    {
      operation: (operation) =>
        operation.op === 'attention'
          ? { ...operation, key: operation.value, value: operation.key }
          : operation,
    },
  ],
  [
    'all logits when the last were asked for',
    /^the same run/,
    { request: (request) => ({ ...request, logits: request.logits === 'last' ? 'all' : request.logits }) },
  ],
  [
    "every part at the first one's position",
    /^several sequences: rotary embedding/,
    {
      request: (request) => ({
        ...request,
        others: request.others?.map((part) => ({ ...part, position: request.position })),
      }),
    },
  ],
  [
    'runs of one part all in one cache',
    /^several sequences: whole model, dense f32/,
    { request: (request) => (request.others ? request : { ...request, sequence: 0 }) },
  ],
  [
    'logits of all rows whichever were wanted',
    /^several sequences: whole model, dense f32/,
    {
      request: (request) => ({
        ...request,
        others: request.others?.map((part) => ({ ...part, logits: 'all' })),
      }),
    },
  ],
  [
    'a cache that neighbours leak into',
    /^several sequences: what neighbours hold/,
    {
      result: (values, slot) =>
        slot === 'y' ? values.map((value, i) => value + 0 * values.at(i - 1)!) : values,
    },
  ],
  ['requests cut to fit', /^runs that do not fit/, { request: (request) => ({ ...request, rows: 1 }) }],
  [
    'statistics halved',
    /^one block with statistics/,
    { result: (values, slot) => (slot.startsWith('stat:') ? values.map((value) => value / 2) : values) },
  ],
];

describe('the conformance suite', () => {
  it.each(FAULTS)('finds %s', async (_, names, fault) => {
    expect(await findFailure(createReferenceBackend(), names)).toBeNull();
    expect(await findFailure(faulty(fault), names)).not.toBeNull();
  });

  it('names operation, index, actual, expected and allowed', async () => {
    const failure = await findFailure(faulty({ result: roundToF16 }), /^denseMatMul f32.*K 64, N 17/);
    expect(failure).toMatch(/operation 0 denseMatMul w: \d+ of 51 values are off/);
    expect(failure).toMatch(/\[\d+\] actual \S+ {2}expected \S+ {2}error \S+ {2}allowed \S+/);
  });

  it('reports an absent backend by name and reason, and runs nothing', () => {
    const skip = vi.fn();
    const test = Object.assign(vi.fn(), { skip });
    registerConformance(
      { describe: (_, register) => register(), it: test },
      { name: 'cuda', create: createReferenceBackend, absent: 'no driver found' },
    );
    expect(test).not.toHaveBeenCalled();
    expect(skip.mock.calls[0]?.[0]).toBe('cuda is absent: no driver found');
  });
});

describe('compareValues', () => {
  it('demands equal length, allows the tolerance and no more, and takes NaN for NaN only', () => {
    const expected: Expectation[] = [{ value: 1, allowed: 0.25 }];
    expect(() => compareValues('x', [1.25], expected)).not.toThrow();
    expect(() => compareValues('x', [1.26], expected)).toThrow('1 of 1 values are off');
    expect(() => compareValues('x', [Number.NaN], expected)).toThrow();
    expect(() => compareValues('x', [1, 1], expected)).toThrow('2 values, expected 1');
    expect(() => compareValues('x', [Number.NaN], [{ value: Number.NaN, allowed: 0 }])).not.toThrow();
    expect(() => compareValues('x', [0], [{ value: Number.NaN, allowed: 1 }])).toThrow();
    const infinite = exactly([Number.POSITIVE_INFINITY]);
    expect(() => compareValues('x', [Number.POSITIVE_INFINITY], infinite)).not.toThrow();
    expect(() => compareValues('x', [Number.NEGATIVE_INFINITY], infinite)).toThrow();
    expect(() => compareValues('x', [Math.fround(0.1)], exactly([0.1]))).not.toThrow();
    expect(() => compareValues('x', [Math.fround(0.1) + 2 ** -27], exactly([0.1]))).toThrow();
    expect(() => compareValues('x', new Array(20).fill(1), exactly(new Array(20).fill(2)))).toThrow(
      'and 12 more',
    );
  });
});

describe('gamma', () => {
  it('is n u / (1 - n u)', () => {
    expect(gamma(1)).toBeCloseTo(UNIT, 12);
    expect(gamma(1000) / (1000 * UNIT)).toBeCloseTo(1 / (1 - 1000 * UNIT), 12);
  });
});
