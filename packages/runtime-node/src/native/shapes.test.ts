// Products and rotations of random shapes on the native backend against expectations in double precision: within the bounds
// of docs/numerics.md, and exact where all values are small integers, and of rotations always. 120 shapes here; `npm run test:shapes` tries 10,000.
import type { Backend, ExecutionPlan, Operation } from '@duobit/core';
import {
  checkPlanOnBackend,
  createRandom,
  drawActivations,
  drawInteger,
  drawIntegers,
  type MadeTensor,
  makeDense,
  makeInteger,
  makeW11,
  type Random,
} from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createNativeBackend, INSTRUCTION_SETS, type InstructionSet, nativeSupport } from './backend.ts';

const COUNT = Number(process.env.DUOBIT_SHAPES ?? 120);
const FIRST_SEED = Number(process.env.DUOBIT_SEED ?? 1);
const support = nativeSupport();
const GROUP_SIZES = [32, 64, 128, 256];
const NO_CACHE = {
  cacheLayers: 0,
  heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
  ropeFrequencies: new Float64Array(1),
};
const ALL = { position: 0, logits: 'all' } as const;

function productPlan({ rows, columns }: MadeTensor, op: 'w11MatMul' | 'denseMatMul'): ExecutionPlan {
  const slots = { x: { kind: 'f32', width: columns }, y: { kind: 'f32', width: rows } } as const;
  return { ...NO_CACHE, slots, operations: [{ op, input: 'x', weight: 'w', out: 'y' }] };
}

function codedPlan(tensor: MadeTensor): ExecutionPlan {
  const { slots } = productPlan(tensor, 'w11MatMul');
  const quantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;
  const operations: Operation[] = [
    { op: 'quantizeActivations', input: 'x', quantizer, out: 'c' },
    { op: 'w11MatMul', input: 'c', weight: 'w', out: 'y' },
  ];
  return { ...NO_CACHE, slots: { ...slots, c: { kind: 'a4', width: tensor.columns } }, operations };
}

/** Mostly small, sometimes wide or tall. */
function drawSize(random: Random): number {
  return drawInteger(random, 1, [40, 200, 900][drawInteger(random, 0, 2)]!);
}

/** Integer levels, and rows of integers that hold -8 and 7, so that lo is -8 and the step 1: the sums must be exact. */
async function checkExact(backend: Backend, random: Random): Promise<void> {
  const rows = drawSize(random);
  const columns = 1 + drawSize(random);
  const tokens = drawInteger(random, 1, 8);
  const tensor = makeW11(
    'w',
    rows,
    columns,
    {
      groupSize: GROUP_SIZES[drawInteger(random, 0, 3)]!,
      offsets: random() < 0.5,
      alpha: (source) => drawInteger(source, 0, 3),
      mu: (source) => drawInteger(source, -3, 3),
    },
    random,
  );
  const x = drawIntegers(random, tokens * columns, -8, 7);
  for (let t = 0; t < tokens; t++) {
    const at = t * columns + drawInteger(random, 0, columns - 2);
    x.set([-8, 7], at);
  }
  const program = await backend.prepare(codedPlan(tensor), async () => tensor.data, {
    capacity: tokens,
    maxRows: tokens,
  });
  await program.write('x', x);
  await program.run({ rows: tokens, ...ALL });
  const y = await program.read('y');
  await program.dispose();
  const expected = Float32Array.from({ length: tokens * rows }, (_, i) => {
    const [t, n] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += tensor.weights[n * columns + k]! * x[t * columns + k]!;
    return sum;
  });
  expect(y.every((value, i) => value === expected[i])).toBe(true);
}

async function checkWithin(backend: Backend, random: Random): Promise<void> {
  const rows = drawSize(random);
  const columns = drawSize(random);
  const tokens = drawInteger(random, 1, 8);
  const groupSize = GROUP_SIZES[drawInteger(random, 0, 3)]!;
  const kinds = ['f32', 'f16', 'bf16', 'int8', 'int4', 'w11'] as const;
  const kind = kinds[drawInteger(random, 0, kinds.length - 1)]!;
  const tensor =
    kind === 'w11'
      ? makeW11('w', rows, columns, { groupSize, offsets: random() < 0.5 }, random)
      : kind === 'int8' || kind === 'int4'
        ? makeInteger('w', rows, columns, kind, groupSize, random)
        : makeDense('w', [rows, columns], kind, random);
  const plans =
    kind === 'w11'
      ? [codedPlan(tensor), productPlan(tensor, 'w11MatMul')]
      : [productPlan(tensor, 'denseMatMul')];
  const x = drawActivations(random, tokens * columns);
  const runs = [{ request: { rows: tokens, ...ALL }, inputs: { x } }];
  for (const plan of plans) await checkPlanOnBackend(backend, plan, new Map([['w', tensor]]), runs, tokens);
}

/** A rotation, and codes made of it: all bits are given. */
async function checkRotation(backend: Backend, random: Random): Promise<void> {
  const width = drawSize(random);
  const tokens = drawInteger(random, 1, 8);
  const slots = {
    x: { kind: 'f32', width },
    y: { kind: 'f32', width },
    c: { kind: 'a4', width },
  } as const;
  const quantizer = { bits: 4, clipLow: 0.9, clipHigh: 1, knee: null, planeScales: null } as const;
  const operations: Operation[] = [
    { op: 'rotateInput', input: 'x', out: 'y' },
    { op: 'quantizeActivations', input: 'y', quantizer, out: 'c' },
  ];
  const plan = { ...NO_CACHE, slots, operations };
  const x = drawActivations(random, tokens * width);
  await checkPlanOnBackend(
    backend,
    plan,
    new Map(),
    [{ request: { rows: tokens, ...ALL }, inputs: { x } }],
    tokens,
  );
}

const CHECKS = [checkExact, checkWithin, checkWithin, checkRotation];

describe.skipIf(!support.available)('random shapes', () => {
  const sets = support.available ? support.instructionSets : [];
  it(
    `${COUNT} shapes on ${sets.join(', ')}`,
    async () => {
      const backends = await Promise.all(
        sets.map(async (isa) => createNativeBackend({ isa: isaOf(isa), threads: 2 })),
      );
      for (let i = 0; i < COUNT; i++) {
        const seed = FIRST_SEED + i;
        const random = createRandom(seed);
        const backend = backends[i % backends.length]!;
        try {
          await CHECKS[Math.floor(i / backends.length) % CHECKS.length]!(backend, random);
        } catch (error) {
          throw new Error(`seed ${seed}, ${sets[i % sets.length]}: ${error}`, { cause: error });
        }
      }
      for (const backend of backends) await backend.dispose();
    },
    60_000 + COUNT * 200,
  );
});

function isaOf(name: string): InstructionSet {
  return INSTRUCTION_SETS.find((known) => known === name)!;
}
