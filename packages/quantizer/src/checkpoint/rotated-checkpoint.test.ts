// Rotations are orthonormal, and rotating leaves the model's function alone.
import { buildPlan, createReferenceBackend, type PlanSource, SLOTS } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { makeMemoryCheckpoint, SMALL_ARCHITECTURE } from '../testing/memory-checkpoint.ts';
import type { Checkpoint } from './checkpoint.ts';
import { rotateCheckpoint } from './rotated-checkpoint.ts';
import { rotateInputs } from './rotated-inputs.ts';
import { createRotation } from './rotation.ts';

describe('createRotation', () => {
  it.each([
    [1, undefined],
    [7, undefined],
    [64, undefined],
    [24, undefined],
    [576, undefined],
    [576, 64],
    [24, 4],
  ])('is orthonormal for %i dimensions (blocks of %s)', (size, block) => {
    const rotation = createRotation(size, 1, block);
    const matrix = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      matrix[i * size + i] = 1;
      rotation.apply(matrix, i * size, 1);
    }
    for (let i = 0; i < size; i += Math.ceil(size / 20))
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let k = 0; k < size; k++) dot += matrix[i * size + k]! * matrix[j * size + k]!;
        expect(dot).toBeCloseTo(i === j ? 1 : 0, 12);
      }
    if (block === undefined || size <= block) return;
    for (let j = block; j < size; j++) expect(matrix[j]! + 0).toBe(0);
  });

  it('spreads one large value over all dimensions', () => {
    const values = new Float32Array(576);
    values[100] = 100;
    createRotation(576, 5).apply(values, 0, 1);
    expect(Math.max(...values.map(Math.abs))).toBeLessThan(10);
  });
});

async function logits(checkpoint: Checkpoint & PlanSource): Promise<Float32Array> {
  const backend = createReferenceBackend();
  const program = await backend.prepare(
    buildPlan(checkpoint, { activations: 'f16' }),
    (name) => checkpoint.readTensor(name),
    { capacity: 16, maxRows: 16 },
  );
  await program.write(
    SLOTS.tokens,
    Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 50),
  );
  await program.run({ rows: 16, position: 0, logits: 'all' });
  const result = await program.read(SLOTS.logits);
  await backend.dispose();
  return result;
}

describe('rotateCheckpoint', () => {
  it.each([true, false])('gives the same logits (tied head %s)', async (tiedHead) => {
    const checkpoint = makeMemoryCheckpoint({ ...SMALL_ARCHITECTURE, tiedHead });
    for (const [name, values] of checkpoint.tensors)
      if (name.includes('norm')) values.set(values.map((value, i) => 1 + 8 * value + (i % 3)));
    const expected = await logits(checkpoint);
    const size = Math.max(...expected.map(Math.abs));
    for (const block of ['full', 4] as const) {
      const rotated = rotateCheckpoint(checkpoint, block);
      expect(rotated.tensorNames).toContain('lm_head.weight');
      const found = await logits(rotated);
      // Weights are rounded to f32 once more, 2^-24 each; a dozen layers of sums of 24 to 40 terms.
      const worst = Math.max(...found.map((value, i) => Math.abs(value - expected[i]!)));
      expect(worst).toBeLessThan(size * 2 ** -17);
    }
  });

  it('gives rows as it gives tensors, and refuses others', async () => {
    const rotated = rotateCheckpoint(makeMemoryCheckpoint(), 'full');
    const name = 'model.layers.0.mlp.down_proj.weight';
    const whole = await rotated.readF32(name);
    const columns = rotated.tensorInfo(name).shape[1]!;
    expect(await rotated.readRows(name, 3, 5)).toEqual(whole.slice(3 * columns, 5 * columns));
    await expect(rotated.readRows(name, 5, 500)).rejects.toMatchObject({ code: 'CHECKPOINT_ROW_RANGE' });
  });
});

describe('rotateInputs', () => {
  it('gives the same logits', async () => {
    const checkpoint = makeMemoryCheckpoint();
    const expected = await logits(checkpoint);
    const rotated = rotateInputs(checkpoint);
    const { operations } = buildPlan(rotated, { section: { block: 0 }, activations: 'f16' });
    expect(operations.filter(({ op }) => op === 'rotateInput')).toHaveLength(4);
    const found = await logits(rotated);
    // As above, with the rotated inputs rounded to f32 at each of their few stages.
    const worst = Math.max(...found.map((value, i) => Math.abs(value - expected[i]!)));
    expect(worst).toBeLessThan(Math.max(...expected.map(Math.abs)) * 2 ** -17);
  });

  it('rotates linear layers alone, and rows as tensors', async () => {
    const checkpoint = makeMemoryCheckpoint();
    const rotated = rotateInputs(checkpoint);
    for (const name of checkpoint.tensorNames) {
      const whole = await rotated.readF32(name);
      const linear = name.includes('proj');
      expect(rotated.tensorInfo(name).inputRotation).toBe(linear ? 'hadamard' : undefined);
      const given = await checkpoint.readF32(name);
      expect(Buffer.compare(Buffer.from(whole.buffer), Buffer.from(given.buffer)) === 0).toBe(!linear);
      if (linear) {
        const columns = rotated.tensorInfo(name).shape[1]!;
        expect(await rotated.readRows(name, 3, 5)).toEqual(whole.slice(3 * columns, 5 * columns));
      }
    }
  });
});
