// Conformance of models whose weights have outlier columns, from a container on: what was written is what runs, and without
// quantized activations it is the model of the layers' own weights.

import type { Backend } from '@duobit/core';
import {
  buildPlan,
  createModel,
  listPlanWeights,
  type ModelOptions,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import {
  type Container,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  decodeLayerWeights,
  type ModelSource,
  openContainer,
  packDense,
  type TensorData,
} from '@duobit/format';
import { demandBits } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import type { MadeTensor } from './tensors.ts';
import { makeTinyModel, type TinyModel } from './tiny-model.ts';
import { checkPlanOnBackend } from './trace.ts';

const TOKENS = Int32Array.of(256, 72, 105, 33, 10, 84, 111);

async function throughContainer(source: TinyModel): Promise<Container> {
  const sink = createMemorySink();
  const writer = await createContainerWriter(
    {
      architecture: source.architecture,
      specialTokens: source.specialTokens,
      assets: [],
      tensors: source.tensorNames.map((name) => source.tensorInfo(name)),
      provenance: {
        producer: 'testkit',
        sourceName: source.name,
        sourceSha256: '00'.repeat(32),
        recipe: '{}',
        calibrationSha256: null,
      },
      metadata: {},
    },
    sink,
  );
  for (const name of writer.order) await writer.writeTensor(name, (await source.readTensor(name)).planes);
  await writer.finish();
  return openContainer(createMemorySource(sink.bytes()));
}

/** The model of f32 weights that the layers have of their own. */
function decodeModel(source: Container): ModelSource {
  const decode = ({ info, planes }: TensorData): TensorData => ({
    info: { ...info, encoding: { kind: 'f32' }, activation: null, inputRotation: undefined },
    planes: packDense(decodeLayerWeights({ info, planes }), 'f32'),
  });
  return {
    name: `${source.name}, decoded`,
    architecture: source.architecture,
    specialTokens: source.specialTokens,
    tensorNames: source.tensorNames,
    tensorInfo: (name) => ({
      ...source.tensorInfo(name),
      encoding: { kind: 'f32' },
      activation: null,
      inputRotation: undefined,
    }),
    readTensor: async (name) => decode(await source.readTensor(name)),
    readAsset: async () => null,
    close: async () => {},
  };
}

/** Of a prompt, and then of single tokens, which backends may treat differently. */
async function logitsOf(source: ModelSource, backend: Backend, options: ModelOptions): Promise<Float32Array> {
  const model = await createModel(source, backend, { contextLength: 16, tokenizer: false, ...options });
  try {
    const logits = [...(await model.forward(TOKENS.subarray(0, 5), { logits: 'all' }))];
    for (let position = 5; position < TOKENS.length; position++)
      logits.push(...(await model.forward(TOKENS.subarray(position, position + 1), { position })));
    return Float32Array.from(logits);
  } finally {
    await model.dispose();
  }
}

/** Largest difference, in parts of the largest logit. */
function distance(a: Float32Array, b: Float32Array): number {
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0) / largest;
}

/** Products of int8 weights may round their inputs to 16 bits, a few times in a row. */
const ROUNDED = 1e-3;

export function outlierCases(): ConformanceCase[] {
  return [false, true].map((rotated) => ({
    name: `a container of weights with outlier columns${rotated ? ', stored for rotated inputs' : ''}`,
    run: async (backend) => {
      const source = makeTinyModel({ seed: 77, linear: 'w11-outlier', rotated: () => rotated });
      const container = await throughContainer(source);
      const outliers = await readOutlierColumns(container);
      const inputs = { [SLOTS.tokens]: TOKENS };
      const runs = [{ request: { rows: TOKENS.length, position: 0, logits: 'all' as const }, inputs }];
      for (const activations of ['a4', 'f16'] as const) {
        const plan = buildPlan(container, { activations, outliers });
        const read = splitOutliers((name) => container.readTensor(name));
        const tensors = new Map<string, MadeTensor>();
        for (const name of listPlanWeights(plan))
          tensors.set(name, { ...source.made.get(name)!, data: await read(name) });
        await checkPlanOnBackend(backend, plan, tensors, runs, 16);
        demandBits(
          `logits, activations ${activations}`,
          await logitsOf(container, backend, { activations }),
          await logitsOf(source, backend, { activations }),
        );
      }
      const [found, expected] = [
        await logitsOf(container, backend, { activations: 'f16' }),
        await logitsOf(decodeModel(container), backend, {}),
      ];
      const apart = distance(found, expected);
      if (!(apart < ROUNDED))
        throw new Error(`logits are ${apart} of the largest from those of the layers' own weights`);
      await container.close();
    },
  }));
}
