// Which operations run as one, on the plans of real architectures.
import { buildPlan, type Operation } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { type FuseRules, fuseOperations, listJoinable, type Unit } from './fuse.ts';

const rulesOf = (canJoin = true, mostRotated = 4096): FuseRules => ({
  canJoin: () => canJoin,
  canRotate: (width) => width <= mostRotated,
});
const kindsOf = (plan: ReturnType<typeof buildPlan>, rules = rulesOf()) =>
  fuseOperations(plan, rules).map((unit) => (unit.kind === 'single' ? unit.operation.op : unit.kind));

function operationsOf(unit: Unit): readonly Operation[] {
  switch (unit.kind) {
    case 'single':
      return [unit.operation];
    case 'quantized':
      return [unit.source, unit.rotate, unit.quantize].filter((operation) => operation !== null);
    case 'joined':
      return unit.products;
    case 'added':
      return [unit.product, unit.add];
    case 'ropes':
      return [unit.first, unit.second];
    case 'attended':
      return [unit.first, unit.second, unit.attention];
  }
}

describe('fuseOperations', () => {
  const w11 = makeTinyModel({ linear: 'w11', embedding: 'int8', architecture: { blockCount: 1 } });

  it('runs a W(1+1)A4 block in eight units', () => {
    expect(kindsOf(buildPlan(w11))).toEqual([
      'embed',
      'quantized',
      'joined',
      'attended',
      'quantizeActivations',
      'added',
      'quantized',
      'joined',
      'quantized',
      'added',
      'rmsNorm',
      'logits',
    ]);
  });

  it('rotates where codes are made, if a row fits', () => {
    const rotated = makeTinyModel({ linear: 'w11', rotated: () => true, architecture: { blockCount: 1 } });
    const { hiddenSize, intermediateSize } = rotated.architecture;
    const plan = buildPlan(rotated);
    const kinds = [
      'quantized',
      'joined',
      'attended',
      'quantized',
      'added',
      'quantized',
      'joined',
      'quantized',
      'added',
    ];
    expect(kindsOf(plan)).toEqual(['embed', ...kinds, 'rmsNorm', 'logits']);
    expect(intermediateSize).toBeGreaterThan(hiddenSize);
    expect(kindsOf(plan, rulesOf(true, hiddenSize)).slice(8, 11)).toEqual([
      'siluMul',
      'rotateInput',
      'quantizeActivations',
    ]);
  });

  it('leaves products apart whose weights are', () => {
    const kinds = kindsOf(buildPlan(w11), rulesOf(false));
    expect(kinds.filter((kind) => kind === 'joined')).toEqual([]);
    expect(kinds.filter((kind) => kind === 'w11MatMul')).toHaveLength(5);
  });

  it('keeps every operation, in order', () => {
    for (const options of [{ linear: 'w11-outlier', rotated: () => true }, { linear: 'int4' }, {}] as const) {
      const source = makeTinyModel(options);
      const plan = buildPlan(source, { outliers: () => [0, 32, 63] });
      const operations = fuseOperations(plan, rulesOf()).flatMap(operationsOf);
      expect(operations).toEqual(plan.operations);
    }
  });

  it('joins weights of one input that nothing else uses', () => {
    const layer = 'model.layers.0';
    expect(listJoinable(buildPlan(w11))).toEqual([
      ['q', 'k', 'v'].map((name) => `${layer}.self_attn.${name}_proj.weight`),
      ['gate', 'up'].map((name) => `${layer}.mlp.${name}_proj.weight`),
    ]);
    const plan = buildPlan(w11);
    const again = {
      op: 'w11MatMul',
      input: 'normed.a4',
      weight: `${layer}.self_attn.q_proj.weight`,
      out: 'query',
    } as const;
    expect(listJoinable({ ...plan, operations: [...plan.operations, again] })).toHaveLength(1);
  });
});
