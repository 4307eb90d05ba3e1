import { describe, expect, it } from 'vitest';
import { editDistance, findNearest } from './nearest.ts';

describe('findNearest', () => {
  const names = [
    'lm_head.weight',
    'model.layers.0.mlp.up_proj.weight',
    'model.layers.0.self_attn.q_proj.weight',
    'model.layers.1.self_attn.q_proj.weight',
    'model.norm.weight',
  ];

  it('finds a mistyped name', () => {
    expect(findNearest('model.layers.1.selfattn.q_proj.weight', names)[0]).toBe(names[3]);
    expect(findNearest('model.layers.0.mlp.up_proj', names)[0]).toBe(names[1]);
  });

  it('prefers names that contain what was typed', () => {
    expect(findNearest('q_proj', names, 2)).toEqual([names[2], names[3]]);
  });

  it('gives something for nothing, and nothing of nothing', () => {
    expect(findNearest('', names, 1)).toEqual(['lm_head.weight']);
    expect(findNearest('x', [])).toEqual([]);
  });
});

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['flaw', 'lawn', 2],
    ['same', 'same', 0],
  ])('of %j and %j is %i, both ways', (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected);
    expect(editDistance(b, a)).toBe(expected);
  });
});
