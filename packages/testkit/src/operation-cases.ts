// Conformance of single operations, over the sizes where kernels go wrong: one column, odd and prime sizes, a short last
// group, sizes that are no multiple of a vector or a tile.
import type { ExecutionPlan, Operation, Slot } from '@duobit/core';
import type { ActivationQuantizer } from '@duobit/format';
import type { ConformanceCase } from './conformance.ts';
import { createRandom, drawActivations, drawInteger, drawNormal } from './random-values.ts';
import { type MadeTensor, makeDense, makeInteger, makeW11 } from './tensors.ts';
import { checkPlanOnBackend } from './trace.ts';

export const COLUMNS = [1, 31, 64, 172, 576, 1536] as const;
export const ROWS = [1, 17, 192] as const;
export const GROUP_SIZES = [32, 64, 128, 256] as const;
const TOKENS = 3;

const NO_HEADS = { headCount: 1, kvHeadCount: 1, headSize: 2 };

/** A plan of a few operations without a KV cache. */
export function operationPlan(
  slots: Record<string, Slot>,
  operations: Operation[],
  heads = NO_HEADS,
): ExecutionPlan {
  return { slots, operations, cacheLayers: 0, heads, ropeFrequencies: new Float64Array([1]) };
}

export const f32 = (width: number): Slot => ({ kind: 'f32', width });
const tensorMap = (...tensors: MadeTensor[]) =>
  new Map(tensors.map((tensor) => [tensor.data.info.name, tensor]));

/** out = x W^T on an f32 slot. */
export function matMulPlan(tensor: MadeTensor, op: 'denseMatMul' | 'w11MatMul' | 'logits'): ExecutionPlan {
  return operationPlan({ x: f32(tensor.columns), y: f32(tensor.rows) }, [
    { op, input: 'x', weight: tensor.data.info.name, out: 'y' },
  ]);
}

/** Quantizes x and multiplies its codes by W(1+1) weights. */
export function codedPlan(tensor: MadeTensor, quantizer: ActivationQuantizer): ExecutionPlan {
  const slots = {
    x: f32(tensor.columns),
    'x.a4': { kind: 'a4', width: tensor.columns } as const,
    y: f32(tensor.rows),
  };
  return operationPlan(slots, [
    { op: 'quantizeActivations', input: 'x', quantizer, out: 'x.a4' },
    { op: 'w11MatMul', input: 'x.a4', weight: tensor.data.info.name, out: 'y' },
  ]);
}

export const runOf = (rows: number, logits: 'none' | 'last' | 'all' = 'all', position = 0) => ({
  rows,
  position,
  logits,
});

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
            const runs = [{ request: runOf(TOKENS), inputs: { x } }];
            const quantizer = offsets
              ? ({ bits: 4, clipLow: 1, clipHigh: 1 } as const)
              : ({ bits: 4, clipLow: 0.87, clipHigh: 0.93 } as const);
            for (const plan of [codedPlan(tensor, quantizer), matMulPlan(tensor, 'w11MatMul')])
              await checkPlanOnBackend(backend, plan, tensorMap(tensor), runs, TOKENS);
          }
      });
    }
  return cases;
}

function quantizerCases(): ConformanceCase[] {
  const unclipped: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1 };
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
              await check(backend, x, 8, { bits: 4, clipLow: clip, clipHigh: 1 - (1 - clip) / 2 });
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
          });
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
    {
      name: 'accumulateSquares sums over runs',
      run: async (backend) => {
        const draw = createRandom(36);
        for (const width of [1, 31, 64, 172]) {
          const plan = operationPlan({ x: f32(width), s: { kind: 'stat', width } }, [
            { op: 'accumulateSquares', input: 'x', out: 's' },
          ]);
          const runs = [3, 1, 4].map((rows) => ({
            request: runOf(rows),
            inputs: { x: drawActivations(draw, rows * width) },
          }));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 8);
        }
      },
    },
  ];
}

function attentionCases(): ConformanceCase[] {
  const layouts = [
    { headCount: 1, kvHeadCount: 1, headSize: 2 },
    { headCount: 4, kvHeadCount: 2, headSize: 16 },
    { headCount: 9, kvHeadCount: 3, headSize: 64 },
    { headCount: 3, kvHeadCount: 1, headSize: 10 },
    { headCount: 2, kvHeadCount: 2, headSize: 128 },
  ];
  return [
    {
      name: 'rope, several head sizes, positions up to 100,000',
      run: async (backend) => {
        const draw = createRandom(41);
        for (const { headCount, headSize } of layouts) {
          const ropeFrequencies = Float64Array.from(
            { length: headSize / 2 },
            (_, i) => 10_000 ** ((-2 * i) / headSize),
          );
          const plan: ExecutionPlan = {
            slots: { x: f32(headCount * headSize) },
            operations: [{ op: 'rope', target: 'x', headCount, headSize }],
            cacheLayers: 0,
            heads: { headCount, kvHeadCount: headCount, headSize },
            ropeFrequencies,
          };
          const runs = [0, 1, 63, 8191, 99_997].map((position) => ({
            request: runOf(3, 'none', position),
            inputs: { x: drawActivations(draw, 3 * headCount * headSize) },
          }));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 100_000);
        }
      },
    },
    {
      name: 'attention with a cache: chunks, single steps, rewinding, windows, two layers',
      run: async (backend) => {
        const draw = createRandom(42);
        for (const heads of layouts)
          for (const window of [null, 1, 4]) {
            const { headCount, kvHeadCount, headSize } = heads;
            const [queryWidth, kvWidth] = [headCount * headSize, kvHeadCount * headSize];
            const attend = (layer: number, out: string): Operation => ({
              op: 'attention',
              query: 'q',
              key: layer === 0 ? 'k' : 'v',
              value: layer === 0 ? 'v' : 'k',
              out,
              layer,
              heads,
              window,
            });
            const plan: ExecutionPlan = {
              slots: {
                q: f32(queryWidth),
                k: f32(kvWidth),
                v: f32(kvWidth),
                y: f32(queryWidth),
                z: f32(queryWidth),
              },
              operations: [attend(0, 'y'), attend(1, 'z')],
              cacheLayers: 2,
              heads,
              ropeFrequencies: new Float64Array(headSize / 2),
            };
            const runs = [
              [0, 5],
              [5, 1],
              [6, 1],
              [3, 4],
              [7, 9],
            ].map(([position, rows]) => ({
              request: runOf(rows!, 'none', position!),
              inputs: {
                q: drawActivations(draw, rows! * queryWidth),
                k: drawActivations(draw, rows! * kvWidth),
                v: drawActivations(draw, rows! * kvWidth),
              },
            }));
            await checkPlanOnBackend(backend, plan, new Map(), runs, 16);
          }
      },
    },
    {
      name: 'attention with scores far apart does not overflow',
      run: async (backend) => {
        const heads = { headCount: 1, kvHeadCount: 1, headSize: 4 };
        const plan: ExecutionPlan = {
          slots: { q: f32(4), k: f32(4), v: f32(4), y: f32(4) },
          operations: [
            { op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 0, heads, window: null },
          ],
          cacheLayers: 1,
          heads,
          ropeFrequencies: new Float64Array(2),
        };
        const draw = createRandom(43);
        const rows = 6;
        const inputs = {
          q: Float32Array.from({ length: rows * 4 }, () => drawInteger(draw, -30, 30)),
          k: Float32Array.from({ length: rows * 4 }, () => drawInteger(draw, -30, 30)),
          v: drawActivations(draw, rows * 4),
        };
        await checkPlanOnBackend(backend, plan, new Map(), [{ request: runOf(rows), inputs }], rows);
      },
    },
  ];
}

export function operationCases(): ConformanceCase[] {
  return [...matMulCases(), ...quantizerCases(), ...rowCases(), ...attentionCases()];
}
