// Conformance of takeColumns, which moves values and computes none: the same bits everywhere.
import type { Backend, ExecutionPlan } from '@duobit/core';
import { demandBits } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { f32, operationPlan, runOf } from './operation-plans.ts';
import { createRandom, drawActivations, drawInteger } from './random-values.ts';

const WIDTHS = [1, 2, 3, 4, 5, 16, 17, 64, 100, 576, 1000];
const ROWS = 5;

function takingPlan(width: number, columns: readonly number[], kept = 'kept'): ExecutionPlan {
  return operationPlan({ x: f32(width), kept: f32(width), taken: f32(columns.length) }, [
    { op: 'takeColumns', input: 'x', columns, kept, taken: 'taken' },
  ]);
}

const prepare = (backend: Backend, plan: ExecutionPlan) =>
  backend.prepare(plan, async () => Promise.reject(new Error('the plan has no weights')), {
    capacity: ROWS,
    maxRows: ROWS,
  });

/** Takes columns of x and demands every bit of both results, and that x stays as it was. */
async function demandTaken(
  backend: Backend,
  x: Float32Array,
  width: number,
  columns: readonly number[],
): Promise<void> {
  const program = await prepare(backend, takingPlan(width, columns));
  try {
    // Once for all rows, then the first alone, which backends may treat differently.
    for (const count of [ROWS, 1]) {
      const rows = x.subarray(0, count * width);
      await program.write('x', rows);
      await program.run(runOf(count));
      const label = `columns ${columns.join(' ')} of ${width}, ${count} rows`;
      const kept = rows.map((value, i) => (columns.includes(i % width) ? 0 : value));
      const taken = rows.filter((_, i) => columns.includes(i % width));
      demandBits(`${label}, kept`, await program.read('kept'), kept);
      demandBits(`${label}, taken`, await program.read('taken'), taken);
      demandBits(`${label}, input`, await program.read('x'), rows);
    }
  } finally {
    await program.dispose();
  }
}

export function columnCases(): ConformanceCase[] {
  const taking = WIDTHS.map(
    (width): ConformanceCase => ({
      name: `takeColumns bit for bit, width ${width}`,
      run: async (backend) => {
        const random = createRandom(4700 + width);
        const all = Array.from({ length: width }, (_, k) => k);
        const ends = width === 1 ? [0] : [0, width - 1];
        const some = all.filter(() => random() < 0.2);
        const x = drawActivations(random, ROWS * width);
        // In any place, so in taken columns too: what is not finite, and a zero with a sign.
        const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
        for (const value of [nan, infinity, -infinity, -0]) x[drawInteger(random, 0, x.length - 1)] = value;
        for (const columns of [ends, [width - 1], [width >> 1], all, some])
          if (columns.length > 0) await demandTaken(backend, x, width, columns);
        await demandTaken(backend, x.fill(nan, 0, width), width, ends);
      },
    }),
  );
  const refused: ConformanceCase = {
    name: 'takeColumns of columns that do not ascend or do not exist, or onto its input, is refused when prepared',
    run: async (backend) => {
      const plans: [string, ExecutionPlan][] = [
        ...[
          [1, 1],
          [2, 1],
          [0, 3],
          [-1, 0],
          [0, 0.5],
          [0, Number.NaN],
        ].map((columns): [string, ExecutionPlan] => [columns.join(), takingPlan(3, columns)]),
        ['onto its input', takingPlan(3, [0], 'x')],
        ['onto what it takes', takingPlan(3, [0, 1, 2], 'taken')],
      ];
      for (const [what, plan] of plans) {
        let code: unknown = 'none';
        try {
          await prepare(backend, plan);
        } catch (error) {
          code = error instanceof Error && 'code' in error ? error.code : error;
        }
        if (code !== 'PLAN_INVALID') throw new Error(`${what}: ${String(code)}, expected PLAN_INVALID`);
      }
    },
  };
  return [...taking, refused];
}
