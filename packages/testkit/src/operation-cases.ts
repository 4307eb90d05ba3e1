// Conformance of single operations, over the sizes where kernels go wrong: one column, odd and prime sizes, a short last
// group, sizes that are no multiple of a vector or a tile.
import type { ActivationQuantizer } from '@duobit/format';
import { compareValues, exactly } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { expectGram } from './expected.ts';
import {
  COLUMNS,
  codedPlan,
  f32,
  GROUP_SIZES,
  matMulPlan,
  operationPlan,
  ROWS,
  runOf,
  tensorMap,
} from './operation-plans.ts';
import { createRandom, drawActivations, drawIntegers, drawNormal } from './random-values.ts';
import { makeDense, makeInteger, makeW11 } from './tensors.ts';
import { checkPlanOnBackend } from './trace.ts';

const TOKENS = 3;

/** Of a head: so many rows that kernels divide them otherwise, and few columns, of a number that fits no power of two. */
function wideCase(): ConformanceCase {
  return {
    name: 'denseMatMul f32, int8, int4 of 40,000 rows, K 36 to 280',
    run: async (backend) => {
      const draw = createRandom(39);
      for (const [kind, columns] of [
        ['f32', 36],
        ['f32', 64],
        ['f32', 96],
        ['int8', 144],
        ['int4', 280],
      ] as const) {
        const tensor =
          kind === 'f32'
            ? makeDense('w', [40_000, columns], kind, draw)
            : makeInteger('w', 40_000, columns, kind, 32, draw);
        const x = drawActivations(draw, 2 * columns);
        const runs = [2, 1].map((rows) => ({
          request: runOf(rows),
          inputs: { x: x.subarray(0, rows * columns) },
        }));
        await checkPlanOnBackend(backend, matMulPlan(tensor, 'denseMatMul'), tensorMap(tensor), runs, 2);
      }
    },
  };
}

function matMulCases(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const columns of COLUMNS)
    for (const rows of ROWS) {
      const size = `K ${columns}, N ${rows}`;
      const random = () => createRandom(1000 * columns + rows);
      const add = (name: string, run: ConformanceCase['run']) =>
        cases.push({ name: `${name}, ${size}`, run });
      add('denseMatMul f32, f16, bf16', async (backend) => {
        const draw = random();
        for (const kind of ['f32', 'f16', 'bf16'] as const) {
          const tensor = makeDense('w', [rows, columns], kind, draw);
          const x = drawActivations(draw, TOKENS * columns);
          const plan = matMulPlan(tensor, 'denseMatMul');
          await checkPlanOnBackend(
            backend,
            plan,
            tensorMap(tensor),
            [{ request: runOf(TOKENS), inputs: { x } }],
            TOKENS,
          );
        }
      });
      add('denseMatMul int8, int4, every group size', async (backend) => {
        const draw = random();
        for (const kind of ['int8', 'int4'] as const)
          for (const groupSize of GROUP_SIZES) {
            const tensor = makeInteger('w', rows, columns, kind, groupSize, draw);
            const x = drawActivations(draw, TOKENS * columns);
            const runs = [{ request: runOf(TOKENS), inputs: { x } }];
            await checkPlanOnBackend(
              backend,
              matMulPlan(tensor, 'denseMatMul'),
              tensorMap(tensor),
              runs,
              TOKENS,
            );
          }
      });
      add('w11MatMul on codes and on f32, every group size, with and without offsets', async (backend) => {
        const draw = random();
        for (const groupSize of GROUP_SIZES)
          for (const offsets of [true, false]) {
            const tensor = makeW11('w', rows, columns, { groupSize, offsets }, draw);
            const x = drawActivations(draw, TOKENS * columns);
            // One row goes other ways than several.
            const runs = [
              { request: runOf(TOKENS), inputs: { x } },
              { request: runOf(1), inputs: { x: x.subarray(columns, 2 * columns) } },
            ];
            const quantizer = offsets
              ? ({ bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const)
              : ({ bits: 4, clipLow: 0.87, clipHigh: 0.93, knee: null, planeScales: null } as const);
            for (const plan of [codedPlan(tensor, quantizer), matMulPlan(tensor, 'w11MatMul')])
              await checkPlanOnBackend(backend, plan, tensorMap(tensor), runs, TOKENS);
          }
      });
    }
  return cases;
}

function quantizerCases(): ConformanceCase[] {
  const unclipped: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };
  const check = async (
    backend: Parameters<ConformanceCase['run']>[0],
    x: Float32Array,
    rows: number,
    quantizer: ActivationQuantizer,
  ): Promise<void> => {
    const width = x.length / rows;
    const plan = operationPlan({ x: f32(width), 'x.a4': { kind: 'a4', width } }, [
      { op: 'quantizeActivations', input: 'x', quantizer, out: 'x.a4' },
    ]);
    await checkPlanOnBackend(backend, plan, new Map(), [{ request: runOf(rows), inputs: { x } }], rows);
  };
  return [
    {
      name: 'quantizeActivations bit for bit, every K, several clips',
      run: async (backend) => {
        const draw = createRandom(21);
        for (const columns of COLUMNS)
          for (const clip of [1, 0.9, 0.5, 1.1, -0.5])
            for (const scale of [1e-30, 1e-3, 1, 1e20]) {
              const x = drawActivations(draw, 8 * columns, scale);
              await check(backend, x, 8, {
                bits: 4,
                clipLow: clip,
                clipHigh: 1 - (1 - clip) / 2,
                knee: null,
                planeScales: null,
              });
            }
      },
    },
    {
      name: 'quantizeActivations rounds halves to even',
      run: async (backend) => {
        // Range 0 to 15 makes the step 1: the values are codes.
        const halves = Array.from({ length: 15 }, (_, i) => i + 0.5);
        await check(backend, Float32Array.from([0, 15, ...halves, 0.49999997, 14.500001]), 1, unclipped);
      },
    },
    {
      name: 'quantizeActivations on constant, one-sided, tiny and broken rows',
      run: async (backend) => {
        const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
        const rows = [
          [0, 0, 0, 0],
          [-0, 0, -0, 0],
          [2.5, 2.5, 2.5, 2.5],
          [3, 4, 5, 6],
          [-3, -4, -5, -6],
          [0, 1e-45, 0, 0],
          [0, 3e-44, 1e-44, 2e-44],
          [1, 1 + 2 ** -23, 1, 1],
          [-3e38, 3e38, 0, 1],
          [1, nan, 2, 3],
          [1, infinity, 2, 3],
          [-infinity, infinity, 2, 3],
        ];
        for (const clip of [1, 0.75])
          await check(backend, Float32Array.from(rows.flat()), rows.length, {
            bits: 4,
            clipLow: clip,
            clipHigh: clip,
            knee: null,
            planeScales: null,
          });
      },
    },
    {
      name: 'decodeActivations gives to the bit what is read, every K, and NaN for a broken row',
      run: async (backend) => {
        const draw = createRandom(23);
        for (const columns of COLUMNS) {
          const x = drawActivations(draw, 5 * columns);
          x[2 * columns] = Number.NaN;
          const slots = { x: f32(columns), q: { kind: 'a4', width: columns }, y: f32(columns) } as const;
          const plan = operationPlan(slots, [
            {
              op: 'quantizeActivations',
              input: 'x',
              quantizer: { ...unclipped, clipLow: 0.9 },
              out: 'q',
            },
            { op: 'decodeActivations', input: 'q', out: 'y' },
          ]);
          await checkPlanOnBackend(backend, plan, new Map(), [{ request: runOf(5), inputs: { x } }], 5);
        }
      },
    },
    {
      name: 'w11MatMul gives NaN for a broken row and leaves its neighbours right',
      run: async (backend) => {
        const draw = createRandom(22);
        const tensor = makeW11('w', 17, 64, { groupSize: 32, offsets: true }, draw);
        const x = drawActivations(draw, 3 * 64);
        x[64 + 5] = Number.NaN;
        const runs = [{ request: runOf(3), inputs: { x } }];
        await checkPlanOnBackend(backend, codedPlan(tensor, unclipped), tensorMap(tensor), runs, 3);
      },
    },
  ];
}

function rowCases(): ConformanceCase[] {
  return [
    {
      name: 'embed, every encoding, exact',
      run: async (backend) => {
        const draw = createRandom(31);
        for (const width of [1, 31, 64, 172])
          for (const kind of ['f32', 'f16', 'bf16', 'int8', 'int4'] as const) {
            const tensor =
              kind === 'int8' || kind === 'int4'
                ? makeInteger('e', 50, width, kind, 32, draw)
                : makeDense('e', [50, width], kind, draw);
            const plan = operationPlan({ t: { kind: 'tokens', width: 1 }, y: f32(width) }, [
              { op: 'embed', input: 't', weight: 'e', out: 'y' },
            ]);
            const runs = [{ request: runOf(5), inputs: { t: Int32Array.of(0, 49, 7, 7, 48) } }];
            await checkPlanOnBackend(backend, plan, tensorMap(tensor), runs, 5);
          }
      },
    },
    {
      name: 'logits of all rows, the last and none, every encoding',
      run: async (backend) => {
        const draw = createRandom(32);
        for (const kind of ['f32', 'f16', 'bf16', 'int8', 'int4'] as const) {
          const tensor =
            kind === 'int8' || kind === 'int4'
              ? makeInteger('h', 33, 172, kind, 64, draw)
              : makeDense('h', [33, 172], kind, draw);
          const runs = (['all', 'last', 'none', 'last'] as const).map((wanted, i) => ({
            request: runOf(i + 2, wanted),
            inputs: { x: drawActivations(draw, (i + 2) * 172) },
          }));
          await checkPlanOnBackend(backend, matMulPlan(tensor, 'logits'), tensorMap(tensor), runs, 8);
        }
      },
    },
    {
      name: 'rmsNorm, every K, large and tiny rows, weights of every dense encoding',
      run: async (backend) => {
        const draw = createRandom(33);
        for (const columns of COLUMNS)
          for (const kind of ['f32', 'f16', 'bf16'] as const)
            for (const scale of [1e-6, 1, 1e4]) {
              const tensor = makeDense('n', [columns], kind, draw, (source) => 1 + drawNormal(source));
              const plan = operationPlan({ x: f32(columns), y: f32(columns) }, [
                { op: 'rmsNorm', input: 'x', weight: 'n', epsilon: 1e-5, out: 'y' },
              ]);
              const runs = [{ request: runOf(3), inputs: { x: drawActivations(draw, 3 * columns, scale) } }];
              await checkPlanOnBackend(backend, plan, tensorMap(tensor), runs, 3);
            }
      },
    },
    {
      name: 'siluMul, from saturated to zero',
      run: async (backend) => {
        const draw = createRandom(34);
        for (const width of [1, 3, 31, 172]) {
          const plan = operationPlan({ g: f32(width), u: f32(width), y: f32(width) }, [
            { op: 'siluMul', gate: 'g', up: 'u', out: 'y' },
          ]);
          const gates = [
            0, -0, 1e-20, -1e-20, 20, -20, 80, -80, 87.5, -87.5, 95, -95, 200, -200, 3e38, -3e38,
          ];
          const g = Float32Array.from({ length: 4 * width }, (_, i) =>
            draw() < 0.5 ? drawNormal(draw) * 4 : gates[i % gates.length]!,
          );
          const runs = [{ request: runOf(4), inputs: { g, u: drawActivations(draw, 4 * width, 0.5) } }];
          await checkPlanOnBackend(backend, plan, new Map(), runs, 4);
        }
      },
    },
    {
      name: 'add, exact',
      run: async (backend) => {
        const draw = createRandom(35);
        for (const width of [1, 3, 31, 172]) {
          const plan = operationPlan({ x: f32(width), y: f32(width) }, [{ op: 'add', input: 'x', out: 'y' }]);
          const inputs = {
            x: drawActivations(draw, 3 * width, 1e3),
            y: drawActivations(draw, 3 * width, 1e-2),
          };
          await checkPlanOnBackend(backend, plan, new Map(), [{ request: runOf(3), inputs }], 3);
        }
      },
    },
  ];
}

/** Sizes around the edges of tiles, and runs longer than what a backend may sum at once. */
function gramCases(): ConformanceCase[] {
  const sums = (width: number) => ({ kind: 'stat', width: width * width }) as const;
  return [
    ...[1, 5, 17, 31, 64, 100, 172].map(
      (width): ConformanceCase => ({
        name: `accumulateGram of one input and of two, over runs, K ${width}`,
        run: async (backend) => {
          const draw = createRandom(3600 + width);
          const slots = { x: f32(width), y: f32(width), s: sums(width), c: sums(width) };
          const plan = operationPlan(slots, [
            { op: 'accumulateGram', input: 'x', other: null, out: 's' },
            { op: 'accumulateGram', input: 'x', other: 'y', out: 'c' },
          ]);
          const runs = [3, 1, 70].map((rows) => ({
            request: runOf(rows),
            inputs: { x: drawActivations(draw, rows * width), y: drawActivations(draw, rows * width, 0.1) },
          }));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 70);
        },
      }),
    ),
    {
      name: 'accumulateGram of integers is exact, and symmetric where it should be',
      run: async (backend) => {
        const draw = createRandom(37);
        const [width, rows] = [90, 600];
        const slots = { x: f32(width), y: f32(width), s: sums(width), c: sums(width), d: sums(width) };
        const plan = operationPlan(slots, [
          { op: 'accumulateGram', input: 'x', other: null, out: 's' },
          { op: 'accumulateGram', input: 'x', other: 'x', out: 'd' },
          { op: 'accumulateGram', input: 'x', other: 'y', out: 'c' },
        ]);
        const [x, y] = [drawIntegers(draw, rows * width, -8, 7), drawIntegers(draw, rows * width, -8, 7)];
        const program = await backend.prepare(
          plan,
          async () => Promise.reject(new Error('the plan has no weights')),
          { capacity: rows, maxRows: rows },
        );
        try {
          const counted = (right: Float32Array) => ({
            left: Array.from({ length: rows }, (_, t) => x.subarray(t * width, (t + 1) * width)),
            right: Array.from({ length: rows }, (_, t) => right.subarray(t * width, (t + 1) * width)),
            longest: rows,
          });
          await program.write('x', x);
          await program.write('y', y);
          await program.run(runOf(rows));
          for (const [slot, right] of [
            ['s', x],
            ['d', x],
            ['c', y],
          ] as const) {
            const values = expectGram(counted(right)).map(({ value }) => value);
            compareValues(`slot ${slot}`, await program.read(slot), exactly(values));
          }
        } finally {
          await program.dispose();
        }
      },
    },
  ];
}

export function operationCases(): ConformanceCase[] {
  return [...matMulCases(), wideCase(), ...quantizerCases(), ...rowCases(), ...gramCases()];
}
