// Conformance of whole tiny models: every operation of the real plans is checked, in prompts, single steps and after
// going back in the cache; and generation gives the same text as on the reference backend.
import {
  buildPlan,
  createModel,
  createReferenceBackend,
  type Model,
  readOutlierColumns,
  SLOTS,
} from '@duobit/core';
import type { ConformanceCase } from './conformance.ts';
import { createRandom, drawActivations, drawInteger } from './random-values.ts';
import { makeTinyModel, type TinyModelOptions } from './tiny-model.ts';
import { checkPlanOnBackend } from './trace.ts';

const CLIPPED = { bits: 4, clipLow: 0.9, clipHigh: 0.95, knee: null, planeScales: null } as const;

const MODELS: readonly (readonly [string, TinyModelOptions, 'a4' | 'f16'])[] = [
  ['dense f32', {}, 'a4'],
  ['dense f16 with bf16 embedding', { linear: 'f16', embedding: 'bf16' }, 'a4'],
  ['dense bf16 with f16 embedding', { linear: 'bf16', embedding: 'f16' }, 'a4'],
  ['int8 with int8 embedding', { linear: 'int8', embedding: 'int8' }, 'a4'],
  ['int4 with int4 embedding', { linear: 'int4', embedding: 'int4' }, 'a4'],
  ['W(1+1)A4 with int8 embedding', { linear: 'w11', embedding: 'int8' }, 'a4'],
  ['W(1+1)A4 without offsets, groups of 32', { linear: 'w11', offsets: false, groupSize: 32 }, 'a4'],
  [
    'W(1+1)A4 with a quantizer of its own for each weight, one without',
    {
      linear: 'w11',
      quantizer: (weight) =>
        weight.includes('k_proj')
          ? null
          : {
              bits: 4,
              clipLow: 0.9,
              clipHigh: weight.includes('q_proj') ? 0.8 : 0.95,
              knee: null,
              planeScales: null,
            },
    },
    'a4',
  ],
  ['dense f16 on codes', { linear: 'f16', quantizer: () => CLIPPED }, 'a4'],
  ['int8 on codes, int8 embedding', { linear: 'int8', embedding: 'int8', quantizer: () => CLIPPED }, 'a4'],
  ['W(1+1)A16', { linear: 'w11', embedding: 'int8' }, 'f16'],
  [
    'Mistral: sliding window, a head of its own',
    { architecture: { family: 'mistral', slidingWindow: 4, tiedHead: false } },
    'a4',
  ],
  [
    'Llama 3: scaled frequencies, 3 heads on 1, odd sizes',
    {
      linear: 'w11',
      architecture: {
        hiddenSize: 36,
        intermediateSize: 91,
        headCount: 3,
        kvHeadCount: 1,
        headSize: 12,
        blockCount: 1,
        ropeTheta: 500_000,
        ropeScaling: {
          kind: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 32,
        },
      },
    },
    'a4',
  ],
  [
    'int4 on codes of inputs of which some weights read the rotated values, odd sizes',
    {
      linear: 'int4',
      quantizer: () => CLIPPED,
      rotated: (weight) => !weight.includes('k_proj') && !weight.includes('up_proj'),
      architecture: { hiddenSize: 36, intermediateSize: 91, headCount: 3, kvHeadCount: 1, headSize: 12 },
    },
    'a4',
  ],
  [
    'W(1+1)A4 on rotated inputs, int8 embedding',
    { linear: 'w11', embedding: 'int8', rotated: () => true },
    'a4',
  ],
  ['W(1+1)A16 on rotated inputs', { linear: 'w11', rotated: () => true }, 'f16'],
  ['W(1+1)A4 with outlier columns', { linear: 'w11-outlier', embedding: 'int8' }, 'a4'],
  [
    'W(1+1)A4 with outlier columns of some inputs rotated and others not, each weight its own, odd sizes',
    {
      linear: 'w11-outlier',
      groupSize: 32,
      rotated: (weight) => !weight.includes('k_proj') && !weight.includes('up_proj'),
      outliers: (weight, columns) =>
        weight.includes('gate')
          ? Array.from({ length: columns }, (_, k) => k)
          : weight.includes('.0.')
            ? [3, weight.includes('v_proj') ? 7 : 8]
            : [columns - 1],
      architecture: { hiddenSize: 36, intermediateSize: 91, headCount: 3, kvHeadCount: 1, headSize: 12 },
    },
    'a4',
  ],
  ['W(1+1)A4 with outlier columns, on rotated inputs', { linear: 'w11-outlier', rotated: () => true }, 'a4'],
  [
    'W(1+1)A16 with outlier columns, on rotated inputs, without offsets',
    { linear: 'w11-outlier', offsets: false, rotated: () => true },
    'f16',
  ],
  ['W(1+1)A16 with outlier columns', { linear: 'w11-outlier' }, 'f16'],
];

/** The greedy continuation of a prompt, as token ids and text. */
async function continueGreedily(model: Model, prompt: string): Promise<{ tokens: number[]; text: string }> {
  const tokens: number[] = [];
  let text = '';
  for await (const event of model.generate(prompt, { maxTokens: 16, ignoreEos: true })) {
    if (event.kind === 'token') tokens.push(event.token);
    text += event.text;
  }
  return { tokens, text };
}

export function modelCases(): ConformanceCase[] {
  const traced = MODELS.map(
    ([name, options, activations], index): ConformanceCase => ({
      name: `whole model, ${name}`,
      run: async (backend) => {
        const source = makeTinyModel({ seed: 50 + index, ...options });
        // Weights that read an input in two forms cannot share its statistics: such models have odd places.
        const statistics = index % 2 === 0 ? 'gram' : 'none';
        const plan = buildPlan(source, {
          activations,
          statistics,
          outliers: await readOutlierColumns(source),
        });
        const random = createRandom(60 + index);
        const runs = (
          [
            [0, 7, 'all'],
            [7, 1, 'last'],
            [8, 1, 'none'],
            [4, 3, 'last'],
            [7, 2, 'all'],
          ] as const
        ).map(([position, rows, logits]) => ({
          request: { rows, position, logits },
          inputs: {
            [SLOTS.tokens]: Int32Array.from({ length: rows }, () =>
              drawInteger(random, 0, source.architecture.vocabularySize - 1),
            ),
          },
        }));
        await checkPlanOnBackend(backend, plan, source.made, runs, 16);
      },
    }),
  );

  const sections: ConformanceCase = {
    name: 'sections joined by hand give what the whole model gives',
    run: async (backend) => {
      const source = makeTinyModel({ seed: 70, linear: 'w11', embedding: 'int8' });
      const tokens = Int32Array.of(256, 72, 105, 33, 10);
      const options = { capacity: 8, maxRows: 8 };
      const request = { rows: tokens.length, position: 0, logits: 'all' } as const;
      const pass = async (
        section: Parameters<typeof buildPlan>[1],
        input: string,
        values: Float32Array | Int32Array,
        out: string,
      ) => {
        const program = await backend.prepare(
          buildPlan(source, section),
          (name) => source.readTensor(name),
          options,
        );
        await program.write(input, values);
        await program.run(request);
        const result = await program.read(out);
        await program.dispose();
        return result;
      };
      const whole = await pass({}, SLOTS.tokens, tokens, SLOTS.logits);
      let residual = await pass({ section: 'embedding' }, SLOTS.tokens, tokens, SLOTS.residual);
      for (let block = 0; block < source.architecture.blockCount; block++)
        residual = await pass(
          { section: { block }, statistics: 'gram' },
          SLOTS.residual,
          residual,
          SLOTS.residual,
        );
      const joined = await pass({ section: 'head' }, SLOTS.residual, residual, SLOTS.logits);
      // The same operations on the same values: the same bits.
      whole.forEach((value, i) => {
        if (!Object.is(value, joined[i]))
          throw new Error(`logit ${i}: ${joined[i]} through sections, ${value} through the whole model`);
      });
    },
  };

  const blocks = (
    [
      ['inputs', 'input', false],
      ['their codes', 'codes', false],
      ['rotated inputs', 'input', true],
      ['the codes of rotated inputs', 'codes', true],
    ] as const
  ).map(
    ([what, statisticsOn, rotated]): ConformanceCase => ({
      name: `one block with statistics of ${what}, from residual to residual`,
      run: async (backend) => {
        const source = makeTinyModel({ seed: 71, linear: 'w11', rotated: () => rotated });
        const plan = buildPlan(source, { section: { block: 1 }, statistics: 'cross', statisticsOn });
        const teachers = Object.entries(plan.slots).filter(([name]) => name.startsWith('teacher:'));
        const random = createRandom(72);
        const runs = [
          [0, 6],
          [0, 4],
          [4, 2],
        ].map(([position, rows]) => ({
          request: { rows: rows!, position: position!, logits: 'none' as const },
          inputs: {
            [SLOTS.residual]: drawActivations(random, rows! * source.architecture.hiddenSize),
            ...Object.fromEntries(
              teachers.map(([name, { width }]) => [name, drawActivations(random, rows! * width)]),
            ),
          },
        }));
        await checkPlanOnBackend(backend, plan, source.made, runs, 8);
      },
    }),
  );

  return [...traced, sections, ...blocks];
}

export function textCases(): ConformanceCase[] {
  const greedy: ConformanceCase = {
    name: 'greedy text of a dense model equals the reference backend',
    run: async (backend) => {
      const source = makeTinyModel({ seed: 73 });
      const reference = createReferenceBackend();
      const options = { contextLength: 40, maxRows: 8 };
      const [expected, actual] = [
        await createModel(source, reference, options),
        await createModel(source, backend, options),
      ];
      const [wanted, found] = [
        await continueGreedily(expected, 'Once upon a time'),
        await continueGreedily(actual, 'Once upon a time'),
      ];
      await Promise.all([expected.dispose(), actual.dispose(), reference.dispose()]);
      if (wanted.tokens.join() !== found.tokens.join() || wanted.text !== found.text)
        throw new Error(
          `tokens ${found.tokens.join(' ')}, expected ${wanted.tokens.join(' ')}; text ${JSON.stringify(found.text)}`,
        );
    },
  };
  return [greedy];
}
