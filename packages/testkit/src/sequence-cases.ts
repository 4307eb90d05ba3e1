// Conformance of runs that serve several sequences at once: each row at the position and with the cache of its own sequence,
// whatever its neighbours hold.
import {
  type Backend,
  buildPlan,
  createModel,
  createReferenceBackend,
  type ExecutionPlan,
  type Model,
  type Operation,
  type Program,
  type RunPart,
  type RunRequest,
  SLOTS,
} from '@duobit/core';
import { compareValues, demandBits, exactly } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { demand, demandCode } from './demand.ts';
import { f32 } from './operation-plans.ts';
import { createRandom, drawActivations, drawInteger, type Random } from './random-values.ts';
import { makeTinyModel, type TinyModel, type TinyModelOptions } from './tiny-model.ts';
import { checkPlanOnBackend, type TracedRun } from './trace.ts';

type Logits = RunPart['logits'];
/** Sequence, position, rows. */
type Span = readonly [sequence: number, position: number, rows: number, logits?: Logits];

function requestOf(spans: readonly Span[]): RunRequest {
  const [first, ...others] = spans.map(([sequence, position, rows, logits = 'none']) => ({
    sequence,
    position,
    rows,
    logits,
  }));
  return others.length > 0 ? { ...first!, others } : first!;
}

const countRows = (spans: readonly Span[]) => spans.reduce((sum, [, , rows]) => sum + rows, 0);

/** Rotary embedding of queries and keys, then attention over layer 0. */
function turnAndAttend(heads: ExecutionPlan['heads'], window: number | null): ExecutionPlan {
  const { headCount, kvHeadCount, headSize } = heads;
  const turn = (target: string, count: number): Operation => ({
    op: 'rope',
    target,
    headCount: count,
    headSize,
  });
  return {
    slots: {
      q: f32(headCount * headSize),
      k: f32(kvHeadCount * headSize),
      v: f32(kvHeadCount * headSize),
      y: f32(headCount * headSize),
    },
    operations: [
      turn('q', headCount),
      turn('k', kvHeadCount),
      { op: 'attention', query: 'q', key: 'k', value: 'v', out: 'y', layer: 0, heads, window },
    ],
    cacheLayers: 1,
    heads,
    ropeFrequencies: Float64Array.from({ length: headSize / 2 }, (_, i) => 10_000 ** ((-2 * i) / headSize)),
  };
}

type Inputs = Record<'q' | 'k' | 'v', Float32Array>;

function drawInputs(draw: Random, { slots }: ExecutionPlan, rows: number): Inputs {
  const of = (name: string) => drawActivations(draw, rows * slots[name]!.width);
  return { q: of('q'), k: of('k'), v: of('v') };
}

/** What was wanted first and last, nothing wanted between, prompts beside single rows, sequences in any order. */
const MIXED: readonly (readonly Span[])[] = [
  [[1, 0, 5, 'last']],
  [
    [2, 0, 3, 'none'],
    [0, 0, 6, 'all'],
  ],
  [
    [1, 5, 1, 'last'],
    [0, 6, 1, 'none'],
    [2, 3, 1, 'last'],
  ],
  [
    [0, 7, 1, 'last'],
    [2, 4, 4, 'last'],
    [1, 6, 1, 'last'],
  ],
  [
    [2, 2, 2, 'none'],
    [1, 7, 1, 'none'],
  ],
  [[2, 4, 1, 'last']],
];

/** Of caches of any precision. */
export function sequenceAttentionCases(): ConformanceCase[] {
  const long: readonly (readonly Span[])[] = [
    [
      [0, 0, 140],
      [2, 0, 9],
      [1, 0, 1],
    ],
    [
      [2, 9, 70],
      [0, 140, 1],
      [1, 1, 1],
    ],
    [
      [1, 2, 1],
      [0, 141, 1],
      [2, 79, 1],
    ],
    [
      [0, 130, 12],
      [1, 3, 130],
    ],
    [[1, 133, 1]],
    [
      [0, 142, 1],
      [1, 134, 2],
    ],
  ];
  const plans = [
    [{ headCount: 4, kvHeadCount: 2, headSize: 16 }, null, long],
    [{ headCount: 3, kvHeadCount: 1, headSize: 40 }, 100, long],
    [{ headCount: 9, kvHeadCount: 3, headSize: 64 }, null, MIXED],
    [{ headCount: 5, kvHeadCount: 1, headSize: 10 }, 4, MIXED],
  ] as const;
  return [
    {
      name: 'several sequences: rotary embedding and attention, each at its own position and over its own cache',
      run: async (backend) => {
        const draw = createRandom(151);
        for (const [heads, window, spans] of plans) {
          const plan = turnAndAttend(heads, window);
          const runs = spans.map((each) => ({
            request: requestOf(each),
            inputs: drawInputs(draw, plan, countRows(each)),
          }));
          await checkPlanOnBackend(backend, plan, new Map(), runs, 160);
        }
      },
    },
    ...(
      [
        ['W(1+1)A4 with int8 embedding', { linear: 'w11', embedding: 'int8' }],
        ['dense f32', {}],
        ['int4 with f16 embedding', { linear: 'int4', embedding: 'f16' }],
        ['W(1+1)A4 on rotated inputs', { linear: 'w11', rotated: () => true }],
      ] as readonly (readonly [string, TinyModelOptions])[]
    ).map(([name, options], index): ConformanceCase => {
      return {
        name: `several sequences: whole model, ${name}`,
        run: async (backend) => {
          const source = makeTinyModel({ seed: 152 + index, ...options });
          const draw = createRandom(156 + index);
          const runs: TracedRun[] = MIXED.map((each) => ({
            request: requestOf(each),
            inputs: { [SLOTS.tokens]: drawTokens(draw, source, countRows(each)) },
          }));
          await checkPlanOnBackend(backend, buildPlan(source), source.made, runs, 12);
        },
      };
    }),
    {
      name: 'several sequences: what neighbours hold, and what a cache held before, changes no bit',
      run: async (backend) => {
        const heads = { headCount: 6, kvHeadCount: 2, headSize: 34 };
        for (const window of [null, 5]) {
          const plan = turnAndAttend(heads, window);
          const [clean, poisoned] = [
            await runBesideNeighbours(backend, plan, null),
            await runBesideNeighbours(backend, plan, [Number.NaN, Number.POSITIVE_INFINITY, -3e38]),
          ];
          demandBits(`rows beside poisoned ones, window ${window}`, poisoned, clean);
        }
      },
    },
  ];
}

/** The rows of sequence 1 in a few runs; the others', and all that was in its cache before, are these values if there are any. */
async function runBesideNeighbours(
  backend: Backend,
  plan: ExecutionPlan,
  poison: readonly number[] | null,
): Promise<number[]> {
  const program = await backend.prepare(plan, async () => Promise.reject(new Error('no weights')), {
    capacity: 24,
    maxRows: 16,
    sequences: 3,
  });
  const draw = createRandom(160);
  const results: number[] = [];
  const run = async (spans: readonly Span[], isOwn: (sequence: number) => boolean): Promise<void> => {
    const inputs = drawInputs(draw, plan, countRows(spans));
    const rowSequences = spans.flatMap(([sequence, , rows]) => new Array<number>(rows).fill(sequence));
    for (const [name, values] of Object.entries(inputs)) {
      const { width } = plan.slots[name]!;
      const spoilt = values.map((value, i) =>
        poison && !isOwn(rowSequences[Math.floor(i / width)]!) ? poison[i % poison.length]! : value,
      );
      await program.write(name, spoilt);
    }
    await program.run(requestOf(spans));
    const y = await program.read('y');
    const { width } = plan.slots.y!;
    rowSequences.forEach((sequence, row) => {
      if (isOwn(sequence)) results.push(...y.subarray(row * width, (row + 1) * width));
    });
  };
  const own = (sequence: number) => sequence === 1;
  try {
    await run([[1, 0, 16]], () => false);
    await run(
      [
        [0, 0, 3],
        [1, 0, 5],
        [2, 0, 4],
      ],
      own,
    );
    await run(
      [
        [2, 4, 1],
        [1, 5, 1],
        [0, 3, 1],
      ],
      own,
    );
    await run(
      [
        [1, 6, 3],
        [2, 5, 7],
      ],
      own,
    );
    await run([[1, 9, 1]], own);
  } finally {
    await program.dispose();
  }
  return results;
}

function drawTokens(draw: Random, { architecture }: TinyModel, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => drawInteger(draw, 0, architecture.vocabularySize - 1));
}

async function withSequences(
  backend: Backend,
  use: (program: Program, source: TinyModel) => Promise<void>,
): Promise<void> {
  const source = makeTinyModel({ seed: 161, linear: 'w11', embedding: 'int8' });
  const program = await backend.prepare(buildPlan(source), (name) => source.readTensor(name), {
    capacity: 12,
    maxRows: 8,
    sequences: 3,
  });
  try {
    await use(program, source);
  } finally {
    await program.dispose();
  }
}

export function sequenceCases(): ConformanceCase[] {
  return [
    {
      name: 'several sequences: texts written at the same time equal those of the reference backend, one by one',
      run: async (backend) => {
        const source = makeTinyModel({ seed: 164 });
        const reference = createReferenceBackend();
        const options = { contextLength: 40, maxRows: 6 };
        const prompts = ['Once upon a time', 'Once', 'A', 'Once upon a hill there', 'Then'];
        const write = async (model: Model, prompt: string): Promise<string> => {
          const tokens: number[] = [];
          for await (const event of model.generate(prompt, { maxTokens: 12, ignoreEos: true }))
            if (event.kind === 'token') tokens.push(event.token);
          return tokens.join(' ');
        };
        const alone = await createModel(source, reference, options);
        const wanted: string[] = [];
        for (const prompt of prompts) wanted.push(await write(alone, prompt));
        const together = await createModel(source, backend, { ...options, sequences: 3, queue: 2 });
        const found = await Promise.all(prompts.map((prompt) => write(together, prompt)));
        await Promise.all([alone.dispose(), together.dispose(), reference.dispose()]);
        prompts.forEach((prompt, i) => {
          demand(found[i] === wanted[i], `after "${prompt}": ${found[i]}, expected ${wanted[i]}`);
        });
      },
    },
    {
      name: 'several sequences: requests that do not fit are refused, and the program goes on',
      run: (backend) =>
        withSequences(backend, async (program, source) => {
          const spans: readonly Span[] = [
            [0, 0, 2, 'last'],
            [2, 0, 3, 'all'],
          ];
          await program.write(SLOTS.tokens, drawTokens(createRandom(162), source, 8));
          await program.run(requestOf(spans));
          const before = await program.read(SLOTS.logits);
          demand(before.length === 4 * 260, `${before.length} logits for 4 rows of 260`);
          const refused: readonly (readonly [string, readonly Span[]])[] = [
            [
              'a sequence twice',
              [
                [1, 0, 1],
                [1, 1, 1],
              ],
            ],
            ['a sequence too many', [[3, 0, 1]]],
            [
              'a sequence too many, behind another',
              [
                [0, 0, 1],
                [3, 0, 1],
              ],
            ],
            ['half a sequence', [[0.5, 0, 1]]],
            [
              'no rows',
              [
                [0, 0, 1],
                [1, 0, 0],
              ],
            ],
            [
              'too many rows together',
              [
                [0, 0, 5],
                [1, 0, 4],
              ],
            ],
            [
              'past the capacity',
              [
                [0, 0, 1],
                [1, 11, 2],
              ],
            ],
          ];
          for (const [label, each] of refused)
            await demandCode('RUN_INVALID', label, () => program.run(requestOf(each)));
          await program.run(requestOf(spans));
          compareValues('logits after refusals', await program.read(SLOTS.logits), exactly(before));
          if (!program.readBest) return;
          for (let row = 0; row < 4; row++) {
            const logits = before.subarray(row * 260, (row + 1) * 260);
            const best = await program.readBest(SLOTS.logits, row);
            const index = logits.indexOf(Math.max(...logits));
            demand(best.index === index, `the best of row ${row} is ${best.index}, not ${index}`);
          }
          await demandCode('RUN_INVALID', 'a row too many', () => program.readBest!(SLOTS.logits, 4));
        }),
    },
  ];
}

export function oneSequenceCases(): ConformanceCase[] {
  return [
    {
      name: 'two sequences are refused when prepared',
      run: async (backend) => {
        const source = makeTinyModel({ seed: 163 });
        const options = { capacity: 4, maxRows: 2, sequences: 2 };
        await demandCode('BACKEND_OPTION', 'two sequences', () =>
          backend.prepare(buildPlan(source), (name) => source.readTensor(name), options),
        );
      },
    },
  ];
}
