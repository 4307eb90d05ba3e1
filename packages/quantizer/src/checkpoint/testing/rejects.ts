// How tests state an expected failure: the code, and what the message, place or remedy must name.
import { DuobitError } from '@duobit/format';
import { expect } from 'vitest';

/** Runs `act` and gives back the DuobitError it fails with; everything a user needs must be in it. */
export async function expectFailure(
  act: () => Promise<unknown>,
  code: string,
  ...named: string[]
): Promise<DuobitError> {
  const error: unknown = await act().then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DuobitError);
  if (!(error instanceof DuobitError)) throw new Error('not reached');
  expect(`${error.code}: ${error.message}`).toMatch(new RegExp(`^${code}: `));
  for (const text of named) expect(error.describe()).toContain(text);
  expect(error.source).toBeTruthy();
  expect(error.remedy).toBeTruthy();
  return error;
}
