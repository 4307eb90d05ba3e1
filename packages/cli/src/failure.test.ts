import { DuobitError } from '@duobit/format';
import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { describeFailure } from './failure.ts';

describe('describeFailure', () => {
  it('passes the facts of a DuobitError on', () => {
    const error = new DuobitError('X_CODE', 'three is not four', {
      source: 'a.duo',
      where: 'tensor t',
      remedy: 'Count again',
    });
    expect(describeFailure(error, false)).toEqual({
      exitCode: 1,
      line: 'X_CODE: three is not four (a.duo, tensor t). Count again',
      error: {
        code: 'X_CODE',
        message: 'three is not four',
        where: 'a.duo, tensor t',
        remedy: 'Count again',
      },
    });
  });

  it('gives failures of the platform a code', () => {
    const memory = describeFailure(new RangeError('Array buffer allocation failed'), false);
    expect(memory?.error.code).toBe('OUT_OF_MEMORY');
    const disk = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC', syscall: 'write' });
    expect(describeFailure(disk, false)?.error.code).toBe('FILE_IO');
  });

  it('calls everything else a defect', () => {
    expect(describeFailure(new TypeError('x is not a function'), false)).toMatchObject({
      exitCode: 1,
      error: { code: 'INTERNAL', message: 'x is not a function', where: null },
    });
    expect(describeFailure('text', false)?.error).toMatchObject({ code: 'INTERNAL', message: 'text' });
  });

  it('calls whatever an interrupted command threw an interruption', () => {
    expect(describeFailure(new Error('half done'), true)).toMatchObject({
      exitCode: 130,
      error: { code: 'ABORTED' },
    });
  });

  it('lets help and version pass, and nothing else of commander', () => {
    expect(
      describeFailure(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'), false),
    ).toBeNull();
    const usage = describeFailure(
      new CommanderError(1, 'commander.unknownOption', "error: unknown option '-x'"),
      false,
    );
    expect(usage).toMatchObject({ exitCode: 2, error: { code: 'USAGE', message: "unknown option '-x'" } });
  });
});
