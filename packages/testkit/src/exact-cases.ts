// Inputs and weights chosen so that every intermediate result is a small integer: whatever the order of summation and
// the width of accumulators, the outcome must be the integer itself, bit for bit.

import type { Backend, ExecutionPlan } from '@duobit/core';
import { type ActivationQuantizer, packInt4, packInt8 } from '@duobit/format';
import { compareValues, exactly } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import {
  COLUMNS,
  codedPlan,
  GROUP_SIZES,
  matMulPlan,
  ROWS,
  runOf,
  twiceCodedPlan,
} from './operation-plans.ts';
import { createRandom, drawInteger, drawIntegers, type Random } from './random-values.ts';
import { type MadeTensor, makeDense, makeW11 } from './tensors.ts';

const TOKENS = 3;
const PLAIN: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

const SMALL_LEVELS = {
  alpha: (source: Random) => drawInteger(source, 0, 3),
  mu: (source: Random) => drawInteger(source, -3, 3),
};

/** Runs x through a one-matrix plan and demands the exact products. */
async function demandExact(
  backend: Backend,
  label: string,
  plan: ExecutionPlan,
  tensor: MadeTensor,
  x: Float32Array,
): Promise<void> {
  const { rows, columns, weights } = tensor;
  const count = x.length / columns;
  const program = await backend.prepare(plan, async () => tensor.data, { capacity: count, maxRows: count });
  try {
    await program.write('x', x);
    await program.run(runOf(count));
    const expected: number[] = [];
    for (let t = 0; t < count; t++)
      for (let n = 0; n < rows; n++) {
        let sum = 0;
        for (let k = 0; k < columns; k++) sum += weights[n * columns + k]! * x[t * columns + k]!;
        expected.push(sum);
      }
    compareValues(label, await program.read('y'), exactly(expected));
  } finally {
    await program.dispose();
  }
}

/** Rows of integers -8 … 7 that contain both ends, so that lo = -8, the step is 1 and x^ = x. */
function drawCodedRows(random: Random, columns: number): Float32Array {
  const x = drawIntegers(random, TOKENS * columns, -8, 7);
  if (columns > 1)
    for (let t = 0; t < TOKENS; t++) {
      const first = drawInteger(random, 0, columns - 2);
      x[t * columns + first] = -8;
      x[t * columns + first + 1] = 7;
    }
  return x;
}

/** Integers 1 … 16 with both ends: nothing beside the row may be taken for one of its values. */
function drawPositiveRow(random: Random, columns: number): Float32Array {
  const x = drawIntegers(random, columns, 1, 16);
  x[0] = 16;
  x[columns - 1] = 1;
  return x;
}

/** int8 or int4 weights with scale 1 and codes -1 … 1, the first of each group 1. */
function makeUnitInteger(
  kind: 'int8' | 'int4',
  rows: number,
  columns: number,
  groupSize: number,
  random: Random,
) {
  const codes = Int8Array.from({ length: rows * columns }, (_, i) =>
    (i % columns) % groupSize === 0 ? 1 : drawInteger(random, -1, 1),
  );
  const scale = new Float32Array(rows * Math.ceil(columns / groupSize)).fill(1);
  const planes = (kind === 'int8' ? packInt8 : packInt4)({ rows, columns, groupSize, codes, scale });
  const weights = Float64Array.from(codes);
  return {
    data: {
      info: { name: 'w', shape: [rows, columns], encoding: { kind, groupSize }, activation: null },
      planes,
    },
    rows,
    columns,
    weights,
    magnitudes: weights.map(Math.abs),
    groupSize,
  };
}

/** Where kernels for one row divide it otherwise: in whole quads and not, on both sides of what they hold of it in registers. */
const LONG_COLUMNS = [2048, 2050, 2980, 4096, 4100] as const;

/**
 * Columns and outputs of one row. So many outputs that the warps of a GPU's blocks share them otherwise: all of them one tile, fewer each,
 * or several rounds, with few multiprocessors (the emulator of CUDA) or with more than a hundred; and columns for all warps that share one.
 */
const MANY_OUTPUTS = [
  [1100, 100],
  [1100, 200],
  [300, 700],
  [1100, 2200],
  [500, 4300],
  [200, 18_000],
] as const;

export function exactCases(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const [columns, rows] of MANY_OUTPUTS)
    cases.push({
      name: `integer sums of one row are exact, K ${columns}, N ${rows}`,
      run: async (backend) => {
        const random = createRandom(rows);
        const tensor = makeW11('w', rows, columns, { ...SMALL_LEVELS, groupSize: 64, offsets: true }, random);
        const row = drawPositiveRow(random, columns);
        await demandExact(backend, 'W(1+1)', twiceCodedPlan(tensor, PLAIN), tensor, row);
      },
    });
  for (const columns of LONG_COLUMNS)
    cases.push({
      name: `integer sums of one long row are exact, K ${columns}`,
      run: async (backend) => {
        const random = createRandom(7000 * columns);
        for (const groupSize of GROUP_SIZES)
          for (const offsets of [true, false]) {
            const tensor = makeW11('w', 17, columns, { ...SMALL_LEVELS, groupSize, offsets }, random);
            const row = drawPositiveRow(random, columns);
            const label = `W(1+1), group ${groupSize}, ${offsets ? 'with' : 'without'} offsets`;
            await demandExact(backend, label, twiceCodedPlan(tensor, PLAIN), tensor, row);
          }
      },
    });
  for (const columns of COLUMNS)
    for (const rows of ROWS)
      cases.push({
        name: `integer sums are exact, K ${columns}, N ${rows}`,
        run: async (backend) => {
          const random = createRandom(7000 * columns + rows);
          for (const groupSize of GROUP_SIZES)
            for (const offsets of [true, false]) {
              const tensor = makeW11('w', rows, columns, { ...SMALL_LEVELS, groupSize, offsets }, random);
              const x = drawCodedRows(random, columns);
              const label = `W(1+1), group ${groupSize}, ${offsets ? 'with' : 'without'} offsets`;
              await demandExact(backend, `${label}, codes`, codedPlan(tensor, PLAIN), tensor, x);
              const row = drawPositiveRow(random, columns);
              const twice = twiceCodedPlan(tensor, PLAIN);
              await demandExact(
                backend,
                `${label}, a row above 0 that is only multiplied`,
                twice,
                tensor,
                row,
              );
              await demandExact(backend, `${label}, f32`, matMulPlan(tensor, 'w11MatMul'), tensor, x);
            }
          for (const kind of ['f32', 'f16', 'bf16'] as const) {
            const tensor = makeDense('w', [rows, columns], kind, random, (source) =>
              drawInteger(source, -4, 4),
            );
            const x = drawIntegers(random, TOKENS * columns, -8, 7);
            await demandExact(backend, kind, matMulPlan(tensor, 'denseMatMul'), tensor, x);
          }
          for (const kind of ['int8', 'int4'] as const)
            for (const groupSize of GROUP_SIZES) {
              const tensor = makeUnitInteger(kind, rows, columns, groupSize, random);
              // 32,767 in every group makes a 16-bit step of 1, should a backend round activations to 16 bits.
              const x = drawIntegers(random, TOKENS * columns, -100, 100).map((value, i) =>
                (i % columns) % groupSize === 0 ? 32767 : value,
              );
              await demandExact(
                backend,
                `${kind}, group ${groupSize}`,
                matMulPlan(tensor, 'denseMatMul'),
                tensor,
                x,
              );
            }
        },
      });
  return cases;
}
