// What a file is refused with, by opening and by validation.
import { createMemorySource, DuobitError, openContainer, validateContainer } from '@duobit/format';
import { expect } from 'vitest';

/** The code with which opening refuses a file, or 'opened'. Every refusal says where and what to do. */
export async function openCode(bytes: Uint8Array): Promise<string> {
  try {
    await openContainer(createMemorySource(bytes, 'forged.duo'));
  } catch (error) {
    if (!(error instanceof DuobitError)) throw error;
    expect(error.source).toBe('forged.duo');
    expect(error.where).toBeTruthy();
    expect(error.remedy).toBeTruthy();
    return error.code;
  }
  return 'opened';
}

/** Codes of all problems, in the order in which validation gives them. */
export async function validationCodes(bytes: Uint8Array): Promise<string[]> {
  const report = await validateContainer(createMemorySource(bytes, 'forged.duo'));
  expect(report.ok).toBe(report.problems.length === 0);
  for (const problem of report.problems) {
    expect(problem.where).toBeTruthy();
    expect(problem.message).toBeTruthy();
    expect(problem.remedy).toBeTruthy();
  }
  return report.problems.map(({ code }) => code);
}
