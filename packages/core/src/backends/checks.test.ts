// What callers of backends read when they ask for what is not there.
import { DuobitError } from '@duobit/format';
import { describe, expect, it } from 'vitest';
import type { ExecutionPlan } from '../plan.ts';
import {
  checkLogitsRow,
  checkPart,
  checkPrepareOptions,
  checkTemperature,
  checkTokens,
  checkTop,
  disposed,
  notRun,
} from './checks.ts';

const plan: ExecutionPlan = {
  slots: { logits: { kind: 'f32', width: 40 } },
  operations: [],
  cacheLayers: 0,
  heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
  ropeFrequencies: new Float64Array(1),
};

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof DuobitError) return `${error.code}: ${error.message}. ${error.remedy}`;
    throw error;
  }
  return 'none';
}

describe('refusals', () => {
  it('of options say which number was given and which are possible', () => {
    for (const field of ['capacity', 'maxRows', 'sequences'])
      for (const value of [0, 1.5, Number.NaN, '2'])
        expect(refusal(() => checkPrepareOptions({ capacity: 1, maxRows: 1, [field]: value }))).toBe(
          `BACKEND_OPTION: ${field} is ${value}; it must be a positive whole number. Give a positive whole number`,
        );
    expect(
      refusal(() => checkPrepareOptions({ capacity: 1, maxRows: 1, sequences: 2 })),
    ).toMatchInlineSnapshot(
      `"BACKEND_OPTION: 2 sequences were asked for; this backend has at most 1. Prepare fewer, or on another backend"`,
    );
  });

  it('of reads are sentences', () => {
    expect(refusal(() => checkTop(plan, 'logits', 41))).toMatchInlineSnapshot(
      `"RUN_INVALID: asked for the 41 largest values of slot "logits"; it allows 1 to 40. Ask for a number in this range"`,
    );
    expect(refusal(() => checkPart(plan, 'logits', 30, 11))).toMatchInlineSnapshot(
      `"RUN_INVALID: asked for 11 values of slot "logits" from place 30 on; it is 40 wide. Ask for a range inside the slot"`,
    );
    expect(refusal(() => checkTemperature(0))).toMatchInlineSnapshot(
      `"RUN_INVALID: temperature is 0; it must be finite and above zero. Choose one above zero"`,
    );
    expect(refusal(() => checkLogitsRow('logits', 2, 2))).toMatchInlineSnapshot(
      `"RUN_INVALID: row 2 of "logits" was asked for; the latest run computed 2 rows of logits. Ask for a row that was computed, counted from 0, or run the program with logits first"`,
    );
    expect(refusal(() => checkLogitsRow('logits', 0, 0))).toMatchInlineSnapshot(
      `"RUN_INVALID: row 0 of "logits" was asked for; the latest run computed 0 rows of logits. Ask for a row that was computed, counted from 0, or run the program with logits first"`,
    );
    for (const token of [-1, 40, 1.5, Number.NaN])
      expect(refusal(() => checkTokens([1, token], 40))).toContain(`token ${token} in row 1`);
  });

  it('of what cannot work any more say what to do', () => {
    const told = ({ code, message, remedy }: DuobitError) => `${code}: ${message}. ${remedy}`;
    expect([notRun('logits'), disposed('program'), disposed('backend')].map(told)).toMatchInlineSnapshot(`
      [
        "RUN_INVALID: slot "logits" was read before a successful run. Run the program first",
        "BACKEND_DISPOSED: the program was used after dispose(). Prepare a new one",
        "BACKEND_DISPOSED: the backend was used after dispose(). Create a new one",
      ]
    `);
  });
});
