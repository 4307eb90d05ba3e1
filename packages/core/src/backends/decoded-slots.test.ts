import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { buildPlan } from '../build-plan.ts';
import type { ExecutionPlan, Operation } from '../plan.ts';
import { decodedSlots } from './decoded-slots.ts';

const plan = buildPlan(makeTinyModel({ linear: 'w11', rotated: () => true }));
const vocabularies = new Map([['tokens', plan.slots.logits!.width]]);
/** The plan with operations before or behind its own. */
const around = (before: Operation[], behind: Operation[] = []): ExecutionPlan => ({
  ...plan,
  operations: [...before, ...plan.operations, ...behind],
});

describe('decodedSlots', () => {
  it("finds those of a model's plan", () => {
    expect(decodedSlots(plan, vocabularies)).toEqual({ tokens: 'tokens', logits: 'logits' });
  });

  it('refuses plans that do not begin with looking a token up', () => {
    expect(decodedSlots(around([{ op: 'add', input: 'branch', out: 'residual' }]), vocabularies)).toBeNull();
    expect(decodedSlots({ ...plan, operations: plan.operations.slice(1) }, vocabularies)).toBeNull();
    expect(decodedSlots(around([plan.operations[0]!]), vocabularies)).toBeNull();
  });

  it('refuses plans that keep something from run to run', () => {
    const slots = {
      ...plan.slots,
      kept: plan.slots.residual!,
      sums: { kind: 'stat', width: 64 * 64 } as const,
    };
    const withSlots = (operation: Operation) => ({ ...around([], [operation]), slots });
    const gram = { op: 'accumulateGram', input: 'residual', other: null, out: 'sums' } as const;
    expect(decodedSlots(withSlots(gram), vocabularies)).toBeNull();
    // What nobody has written before is of an earlier run, or the caller's.
    expect(decodedSlots(withSlots({ op: 'add', input: 'kept', out: 'residual' }), vocabularies)).toBeNull();
    expect(decodedSlots(withSlots({ op: 'add', input: 'residual', out: 'kept' }), vocabularies)).toBeNull();
  });

  it('refuses heads that give more tokens than can be looked up, and plans of none or two', () => {
    expect(decodedSlots(plan, new Map([['tokens', plan.slots.logits!.width - 1]]))).toBeNull();
    expect(decodedSlots({ ...plan, operations: plan.operations.slice(0, -1) }, vocabularies)).toBeNull();
    expect(decodedSlots(around([], [plan.operations.at(-1)!]), vocabularies)).toBeNull();
  });
});
