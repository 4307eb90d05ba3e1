import { describe, expect, it } from 'vitest';
import { listTree, type TensorSize } from './module-tree.ts';

const tensor = (name: string, bytes = 10, label = 'f16'): TensorSize => ({ name, weights: 4, bytes, label });

const show = (tensors: readonly TensorSize[]): string[] =>
  listTree(tensors).map(
    ({ depth, name, tensors: count, bytes }) => `${' '.repeat(depth)}${name} ${count} ${bytes}`,
  );

describe('listTree', () => {
  it('sums modules, and joins alike blocks', () => {
    const blocks = [0, 1, 2].flatMap((i) => [
      tensor(`model.layers.${i}.norm.weight`, 2),
      tensor(`model.layers.${i}.mlp.up.weight`),
      tensor(`model.layers.${i}.mlp.up.bias`, 1),
    ]);
    expect(show([tensor('model.embed.weight', 100), ...blocks, tensor('head.weight', 7)])).toEqual([
      'model 10 139',
      ' embed.weight 1 100',
      ' layers 9 39',
      '  0 to 2, each 3 13',
      '   norm.weight 1 2',
      '   mlp 2 11',
      '    up 2 11',
      '     weight 1 10',
      '     bias 1 1',
      'head.weight 1 7',
    ]);
  });

  it('keeps blocks apart that differ in bytes, label or number', () => {
    const names = (tensors: readonly TensorSize[]) => listTree(tensors).map(({ name }) => name);
    expect(names([tensor('l.0.w', 1), tensor('l.1.w', 2)])).toEqual(['l', '0.w', '1.w']);
    expect(names([tensor('l.0.w', 1, 'f32'), tensor('l.1.w', 1)])).toEqual(['l', '0.w', '1.w']);
    expect(names([tensor('l.0.w'), tensor('l.2.w')])).toEqual(['l', '0.w', '2.w']);
    expect(names([tensor('l.0.w'), tensor('l.1.w'), tensor('l.3.w')])).toEqual([
      'l',
      '0 to 1, each.w',
      '3.w',
    ]);
  });

  it('takes names without dots, and a tensor that is also a module', () => {
    expect(show([tensor('a'), tensor('a.b')])).toEqual(['a 2 20', ' b 1 10']);
    expect(show([])).toEqual([]);
  });
});
