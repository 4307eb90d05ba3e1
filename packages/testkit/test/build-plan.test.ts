import {
  buildPlan,
  crossSlot,
  inputSlot,
  listPlanWeights,
  listTensors,
  type PlanOptions,
  SLOTS,
  statisticsSlot,
  teacherSlot,
} from '@duobit/core';
import type { ActivationQuantizer, Architecture, TensorInfo } from '@duobit/format';
import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { makeTinyModel, TINY_ARCHITECTURE, type TinyModel } from '../src/tiny-model.ts';

const dense = makeTinyModel();
const w11 = makeTinyModel({ linear: 'w11', embedding: 'int8' });

function errorOf(source: TinyModel, options?: PlanOptions): DuobitError {
  try {
    buildPlan(source, options);
  } catch (error) {
    if (error instanceof DuobitError) return error;
    throw error;
  }
  throw new Error('the plan was built');
}

/** The model with facts of one tensor replaced. */
function withTensor(name: string, facts: Partial<Pick<TensorInfo, 'shape' | 'encoding'>>): TinyModel {
  return {
    ...dense,
    tensorInfo: (wanted) =>
      wanted === name ? { ...dense.tensorInfo(name), ...facts } : dense.tensorInfo(wanted),
  };
}

const withArchitecture = (change: Partial<Architecture>): TinyModel => ({
  ...dense,
  architecture: { ...TINY_ARCHITECTURE, ...change },
});

const ops = (options?: PlanOptions, source = w11) => buildPlan(source, options).operations;

describe('buildPlan', () => {
  it('lists the operations of a dense block in order', () => {
    expect(ops({ section: { block: 1 } }, dense).map(({ op }) => op)).toEqual([
      'rmsNorm',
      'denseMatMul',
      'denseMatMul',
      'denseMatMul',
      'rope',
      'rope',
      'attention',
      'denseMatMul',
      'add',
      'rmsNorm',
      'denseMatMul',
      'denseMatMul',
      'siluMul',
      'denseMatMul',
      'add',
    ]);
  });

  it('reads every tensor of the architecture once, in order of first use', () => {
    for (const tiedHead of [true, false]) {
      const source = makeTinyModel({ architecture: { tiedHead } });
      const names = listTensors(source.architecture).map(({ name }) => name);
      expect(listPlanWeights(buildPlan(source))).toEqual(names);
      expect(names).toHaveLength(2 * 9 + (tiedHead ? 2 : 3));
      expect(source.tensorNames).toEqual(names);
    }
  });

  it('quantizes an input once for weights with equal quantizers', () => {
    const quantize = ops({ section: { block: 0 } }).filter(({ op }) => op === 'quantizeActivations');
    expect(quantize.map((operation) => 'input' in operation && operation.input)).toEqual([
      SLOTS.normed,
      SLOTS.attended,
      SLOTS.mlpNormed,
      SLOTS.activated,
    ]);
  });

  it('quantizes it again for another quantizer, and reads f32 for none', () => {
    const quantizer = (clipLow: number): ActivationQuantizer => ({
      bits: 4,
      clipLow,
      clipHigh: 1,
      knee: null,
      planeScales: null,
    });
    const operations = ops({
      section: { block: 0 },
      quantizers: (weight) =>
        weight.includes('v_proj') ? null : quantizer(weight.includes('k_proj') ? 0.5 : 1),
    });
    const inputOf = (name: string) =>
      operations.flatMap((operation) =>
        operation.op === 'w11MatMul' && operation.weight.includes(name) ? [operation.input] : [],
      )[0];
    expect(inputOf('q_proj')).toBe('normed.a4');
    expect(inputOf('k_proj')).toBe('normed.a4.1');
    expect(inputOf('v_proj')).toBe('normed');
    expect(inputOf('gate_proj')).toBe('mlpNormed.a4');
    expect(operations.filter(({ op }) => op === 'quantizeActivations')).toHaveLength(5);
  });

  it('decodes the codes once for weights that are not W(1+1)', () => {
    const plain: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };
    const { operations } = buildPlan(dense, { quantizers: () => plain });
    const decoded = operations.flatMap((operation) =>
      operation.op === 'decodeActivations' ? [operation] : [],
    );
    const slots = [SLOTS.normed, SLOTS.attended, SLOTS.mlpNormed, SLOTS.activated];
    expect(decoded).toEqual(
      [0, 1].flatMap(() =>
        slots.map((slot) => ({ op: 'decodeActivations', input: `${slot}.a4`, out: `${slot}.a4.decoded` })),
      ),
    );
    for (const operation of operations)
      if (operation.op === 'denseMatMul') expect(operation.input).toMatch(/\.a4\.decoded$/);
    expect(buildPlan(dense, { quantizers: () => plain, activations: 'f16' })).toEqual(buildPlan(dense));
  });

  it('rotates an input once for the weights that want it, and quantizes what came of it', () => {
    const all = makeTinyModel({ linear: 'w11', rotated: () => true });
    const block = (source: TinyModel, options: PlanOptions = {}) =>
      ops({ section: { block: 0 }, ...options }, source).flatMap((operation) =>
        operation.op === 'rotateInput' || operation.op === 'quantizeActivations'
          ? [`${operation.op} ${operation.input} -> ${operation.out}`]
          : operation.op === 'w11MatMul'
            ? [`${operation.input} x ${operation.weight.split('.').at(-2)}`]
            : [],
      );
    expect(block(all)).toEqual([
      'rotateInput normed -> normed.rotated',
      'quantizeActivations normed.rotated -> normed.rotated.a4',
      'normed.rotated.a4 x q_proj',
      'normed.rotated.a4 x k_proj',
      'normed.rotated.a4 x v_proj',
      'rotateInput attended -> attended.rotated',
      'quantizeActivations attended.rotated -> attended.rotated.a4',
      'attended.rotated.a4 x o_proj',
      'rotateInput mlpNormed -> mlpNormed.rotated',
      'quantizeActivations mlpNormed.rotated -> mlpNormed.rotated.a4',
      'mlpNormed.rotated.a4 x gate_proj',
      'mlpNormed.rotated.a4 x up_proj',
      'rotateInput activated -> activated.rotated',
      'quantizeActivations activated.rotated -> activated.rotated.a4',
      'activated.rotated.a4 x down_proj',
    ]);
    const some = makeTinyModel({ linear: 'w11', rotated: (weight) => /[qv]_proj|down/.test(weight) });
    expect(block(some, { activations: 'f16' })).toEqual([
      'rotateInput normed -> normed.rotated',
      'normed.rotated x q_proj',
      'normed x k_proj',
      'normed.rotated x v_proj',
      'attended x o_proj',
      'mlpNormed x gate_proj',
      'mlpNormed x up_proj',
      'rotateInput activated -> activated.rotated',
      'activated.rotated x down_proj',
    ]);
    expect(buildPlan(all).slots['activated.rotated']).toEqual({ kind: 'f32', width: 172 });
  });

  it('rotates and quantizes an input anew once its slot is written again', () => {
    const source = makeTinyModel({ linear: 'w11', rotated: () => true });
    const once = ops({ section: { block: 0 } }, source);
    const count = (operations: typeof once, op: string) =>
      operations.filter((operation) => operation.op === op).length;
    for (const op of ['rotateInput', 'quantizeActivations']) {
      expect(count(once, op)).toBe(4);
      expect(count(ops({}, source), op)).toBe(8);
    }
  });

  it('takes the statistics of rotated inputs, if the weights of an input agree', () => {
    const options = { section: { block: 0 }, statistics: 'gram' } as const;
    const source = makeTinyModel({ linear: 'w11', rotated: () => true });
    const counted = ops(options, source).flatMap((operation) =>
      operation.op === 'accumulateGram' ? [operation.input] : [],
    );
    const slots = [SLOTS.normed, SLOTS.attended, SLOTS.mlpNormed, SLOTS.activated];
    expect(counted).toEqual(slots.map((slot) => `${slot}.rotated`));
    const some = makeTinyModel({ linear: 'w11', rotated: (weight) => weight.includes('q_proj') });
    expect(errorOf(some, options)).toMatchObject({
      code: 'PLAN_ACTIVATION_UNSUPPORTED',
      message: expect.stringContaining('rotation'),
    });
  });

  it('takes statistics of the codes where asked to, if an input has but one code', () => {
    const plain: ActivationQuantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };
    const options = { section: { block: 0 }, statistics: 'cross', statisticsOn: 'codes' } as const;
    for (const { input } of buildPlan(w11, options).operations.flatMap((operation) =>
      operation.op === 'accumulateGram' ? [operation] : [],
    ))
      expect(input).toMatch(/\.a4\.decoded$/);
    const quantizers = (weight: string) => ({ ...plain, clipLow: weight.includes('k_proj') ? 0.5 : 1 });
    expect(errorOf(w11, { ...options, quantizers }).code).toBe('PLAN_ACTIVATION_UNSUPPORTED');
    expect(() => buildPlan(w11, { ...options, quantizers, statisticsOn: 'input' })).not.toThrow();
  });

  it('takes the quantizers of the tensors, and none under f16', () => {
    const source = makeTinyModel({
      linear: 'w11',
      quantizer: () => ({ bits: 4, clipLow: 0.8, clipHigh: 0.9, knee: null, planeScales: null }),
    });
    const first = ops({}, source).find(({ op }) => op === 'quantizeActivations');
    expect(first).toMatchObject({ quantizer: { clipLow: 0.8, clipHigh: 0.9 } });
    const unquantized = ops({ activations: 'f16' }, source);
    expect(unquantized.filter(({ op }) => op === 'quantizeActivations')).toHaveLength(0);
    expect(unquantized.filter(({ op }) => op === 'w11MatMul')).toHaveLength(14);
  });

  it('splits into sections that meet in the residual slot', () => {
    const embedding = buildPlan(w11, { section: 'embedding' });
    expect(embedding.operations).toHaveLength(1);
    expect(embedding.cacheLayers).toBe(0);
    expect(Object.keys(embedding.slots)).toEqual([SLOTS.tokens, SLOTS.residual]);
    const block = buildPlan(w11, { section: { block: 1 } });
    expect(block.cacheLayers).toBe(1);
    expect(block.operations.find(({ op }) => op === 'attention')).toMatchObject({ layer: 0 });
    expect(block.operations.at(-1)).toMatchObject({ op: 'add', out: SLOTS.residual });
    const head = buildPlan(w11, { section: 'head' });
    expect(head.operations.map(({ op }) => op)).toEqual(['rmsNorm', 'logits']);
    expect(listPlanWeights(head)).toEqual(['model.norm.weight', 'model.embed_tokens.weight']);
    const whole = buildPlan(w11);
    const layers = whole.operations.flatMap((operation) =>
      operation.op === 'attention' ? [operation.layer] : [],
    );
    expect(layers).toEqual([0, 1]);
    expect(whole.operations).toHaveLength(1 + 2 * ops({ section: { block: 0 } }).length + 2);
  });

  it('adds statistics of each distinct input, before it is used', () => {
    const operations = ops({ statistics: 'gram' });
    const slots = operations.flatMap((operation) =>
      operation.op === 'accumulateGram' ? [operation.out] : [],
    );
    expect(slots).toEqual([
      'stat:model.layers.0.self_attn.input',
      'stat:model.layers.0.self_attn.output',
      'stat:model.layers.0.mlp.input',
      'stat:model.layers.0.mlp.output',
      'stat:model.layers.1.self_attn.input',
      'stat:model.layers.1.self_attn.output',
      'stat:model.layers.1.mlp.input',
      'stat:model.layers.1.mlp.output',
      'stat:head',
    ]);
    const plan = buildPlan(w11, { statistics: 'gram' });
    for (const { name, kind, shape } of listTensors(w11.architecture))
      if (kind === 'linear')
        expect(plan.slots[statisticsSlot(name)]).toEqual({ kind: 'stat', width: shape[1]! ** 2 });
    expect(plan.slots[statisticsSlot('lm_head.weight')]).toEqual({ kind: 'stat', width: 64 ** 2 });
    expect(statisticsSlot('other.weight')).toBe('stat:other.weight');
  });

  it('adds products with the inputs of a teacher, which the caller writes', () => {
    const plan = buildPlan(w11, { section: { block: 0 }, statistics: 'cross' });
    const counted = plan.operations.flatMap((operation) =>
      operation.op === 'accumulateGram' ? [operation] : [],
    );
    expect(counted).toHaveLength(8);
    for (const { name, kind, shape, block } of listTensors(w11.architecture)) {
      if (kind !== 'linear' || block !== 0) continue;
      const input = inputSlot(name);
      expect(counted).toContainEqual({
        op: 'accumulateGram',
        input,
        other: null,
        out: statisticsSlot(name),
      });
      expect(counted).toContainEqual({
        op: 'accumulateGram',
        input,
        other: teacherSlot(name),
        out: crossSlot(name),
      });
      expect(plan.slots[teacherSlot(name)]).toEqual({ kind: 'f32', width: shape[1] });
      expect(plan.slots[crossSlot(name)]).toEqual({ kind: 'stat', width: shape[1]! ** 2 });
    }
  });

  it('keeps every distinct input of a block to the end of a run', () => {
    const { operations } = buildPlan(dense, { section: { block: 0 } });
    for (const { name, kind, block } of listTensors(dense.architecture)) {
      if (kind !== 'linear' || block !== 0) continue;
      const slot = inputSlot(name);
      const product = operations.findIndex((operation) => 'weight' in operation && operation.weight === name);
      expect(operations[product]).toMatchObject({ op: 'denseMatMul', input: slot });
      const later = operations.slice(product).map((operation) => ('out' in operation ? operation.out : ''));
      expect(later).not.toContain(slot);
    }
    expect(() => inputSlot('model.norm.weight')).toThrow(RangeError);
  });

  it('carries the window, the epsilon and the frequencies', () => {
    const source = makeTinyModel({
      architecture: { family: 'mistral', slidingWindow: 7, normEpsilon: 0.25 },
    });
    const plan = buildPlan(source);
    expect(plan.operations.find(({ op }) => op === 'attention')).toMatchObject({ window: 7 });
    expect(plan.operations.find(({ op }) => op === 'rmsNorm')).toMatchObject({ epsilon: 0.25 });
    expect(plan.ropeFrequencies).toHaveLength(8);
  });
});

describe('buildPlan refuses', () => {
  const down = 'model.layers.1.mlp.down_proj.weight';

  it('a missing tensor, with the shape it should have', () => {
    const source = { ...dense, tensorNames: dense.tensorNames.filter((name) => name !== down) };
    const error = errorOf(source);
    expect(error.code).toBe('PLAN_TENSOR_MISSING');
    expect(error.message).toContain(`"${down}" of shape [64, 172]`);
    expect(error.where).toBe(down);
    expect(() => buildPlan(source, { section: { block: 0 } })).not.toThrow();
  });

  it('a wrong shape, with the one found and the one expected', () => {
    const error = errorOf(withTensor(down, { shape: [172, 64] }));
    expect(error.code).toBe('PLAN_SHAPE_MISMATCH');
    expect(error.message).toContain('has shape [172, 64]; the architecture needs [64, 172]');
    expect(errorOf(withTensor(down, { shape: [64 * 172] })).code).toBe('PLAN_SHAPE_MISMATCH');
  });

  it('an activation quantizer that no backend runs yet, unless activations stay unquantized', () => {
    const plain = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;
    for (const quantizer of [
      { ...plain, knee: { code: 12, slopeRatio: 3 } },
      { ...plain, planeScales: [1, 2, 4, 8.5] },
    ]) {
      const quantizers = () => quantizer;
      expect(errorOf(w11, { quantizers }).code).toBe('PLAN_ACTIVATION_UNSUPPORTED');
      expect(buildPlan(w11, { quantizers, activations: 'f16' }).operations.length).toBeGreaterThan(0);
    }
  });

  it('an encoding that no backend runs yet', () => {
    const binary = { kind: 'partial-binary', groupSize: 64, salientCount: 9 } as const;
    expect(errorOf(withTensor(down, { encoding: binary })).code).toBe('PLAN_ENCODING_UNSUPPORTED');
  });

  it('an encoding that cannot be used there', () => {
    const encoding = { kind: 'w11', groupSize: 64, offsets: true } as const;
    expect(errorOf(withTensor('model.norm.weight', { encoding })).code).toBe('PLAN_ENCODING_UNSUPPORTED');
    expect(errorOf(withTensor('model.embed_tokens.weight', { encoding })).code).toBe(
      'PLAN_ENCODING_UNSUPPORTED',
    );
    const unknown = {
      kind: 'unknown',
      id: 77,
      groupSize: 0,
      flags: 0,
      outlierColumns: 0,
      salientCount: 0,
    } as const;
    expect(errorOf(withTensor(down, { encoding: unknown })).code).toBe('PLAN_ENCODING_UNSUPPORTED');
  });

  it('a bias, rather than ignoring it', () => {
    const bias = 'model.layers.0.self_attn.q_proj.bias';
    const error = errorOf({ ...dense, tensorNames: [...dense.tensorNames, bias] });
    expect(error.code).toBe('PLAN_TENSOR_UNSUPPORTED');
    expect(error.where).toBe(bias);
  });

  it('an architecture that makes no sense', () => {
    const changes: Partial<Architecture>[] = [
      { kvHeadCount: 3 },
      { headCount: 0 },
      { hiddenSize: 1.5 },
      { headSize: 15 },
      { slidingWindow: 0 },
      { normEpsilon: Number.NaN },
      { ropeTheta: -1 },
      { blockCount: 0 },
    ];
    for (const change of changes)
      expect(errorOf(withArchitecture(change)).code).toBe('PLAN_ARCHITECTURE_INVALID');
    const family = JSON.parse('{"family":"mamba"}');
    expect(errorOf(withArchitecture(family)).message).toContain('"mamba"');
  });

  it('a block that does not exist', () => {
    for (const block of [2, -1, 0.5])
      expect(errorOf(dense, { section: { block } }).code).toBe('PLAN_SECTION_UNKNOWN');
  });
});
