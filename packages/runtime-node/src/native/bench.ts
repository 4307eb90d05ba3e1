// How fast the native W(1+1)A4 kernel multiplies one row of activations, on one thread: the counterpart of core's
// `benchMatvec`.
import { createRandom, type MatvecOptions, type MatvecReport } from '@duobit/core';
import { bitRowStride, DuobitError, GROUP_SIZES, groupCount } from '@duobit/format';
import { createNativeBackend } from './backend.ts';

const SLICES = 15;

/**
 * Times products of one row of codes with a random matrix, weights warm in whatever cache holds them.
 * @throws DuobitError `BACKEND_OPTION` for sizes that are not positive integers; what `createNativeBackend` throws.
 */
export async function benchNativeMatvec(options: MatvecOptions): Promise<MatvecReport> {
  const { rows, columns, groupSize, seconds = 1 } = options;
  const sizes = [rows, columns].every((size) => Number.isSafeInteger(size) && size > 0);
  if (!sizes || !GROUP_SIZES.includes(groupSize) || !(seconds > 0 && seconds <= 3600))
    throw new DuobitError(
      'BACKEND_OPTION',
      `${rows} rows, ${columns} columns, groups of ${groupSize}, ${seconds} seconds`,
      {
        where: 'matvec',
        remedy: `Give positive integers, a group size of ${GROUP_SIZES.join(', ')}, at most 3600 seconds`,
      },
    );
  const random = createRandom(1);
  const bits = () => Uint8Array.from({ length: rows * bitRowStride(columns) }, () => random() * 256);
  // Levels of 0.0625; the speed does not depend on them, nor on the codes, which are all zero.
  const levels = new Uint8Array(
    new Uint16Array(rows * groupCount(columns, groupSize) * 2).fill(0x2c00).buffer,
  );
  const info = {
    name: 'matvec',
    shape: [rows, columns],
    encoding: { kind: 'w11', groupSize, offsets: true },
    activation: null,
  } as const;
  const plan = {
    slots: { x: { kind: 'a4', width: columns }, y: { kind: 'f32', width: rows } },
    operations: [{ op: 'w11MatMul', input: 'x', weight: 'matvec', out: 'y' }],
    cacheLayers: 0,
    heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
    ropeFrequencies: new Float64Array(1),
  } as const;
  const backend = await createNativeBackend({ threads: 1 });
  try {
    const planes = { sign: bits(), bitmap: bits(), alpha: levels, mu: levels };
    const program = await backend.prepare(plan, async () => ({ info, planes }), { capacity: 1, maxRows: 1 });
    const timeSlice = async (least: number) => {
      const start = performance.now();
      let calls = 0;
      let milliseconds = 0;
      for (; calls === 0 || milliseconds < least; calls++) {
        await program.run({ rows: 1, position: 0, logits: 'none' });
        milliseconds = performance.now() - start;
      }
      return { calls, milliseconds };
    };
    await timeSlice(250 * seconds);
    const slices = [];
    for (let i = 0; i < SLICES; i++) slices.push(await timeSlice((1000 * seconds) / SLICES));
    const rates = slices.map(({ calls, milliseconds }) => calls / milliseconds).sort((a, b) => a - b);
    const callsPerSecond = 1000 * rates[SLICES >> 1]!;
    const { weightBytes } = program;
    await program.dispose();
    return {
      gweightsPerSecond: (callsPerSecond * rows * columns) / 1e9,
      gigabytesPerSecond: (callsPerSecond * weightBytes) / 1e9,
      calls: slices.reduce((sum, { calls }) => sum + calls, 0),
      seconds: slices.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 1000,
      rows,
      columns,
      groupSize,
      weightBytes,
    };
  } finally {
    await backend.dispose();
  }
}
