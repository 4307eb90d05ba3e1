// Conformance of rotateInput: the same bits everywhere, as 4-bit codes are made of them. Its result is read from its own
// slot, since a copy by addition would hide the sign of a zero.
import type { Backend } from '@duobit/core';
import type { ActivationQuantizer } from '@duobit/format';
import { demandBits } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { expectInputRotation } from './expected.ts';
import { f32, operationPlan, runOf } from './operation-plans.ts';
import { createRandom, drawActivations, drawInteger, drawIntegers } from './random-values.ts';

const WIDTHS = [1, 2, 3, 5, 8, 16, 31, 32, 64, 96, 100, 172, 256, 576, 1000, 1024, 1536];
/** Those that a workgroup or a block can hold at once, and one that it cannot. */
const CODED_WIDTHS = [3, 100, 576, 1024, 2048, 4096, 8320];
const ROWS = 5;
const QUANTIZER: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

/** Rotates rows of x to y, or in place, and demands every bit of the result, and that x stays as it was. */
async function demandRotated(
  backend: Backend,
  x: Float32Array,
  width: number,
  out: 'x' | 'y',
  isCoded = false,
): Promise<void> {
  const rows = x.length / width;
  const slots = { x: f32(width), y: f32(width), ...(isCoded && { codes: { kind: 'a4', width } as const }) };
  const plan = operationPlan(slots, [
    { op: 'rotateInput', input: 'x', out },
    ...(isCoded
      ? [{ op: 'quantizeActivations', input: out, quantizer: QUANTIZER, out: 'codes' } as const]
      : []),
  ]);
  const program = await backend.prepare(
    plan,
    async () => Promise.reject(new Error('the plan has no weights')),
    { capacity: rows, maxRows: rows },
  );
  try {
    // Once for all rows, then the first alone, which backends may treat differently.
    for (const count of [rows, 1]) {
      await program.write('x', x);
      await program.run(runOf(count));
      const expected: number[] = [];
      for (let t = 0; t < count; t++)
        expected.push(
          ...expectInputRotation(x.subarray(t * width, (t + 1) * width)).map(({ value }) => value),
        );
      demandBits(`width ${width}, ${count} rows into ${out}`, await program.read(out), expected);
      if (out !== 'x')
        demandBits(`width ${width}, input`, await program.read('x'), [...x.subarray(0, count * width)]);
    }
  } finally {
    await program.dispose();
  }
}

export function rotationCases(): ConformanceCase[] {
  return [
    ...WIDTHS.map(
      (width): ConformanceCase => ({
        name: `rotateInput bit for bit, to another slot and in place, width ${width}`,
        run: async (backend) => {
          const random = createRandom(3800 + width);
          // Small whole numbers cancel to zeros of either sign.
          const rows = [
            drawActivations(random, ROWS * width),
            drawActivations(random, ROWS * width, 1e-20),
            drawIntegers(random, ROWS * width, -1, 1).map((value) =>
              value === 0 && random() < 0.5 ? -0 : value,
            ),
          ];
          for (const x of rows)
            for (const out of ['y', 'x'] as const) await demandRotated(backend, x, width, out);
        },
      }),
    ),
    {
      name: 'rotateInput bit for bit where codes are made of its rows, of widths up to 8320',
      run: async (backend) => {
        const random = createRandom(3799);
        for (const width of CODED_WIDTHS)
          await demandRotated(backend, drawActivations(random, ROWS * width), width, 'y', true);
      },
    },
    {
      name: 'rotateInput of broken rows: what is not finite stays visible, and their neighbours are right',
      run: async (backend) => {
        const random = createRandom(39);
        const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
        for (const width of WIDTHS)
          for (const bad of [nan, infinity, -infinity, 3e38]) {
            const x = drawActivations(random, ROWS * width);
            // 3e38 is finite, and its sums with itself are not.
            for (let i = 0; i < 3; i++)
              x[width * (1 + 2 * (i % 2)) + drawInteger(random, 0, width - 1)] = bad;
            await demandRotated(backend, x, width, 'y');
          }
      },
    },
  ];
}
