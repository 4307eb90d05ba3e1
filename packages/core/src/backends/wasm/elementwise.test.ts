// The light operations of the wasm backend against plain loops in double precision, over random widths.
import type { Backend, ExecutionPlan, Operation, Slot } from '@duobit/core';
import { rotateInput } from '@duobit/format';
import {
  createRandom,
  drawActivations,
  drawInteger,
  type MadeTensor,
  makeDense,
  makeInteger,
  tolerance,
} from '@duobit/testkit';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createWasmBackend } from './backend.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await createWasmBackend();
});

const size = {
  width: fc.integer({ min: 1, max: 90 }),
  rows: fc.integer({ min: 1, max: 5 }),
  seed: fc.integer(),
};

interface Job {
  readonly slots: Record<string, Slot>;
  readonly operation: Operation;
  readonly inputs: Readonly<Record<string, Float32Array | Int32Array>>;
  readonly rows: number;
  readonly weight?: MadeTensor;
  readonly position?: number;
  readonly frequencies?: Float64Array;
  readonly runs?: number;
}

/** Runs one operation and reads a slot. */
async function runOperation(job: Job, out: string): Promise<Float32Array> {
  const { rows, position = 0, frequencies = new Float64Array(1) } = job;
  const plan: ExecutionPlan = {
    slots: job.slots,
    operations: [job.operation],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: frequencies,
  };
  const options = { capacity: position + rows, maxRows: rows };
  const program = await backend.prepare(plan, async () => job.weight!.data, options);
  for (const [slot, values] of Object.entries(job.inputs)) await program.write(slot, values);
  for (let run = 0; run < (job.runs ?? 1); run++) await program.run({ rows, position, logits: 'none' });
  const result = await program.read(out);
  await program.dispose();
  return result;
}

function expectWithin(
  actual: Float32Array,
  exact: (i: number) => number,
  bound: (i: number) => number,
): void {
  actual.forEach((value, i) => {
    if (!(Math.abs(value - exact(i)) <= bound(i)))
      expect.fail(`value ${i}: ${value}, exact ${exact(i)} +- ${bound(i)}`);
  });
}

describe('light operations', () => {
  it('rmsNorm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(size), async ({ width, rows, seed }) => {
        const random = createRandom(seed);
        const weight = makeDense('w', [width], 'f32', random, () => 0.5 + random());
        const x = drawActivations(random, rows * width);
        const slot = { kind: 'f32', width } as const;
        const operation = { op: 'rmsNorm', input: 'x', weight: 'w', epsilon: 1e-5, out: 'y' } as const;
        const y = await runOperation(
          { slots: { x: slot, y: slot }, operation, inputs: { x }, rows, weight },
          'y',
        );
        const exact = (i: number) => {
          const row = x.subarray(i - (i % width), i - (i % width) + width);
          const square = row.reduce((sum, value) => sum + value * value, 0) / width;
          return (x[i]! / Math.sqrt(square + 1e-5)) * weight.weights[i % width]!;
        };
        expectWithin(y, exact, (i) => tolerance.normBound(width, exact(i)));
      }),
    );
  });

  it('rope, at any position, for any even head size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record(size),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(5000),
        async ({ width: half, rows, seed }, headCount, position) => {
          const random = createRandom(seed);
          const frequencies = Float64Array.from({ length: half }, () => random());
          const width = headCount * 2 * half;
          const x = drawActivations(random, rows * width);
          const operation = { op: 'rope', target: 'x', headCount, headSize: 2 * half } as const;
          const slots = { x: { kind: 'f32', width } } as const;
          const y = await runOperation({ slots, operation, inputs: { x }, rows, position, frequencies }, 'x');
          const pair = (i: number) => {
            const at = i % (2 * half);
            const angle = (position + Math.floor(i / width)) * frequencies[at % half]!;
            return at < half
              ? [x[i]! * Math.cos(angle), -x[i + half]! * Math.sin(angle)]
              : [x[i]! * Math.cos(angle), x[i - half]! * Math.sin(angle)];
          };
          expectWithin(
            y,
            (i) => pair(i)[0]! + pair(i)[1]!,
            (i) => tolerance.rotationBound(pair(i)[0]!, pair(i)[1]!),
          );
        },
      ),
    );
  });

  it('rotateInput, bit for bit', async () => {
    const wide = { ...size, width: fc.oneof(size.width, fc.integer({ min: 91, max: 2100 })) };
    await fc.assert(
      fc.asyncProperty(fc.record(wide), async ({ width, rows, seed }) => {
        const x = drawActivations(createRandom(seed), rows * width);
        const slot = { kind: 'f32', width } as const;
        const operation = { op: 'rotateInput', input: 'x', out: 'y' } as const;
        const y = await runOperation({ slots: { x: slot, y: slot }, operation, inputs: { x }, rows }, 'y');
        for (let t = 0; t < rows; t++) rotateInput(x.subarray(t * width, (t + 1) * width));
        expect(y).toEqual(x);
      }),
    );
  });

  it('siluMul and add', async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(size), async ({ width, rows, seed }) => {
        const random = createRandom(seed);
        const [a, b] = [drawActivations(random, rows * width), drawActivations(random, rows * width)];
        const slot = { kind: 'f32', width } as const;
        const slots = { a: slot, b: slot, y: slot };
        const gated = { op: 'siluMul', gate: 'a', up: 'b', out: 'y' } as const;
        const exact = (i: number) => (a[i]! / (1 + Math.exp(-a[i]!))) * b[i]!;
        const y = await runOperation({ slots, operation: gated, inputs: { a, b }, rows }, 'y');
        expectWithin(y, exact, (i) => tolerance.gateBound(exact(i), a[i]!, b[i]!));
        const added = { op: 'add', input: 'a', out: 'b' } as const;
        const sum = await runOperation({ slots, operation: added, inputs: { a, b }, rows }, 'b');
        expect(sum).toEqual(a.map((value, i) => value + b[i]!));
      }),
    );
  });

  it('accumulateGram, over several runs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.record(size), fc.boolean(), async ({ width, rows, seed }, symmetric) => {
        const random = createRandom(seed);
        const [x, y] = [drawActivations(random, rows * width), drawActivations(random, rows * width)];
        const slot = { kind: 'f32', width } as const;
        const slots = { x: slot, y: slot, s: { kind: 'stat', width: width ** 2 } } as const;
        const operation = {
          op: 'accumulateGram',
          input: 'x',
          other: symmetric ? null : 'y',
          out: 's',
        } as const;
        const sums = await runOperation({ slots, operation, inputs: { x, y }, rows, runs: 3 }, 's');
        const right = symmetric ? x : y;
        const sumOf = (at: number, f: (product: number) => number) => {
          const [i, j] = [Math.floor(at / width), at % width];
          let sum = 0;
          for (let t = 0; t < rows; t++) sum += 3 * f(x[t * width + i]! * right[t * width + j]!);
          return sum;
        };
        expectWithin(
          sums,
          (at) => sumOf(at, (product) => product),
          (at) => tolerance.gramBound(rows, 3 * rows, sumOf(at, Math.abs)),
        );
      }),
    );
  });

  it('embed gives exact rows in every encoding', async () => {
    const kinds = ['f32', 'f16', 'bf16', 'int8', 'int4'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.record(size),
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom(...kinds),
        fc.constantFrom(32, 64, 128),
        async ({ width, rows, seed }, vocabulary, kind, groupSize) => {
          const random = createRandom(seed);
          const weight =
            kind === 'int8' || kind === 'int4'
              ? makeInteger('w', vocabulary, width, kind, groupSize, random)
              : makeDense('w', [vocabulary, width], kind, random);
          const t = Int32Array.from({ length: rows }, () => drawInteger(random, 0, vocabulary - 1));
          const slots = { t: { kind: 'tokens', width: 1 }, y: { kind: 'f32', width } } as const;
          const operation = { op: 'embed', input: 't', weight: 'w', out: 'y' } as const;
          const y = await runOperation({ slots, operation, inputs: { t }, rows, weight }, 'y');
          expectWithin(
            y,
            (i) => weight.weights[t[Math.floor(i / width)]! * width + (i % width)]!,
            () => 0,
          );
        },
      ),
    );
  });
});
