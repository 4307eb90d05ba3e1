// Arguments of the training kernels that must be refused before they reach C++, and what meets other parts of the project: codes
// as the reference backend gives them.
import { createReferenceBackend, type ExecutionPlan } from '@duobit/core';
import { blank, createRandom, drawActivations } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { nativeSupport } from './backend.ts';
import { createTrainingKernels } from './training.ts';

const support = nativeSupport();
const f = (length: number) => new Float32Array(length);
const layout = { headCount: 2, kvHeadCount: 1, headSize: 3 };
const rows = { windows: 1, tokens: 2 };
const adam = { rate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1, step: 1, scale: 1 };
const straight = { a: false, b: false };

describe.skipIf(!support.available)('arguments of training kernels', () => {
  // Without the addon nothing in here runs.
  const k = support.available ? createTrainingKernels({ threads: 2 }) : null!;
  const sizes = (m: unknown, n: unknown, depth: unknown) => ({ m, n, k: depth }) as never;
  const attend = (change: object = {}, span: number | null = null, time = rows) =>
    k.attention(f(12), f(6), f(6), { ...layout, ...change }, time, span, f(12), f(4));

  const REFUSED: Readonly<Record<string, () => void>> = {
    'a too short': () => k.matMul(f(5), f(6), f(4), sizes(2, 2, 3), straight),
    'b too long': () => k.matMul(f(6), f(7), f(4), sizes(2, 2, 3), straight),
    'out too short': () => k.matMul(f(6), f(6), f(3), sizes(2, 2, 3), straight),
    'no rows': () => k.matMul(f(0), f(6), f(0), sizes(0, 2, 3), straight),
    'half a row': () => k.matMul(f(3), f(6), f(2), sizes(1.5, 2, 2), straight),
    'a size that is no number': () => k.matMul(f(6), f(6), f(4), sizes('2', 2, 3), straight),
    'a size past 32 bits': () => k.matMul(f(6), f(6), f(4), sizes(2 ** 32 + 2, 2, 3), straight),
    doubles: () => k.matMul(new Float64Array(6) as never, f(6), f(4), sizes(2, 2, 3), straight),
    'out that is also a': () => {
      const a = f(4);
      k.matMul(a, f(4), a, sizes(2, 2, 2), straight);
    },
    'out that overlaps b': () => {
      const both = f(7);
      k.matMul(f(4), both.subarray(0, 4), both.subarray(3), sizes(2, 2, 2), straight);
    },
    'arrays of other lengths': () => k.add(f(3), f(4), f(3)),
    'x that is no rows of the weight': () => k.rmsNorm(f(7), f(3), 1e-5, f(7)),
    'an empty weight': () => k.rmsNorm(f(0), f(0), 1e-5, f(0)),
    'an epsilon that is no number': () => k.rmsNorm(f(6), f(3), Number.NaN, f(6)),
    'dWeight too long': () => k.rmsNormGradient(f(6), f(3), 1, f(6), f(6), f(4)),
    'rows that heads do not fill': () => k.rope(f(12), 3, new Float64Array(2), rows, false, f(12)),
    'no frequencies': () => k.rope(f(0), 1, new Float64Array(0), rows, false, f(0)),
    'frequencies in f32': () => k.rope(f(8), 1, f(2) as never, rows, false, f(8)),
    'heads that kv heads do not divide': () => attend({ headCount: 3, kvHeadCount: 2 }),
    'no kv heads': () => attend({ kvHeadCount: 0 }),
    'a span of 0': () => attend({}, 0),
    'other windows': () => attend({}, null, { windows: 2, tokens: 2 }),
    'gradients too short': () =>
      k.attentionGradient(
        { query: f(12), key: f(6), value: f(6) },
        { out: f(12), logSums: f(4) },
        f(12),
        layout,
        rows,
        null,
        { query: f(12), key: f(5), value: f(6) },
      ),
    'a gradient that is also an input': () => {
      const query = f(12);
      k.attentionGradient(
        { query, key: f(6), value: f(6) },
        { out: f(12), logSums: f(4) },
        f(12),
        layout,
        rows,
        null,
        { query, key: f(6), value: f(6) },
      );
    },
    'up too short': () => k.siluMul(f(3), f(2), f(3)),
    'one array for two gradients': () => {
      const both = f(3);
      k.siluMulGradient(f(3), f(3), f(3), both, both);
    },
    'rows that the width does not divide': () => k.rotate(f(7), 3, false, f(7)),
    'three clips': () => k.quantizeActivations(f(6), 3, f(3), f(6)),
    'a gradient of one clip': () => k.quantizeActivationsGradient(f(6), 3, f(2), f(6), f(6), f(1)),
    'levels of one group too few': () => k.nearestLevels(f(10), f(8), 5, 2, f(10)),
    'groups of 0': () => k.nearestLevelsGradient(f(10), f(8), 5, 0, f(10), f(8)),
    'codes that are floats': () => k.chosenLevels(f(10) as never, f(24), 5, 2, f(10)),
    'codes of a group too many': () => k.chosenLevelsGradient(new Int32Array(12), 6, 2, f(12), f(20)),
    'a bitmap too short': () => k.relaxedLevels(f(10), f(9), f(24), 5, 2, f(10)),
    'one array for the gradients of bitmap and levels': () => {
      const both = f(4);
      k.relaxedLevelsGradient(f(4), f(4), f(4), 4, 4, 0, f(4), both, both);
    },
    'losses of other rows': () => k.distillationLoss(f(6), f(6), 3, f(3)),
    'a student of other rows': () => k.distillationLossGradient(f(6), f(9), 3, f(2), f(9)),
    'step 0': () => k.adam(f(3), f(3), f(3), f(3), { ...adam, step: 0 }),
    'a beta of 1': () => k.adam(f(3), f(3), f(3), f(3), { ...adam, beta1: 1 }),
    'a rate that is infinite': () =>
      k.adam(f(3), f(3), f(3), f(3), { ...adam, rate: Number.POSITIVE_INFINITY }),
    'a mean too short': () => k.adam(f(3), f(3), f(2), f(3), adam),
    'squares of no array': () => k.sumOfSquares([1, 2] as never),
    'an array whose memory is gone': () => {
      const gone = f(6);
      structuredClone(gone, { transfer: [gone.buffer] });
      k.matMul(gone, f(6), f(4), sizes(2, 2, 3), straight);
    },
  };

  it.each(Object.entries(REFUSED))('%s', (_, act) => {
    expect(act).toThrow(expect.objectContaining({ code: 'TRAINING_INVALID' }));
  });

  it('options', () => {
    for (const threads of [0, 1.5, 5000])
      expect(() => createTrainingKernels({ threads })).toThrow(
        expect.objectContaining({ code: 'BACKEND_OPTION' }),
      );
    expect(() => createTrainingKernels({ instructionSet: 'mmx' as never })).toThrow(
      expect.objectContaining({ code: 'BACKEND_OPTION' }),
    );
    expect(k.name).toMatch(/^native /);
    expect(k.threads).toBe(2);
  });

  it('nothing to do', () => {
    k.add(f(0), f(0), f(0));
    k.siluMul(f(0), f(0), f(0));
    k.adam(f(0), f(0), f(0), f(0), adam);
    expect(k.sumOfSquares(f(0))).toBe(0);
  });

  it('views into larger memory', () => {
    const whole = Float32Array.from({ length: 20 }, (_, i) => i);
    const out = blank(6);
    k.matMul(whole.subarray(1, 5), whole.subarray(7, 11), out.subarray(1, 5), sizes(2, 2, 2), straight);
    expect(Array.from(out)).toEqual([Number.NaN, 25, 28, 57, 64, Number.NaN]);
  });

  it('decodes activations to the bits of the reference backend', async () => {
    const [width, count] = [100, 40];
    const clips = [0.9, 0.8] as const;
    const quantizer = { bits: 4, clipLow: 0.9, clipHigh: 0.8, knee: null, planeScales: null } as const;
    const plan: ExecutionPlan = {
      slots: {
        x: { kind: 'f32', width },
        c: { kind: 'a4', width },
        y: { kind: 'f32', width },
      },
      operations: [
        { op: 'quantizeActivations', input: 'x', quantizer, out: 'c' },
        { op: 'decodeActivations', input: 'c', out: 'y' },
      ],
      cacheLayers: 0,
      heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
      ropeFrequencies: new Float64Array(1),
    };
    const x = drawActivations(createRandom(7), count * width);
    x.fill(0.1, 0, width);
    x[width + 3] = Number.NaN;
    const backend = createReferenceBackend();
    const program = await backend.prepare(plan, async () => Promise.reject(new Error('no weights')), {
      capacity: count,
      maxRows: count,
    });
    await program.write('x', x);
    await program.run({ rows: count, position: 0, logits: 'none' });
    const out = blank(x.length);
    k.quantizeActivations(x, width, Float32Array.from(clips), out);
    expect(Array.from(out)).toEqual(Array.from(await program.read('y')));
    await program.dispose();
    await backend.dispose();
  });
});
