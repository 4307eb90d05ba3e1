// Properties of operations on every backend, over random sizes, values and quantizers. Failures shrink to a small case.
import type { Backend } from '@duobit/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { codedPlan, f32, matMulPlan, operationPlan, runOf } from '../src/operation-plans.ts';
import { createRandom, drawActivations } from '../src/random-values.ts';
import { makeDense, makeInteger, makeW11 } from '../src/tensors.ts';
import { checkPlanOnBackend } from '../src/trace.ts';
import { BACKENDS } from './backends.ts';

const size = (max: number) => fc.oneof(fc.integer({ min: 1, max }), fc.integer({ min: 1, max: 8 }));
const matrix = fc.record({
  seed: fc.nat(),
  rows: size(70),
  columns: size(600),
  tokens: fc.integer({ min: 1, max: 6 }),
  groupSize: fc.constantFrom(32, 64, 128, 256),
  deviation: fc.constantFrom(1e-4, 1, 1e3),
});

describe.each([...BACKENDS])('on $name', ({ create }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await create();
  });
  afterAll(() => backend?.dispose());

  const check = (
    plan: Parameters<typeof checkPlanOnBackend>[1],
    tensor: ReturnType<typeof makeDense>,
    tokens: number,
    x: Float32Array,
  ) =>
    checkPlanOnBackend(
      backend,
      plan,
      new Map([[tensor.data.info.name, tensor]]),
      [{ request: runOf(tokens), inputs: { x } }],
      tokens,
    );

  it('W(1+1) products, on codes and on f32, are right for any size', async () => {
    const clip = fc.double({ min: 0.3, max: 1.2, noNaN: true });
    await fc.assert(
      fc.asyncProperty(matrix, fc.boolean(), clip, clip, async (shape, offsets, clipLow, clipHigh) => {
        const random = createRandom(shape.seed);
        const { rows, columns, groupSize, tokens } = shape;
        const tensor = makeW11('w', rows, columns, { groupSize, offsets }, random);
        const x = drawActivations(random, tokens * columns, shape.deviation);
        await check(
          codedPlan(tensor, { bits: 4, clipLow, clipHigh, knee: null, planeScales: null }),
          tensor,
          tokens,
          x,
        );
        await check(matMulPlan(tensor, 'w11MatMul'), tensor, tokens, x);
      }),
      { seed: 101, numRuns: 60 },
    );
  });

  it('dense and integer products are right for any size', async () => {
    const kind = fc.constantFrom('f32', 'f16', 'bf16', 'int8', 'int4');
    await fc.assert(
      fc.asyncProperty(matrix, kind, async (shape, encoding) => {
        const random = createRandom(shape.seed);
        const { rows, columns, groupSize, tokens } = shape;
        const tensor =
          encoding === 'int8' || encoding === 'int4'
            ? makeInteger('w', rows, columns, encoding, groupSize, random)
            : makeDense('w', [rows, columns], encoding, random);
        const x = drawActivations(random, tokens * columns, shape.deviation);
        await check(matMulPlan(tensor, 'denseMatMul'), tensor, tokens, x);
        await check(matMulPlan(tensor, 'logits'), tensor, tokens, x);
      }),
      { seed: 102, numRuns: 60 },
    );
  });

  it('codes are the same bits for any finite input', async () => {
    const row = fc.array(fc.float({ noDefaultInfinity: true, noNaN: true }), { minLength: 1, maxLength: 40 });
    const clip = fc.float({ min: -2, max: 2, noNaN: true });
    await fc.assert(
      fc.asyncProperty(row, clip, clip, async (values, clipLow, clipHigh) => {
        const plan = operationPlan({ x: f32(values.length), 'x.a4': { kind: 'a4', width: values.length } }, [
          {
            op: 'quantizeActivations',
            input: 'x',
            quantizer: { bits: 4, clipLow, clipHigh, knee: null, planeScales: null },
            out: 'x.a4',
          },
        ]);
        const runs = [{ request: runOf(1), inputs: { x: Float32Array.from(values) } }];
        await checkPlanOnBackend(backend, plan, new Map(), runs, 1);
      }),
      { seed: 103, numRuns: 300 },
    );
  });
});
