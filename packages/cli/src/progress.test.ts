import { describe, expect, it } from 'vitest';
import { Capture, createIo } from '../test/harness.ts';
import { createProgress } from './progress.ts';

function capture() {
  const stderr = new Capture();
  return { io: createIo({ stderr }), stderr };
}

describe('progress off a terminal', () => {
  it('prints as many lines a phase as asked, however many updates come', () => {
    const { io, stderr } = capture();
    const progress = createProgress(io, { lines: { quantize: 4, quiet: 0 } });
    for (let done = 0; done <= 1000; done += 1) progress.update('quantize', done, 1000, `tensor ${done}`);
    for (let done = 0; done <= 10; done += 1) progress.update('quiet', done, 10);
    for (let done = 0; done <= 10; done += 1) progress.update('write', done, 10);
    progress.update('nothing', 0, 0);
    progress.stop();
    expect(stderr.text).toBe('quantize: 25%\nquantize: 50%\nquantize: 75%\nquantize: 100%\nwrite: 100%\n');
  });

  it('skips lines that one large step jumps over', () => {
    const { io, stderr } = capture();
    const progress = createProgress(io, { lines: { load: 10 } });
    progress.update('load', 55, 100);
    progress.update('load', 100, 100);
    expect(stderr.text).toBe('load: 50%\nload: 100%\n');
  });
});
