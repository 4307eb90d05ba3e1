// What cases demand beside values: conditions, and errors with the right code.
import { DuobitError } from '@duobit/format';

/** @throws Error unless the action fails with this code. */
export async function demandCode(code: string, label: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (error instanceof DuobitError && error.code === code) return;
    throw new Error(`${label}: failed with ${error}, expected the code ${code}`);
  }
  throw new Error(`${label}: succeeded, expected the code ${code}`);
}

/** @throws Error with the message unless the condition holds */
export function demand(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}
