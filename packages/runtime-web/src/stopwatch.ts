// Times what a tuning changes, on random numbers that nobody reads: products of the size of a large model's, attention over a long
// context.
import type { ExecutionPlan, HeadLayout, KvPrecision, Operation, Slot } from '@duobit/core';
import { encodedPlaneLengths, type TensorData } from '@duobit/format';
import type { WebGpuDevice } from './device.ts';
import { Pipelines } from './pipelines.ts';
import { preparePlan } from './prepare.ts';
import { WebGpuProgram } from './program.ts';
import type { Stopwatch, Subject } from './tuner.ts';

/** Rows and columns of the matrix, and positions of the cache. */
const SIZE = 4096;
const HEAD_SIZE = 128;
const REPEATS: Readonly<Record<Subject, number>> = { product: 64, attention: 16 };
/** Runs that are timed; the fastest counts. */
const ROUNDS = 3;

/** Options of `createStopwatch`. */
export interface StopwatchOptions {
  /** Where what is compiled is kept. Default: nowhere. */
  readonly pipelines?: Pipelines | undefined;
  /** Products, or attentions, in a run. Default: so many that even clocks of browsers, which tell tenths of milliseconds, tell choices apart. */
  readonly repeats?: Readonly<Record<Subject, number>> | undefined;
  /** Rows and columns of the matrix, and positions of the cache: a multiple of 512. Default 4096. */
  readonly size?: number | undefined;
}

/** Measures kernels on a device, with weights and inputs of its own. */
export function createStopwatch(
  open: WebGpuDevice,
  kv: KvPrecision,
  { pipelines = new Pipelines(open.device), repeats = REPEATS, size = SIZE }: StopwatchOptions = {},
): Stopwatch {
  const now = () => performance.now();
  return {
    now,
    async measure(subject, tuning) {
      const engine = { open, pipelines, kv, tuning };
      const options = { capacity: size, maxRows: 1 };
      const prepared = await preparePlan(
        engine,
        planOf(subject, repeats[subject], size),
        async () => emptyWeight(size),
        options,
      );
      const program = new WebGpuProgram(engine, prepared);
      const request = { rows: 1, position: subject === 'attention' ? size - 1 : 0, logits: 'none' } as const;
      const time = async (): Promise<number> => {
        if (open.hasTimestamps) return (await program.profile(request, 'run'))[0]!.nanoseconds / 1e6;
        const begun = now();
        await program.run(request);
        await program.finish();
        return now() - begun;
      };
      try {
        // The first one compiles and warms up.
        await time();
        let least = Number.POSITIVE_INFINITY;
        for (let round = 0; round < ROUNDS; round++) least = Math.min(least, await time());
        return least;
      } finally {
        await program.dispose();
      }
    },
  };
}

function planOf(subject: Subject, repeats: number, size: number): ExecutionPlan {
  const heads: HeadLayout = {
    headCount: size / HEAD_SIZE,
    kvHeadCount: size / HEAD_SIZE / 4,
    headSize: HEAD_SIZE,
  };
  const quantizer = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;
  const slots: Record<string, Slot> = {
    x: { kind: 'f32', width: size },
    codes: { kind: 'a4', width: size },
    k: { kind: 'f32', width: heads.kvHeadCount * HEAD_SIZE },
    v: { kind: 'f32', width: heads.kvHeadCount * HEAD_SIZE },
    y: { kind: 'f32', width: size },
  };
  const attention = {
    query: 'x',
    key: 'k',
    value: 'v',
    out: 'y',
    layer: 0,
    heads,
    window: null,
  } as const;
  const product = { input: 'codes', weight: 'w', out: 'y' } as const;
  const operations: Operation[] =
    subject === 'product' ? [{ op: 'quantizeActivations', input: 'x', quantizer, out: 'codes' }] : [];
  for (let i = 0; i < repeats; i++)
    operations.push(
      subject === 'product' ? { op: 'w11MatMul', ...product } : { op: 'attention', ...attention },
    );
  const ropeFrequencies = new Float64Array(HEAD_SIZE / 2);
  return { slots, operations, cacheLayers: subject === 'attention' ? 1 : 0, heads, ropeFrequencies };
}

/** All zeros, which take as long as any other. */
function emptyWeight(size: number): TensorData {
  const shape = [size, size];
  const encoding = { kind: 'w11', groupSize: 128, offsets: true } as const;
  const planes = Object.fromEntries(
    Object.entries(encodedPlaneLengths(encoding, shape)).map(([role, length]) => [
      role,
      new Uint8Array(length),
    ]),
  );
  return { info: { name: 'w', shape, encoding, activation: null }, planes };
}
