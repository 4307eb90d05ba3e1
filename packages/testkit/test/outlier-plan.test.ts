// Plans of weights with outlier columns.
import { buildPlan, type PlanOptions, readOutlierColumns } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { makeTinyModel, type TinyModel } from '../src/tiny-model.ts';

const down = 'model.layers.1.mlp.down_proj.weight';

describe('buildPlan', () => {
  it('takes outlier columns out first, once for the weights of an input that have the same, and adds their products', async () => {
    const block = async (source: TinyModel, options: PlanOptions = {}) =>
      buildPlan(source, {
        section: { block: 0 },
        outliers: await readOutlierColumns(source),
        ...options,
      }).operations.flatMap((operation) =>
        operation.op === 'takeColumns'
          ? [`take ${operation.columns} of ${operation.input} -> ${operation.kept}, ${operation.taken}`]
          : operation.op === 'rotateInput' || operation.op === 'quantizeActivations'
            ? [`${operation.op} ${operation.input} -> ${operation.out}`]
            : operation.op === 'w11MatMul' || operation.op === 'denseMatMul'
              ? [`${operation.input} x ${operation.weight.split('.').at(-2)} -> ${operation.out}`]
              : operation.op === 'add'
                ? [`add ${operation.input} -> ${operation.out}`]
                : [],
      );
    const product = (input: string, taken: string, weight: string, out: string) => [
      `${input} x ${weight}_proj -> ${out}`,
      `${taken} x ${weight}_proj -> ${out}:outliers`,
      `add ${out}:outliers -> ${out}`,
    ];
    const rotated = makeTinyModel({ linear: 'w11-outlier', rotated: () => true });
    expect((await block(rotated)).slice(0, 18)).toEqual([
      'take 0,32,63 of normed -> normed.kept, normed.taken.3',
      'rotateInput normed.kept -> normed.kept.rotated',
      'quantizeActivations normed.kept.rotated -> normed.kept.rotated.a4',
      ...product('normed.kept.rotated.a4', 'normed.taken.3', 'q', 'query'),
      ...product('normed.kept.rotated.a4', 'normed.taken.3', 'k', 'key'),
      ...product('normed.kept.rotated.a4', 'normed.taken.3', 'v', 'value'),
      'take 0,32,63 of attended -> attended.kept, attended.taken.3',
      'rotateInput attended.kept -> attended.kept.rotated',
      'quantizeActivations attended.kept.rotated -> attended.kept.rotated.a4',
      ...product('attended.kept.rotated.a4', 'attended.taken.3', 'o', 'branch'),
    ]);

    const outliers = (weight: string) => (/k_proj|up_proj/.test(weight) ? [5, 6] : [5]);
    const unequal = makeTinyModel({ linear: 'w11-outlier', outliers });
    expect((await block(unequal, { activations: 'f16' })).slice(0, 11)).toEqual([
      'take 5 of normed -> normed.kept, normed.taken.1',
      ...product('normed.kept', 'normed.taken.1', 'q', 'query'),
      'take 5,6 of normed -> normed.kept.1, normed.taken.2.1',
      ...product('normed.kept.1', 'normed.taken.2.1', 'k', 'key'),
      ...product('normed.kept', 'normed.taken.1', 'v', 'value'),
    ]);
    const { slots, operations } = buildPlan(unequal, { outliers: await readOutlierColumns(unequal) });
    expect(slots['normed.kept.1']).toEqual({ kind: 'f32', width: 64 });
    expect(slots['normed.taken.2.1']).toEqual({ kind: 'f32', width: 2 });
    // Two of normed and of mlpNormed in each of two blocks, one of attended and of activated: as often as they are written.
    expect(operations.filter(({ op }) => op === 'takeColumns')).toHaveLength(12);
    const options = { statistics: 'gram', outliers: await readOutlierColumns(unequal) } as const;
    expect(() => buildPlan(unequal, options)).toThrow(
      expect.objectContaining({
        code: 'PLAN_ACTIVATION_UNSUPPORTED',
        message: expect.stringContaining('outlier columns'),
      }),
    );
  });

  it('refuses outlier columns that it was not told, and more of them than one group of int8', () => {
    const refusal = (text: string) =>
      expect.objectContaining({
        code: 'PLAN_ENCODING_UNSUPPORTED',
        message: expect.stringContaining(text),
        where: down,
      });
    const source = makeTinyModel({ linear: 'w11-outlier', architecture: { intermediateSize: 300 } });
    const first = (count: number) => Array.from({ length: count }, (_, k) => k);
    const options = (count: number) => ({ outliers: (weight: string) => first(weight === down ? count : 1) });
    expect(() => buildPlan(source, options(0))).toThrow(refusal('was not told'));
    expect(() => buildPlan(source)).toThrow('was not told');
    expect(() => buildPlan(source, options(256))).not.toThrow();
    expect(() => buildPlan(source, options(257))).toThrow(refusal('257 outlier columns; at most 256'));
  });
});
