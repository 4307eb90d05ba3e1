// The watched emulator: that it finds what is wrong with kernels (kernels/emulator/faulty.h), and finds nothing in those of the backend.
import { buildPlan, type KvPrecision } from '@duobit/core';
import { conformanceCases, makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createCudaBackend } from './backend.ts';
import { Device } from './device.ts';
import { CudaError } from './driver.ts';
import { buildEmulator } from './testing/emulator.ts';

const { path: library, reason } = buildEmulator(true);

const WORDS = 256;

/** After a fault the driver refuses to destroy anything. */
function giveBack(device: Device): void {
  try {
    device.dispose();
  } catch (error) {
    expect(error).toBeInstanceOf(CudaError);
  }
}

/** Launches kernels by name, blocks, threads and mode, without waiting in between; what came of it. */
function launch(
  ...launches: (readonly [name: string, blocks: number, threads: number, mode: number])[]
): string {
  const device = new Device(library);
  const memory = device.allocate(4 * WORDS);
  device.fill(memory, 0, 4 * WORDS);
  try {
    for (const [name, blocks, threads, mode] of launches)
      device.launch(`faulty_${name}`, [blocks, 1, 1], threads, [memory], [mode]);
    device.synchronize();
    device.free(memory);
    return 'nothing';
  } catch (error) {
    return String(error);
  } finally {
    giveBack(device);
  }
}

/** What the kernels that share most among threads and blocks are tried by; all cases take minutes. */
const CHOSEN: readonly [kv: KvPrecision, names: RegExp][] = [
  [
    'f32',
    /largest logits|decoding, read in any order: [Wp]|texts written at the same time|whole model, W\(1\+1\)A4 on rotated|rotateInput.*1000|integer sums.*K (172|576)|sums of one row.*N (200|700)/,
  ],
  ['f16', /attention over long contexts/],
  ['int4', /several sequences: rotary/],
];

describe.skipIf(reason !== null)(`the watched emulator${reason === null ? '' : `: ${reason}`}`, () => {
  it('finds threads of a block that race, or wait at different barriers', () => {
    expect(launch(['barrier', 2, 64, 0])).toBe('nothing');
    expect(launch(['barrier', 2, 64, 1])).toMatch(/races.*, shared memory: thread \d+ of block \d and/);
    expect(launch(['barrier', 2, 64, 2])).toContain('threads of a block wait at different barriers');
  });

  it('finds blocks that race, unless they write the same', () => {
    expect(launch(['blocks', 3, 32, 0])).toBe('nothing');
    for (const mode of [1, 2]) expect(launch(['blocks', 3, 32, mode])).toMatch(/races.*, device memory/);
    expect(launch(['blocks', 3, 32, 3])).toBe('nothing');
  });

  it('finds kernels that do not wait for the one before them', () => {
    expect(launch(['inputs', 1, 32, 0], ['inputs', 1, 32, 0])).toBe('nothing');
    expect(launch(['inputs', 1, 32, 1])).toBe('nothing');
    expect(launch(['inputs', 1, 32, 0], ['inputs', 1, 32, 1])).toMatch(/a read races .* of another launch/);
    expect(launch(['inputs', 1, 32, 2])).toContain('a write before the inputs were waited for');
    // What was before a kernel that waits has ended when the next begins, unless that was let begin first.
    const around = (mode: number) =>
      launch(['inputs', 1, 32, 0], ['between', 1, 32, mode], ['inputs', 1, 32, 1]);
    expect(around(0)).toBe('nothing');
    expect(around(1)).toMatch(/a read races .* of another launch/);
  });

  it('finds exchanges without all lanes, misaligned vectors and freed memory', () => {
    expect(launch(['lanes', 1, 32, 0], ['vector', 1, 32, 0])).toBe('nothing');
    expect(launch(['lanes', 1, 32, 1])).toContain('an exchange of a warp');
    expect(launch(['vector', 1, 32, 1])).toContain('a misaligned access');
    const device = new Device(library);
    const memory = device.allocate(4 * WORDS);
    device.free(memory);
    expect(() => device.launch('faulty_inputs', [1, 1, 1], 32, [memory], [0])).toThrow('freed memory');
    giveBack(device);
  });

  it('tells what failed when the GPU is lost while a plan is prepared, and gives it back', async () => {
    const backend = await createCudaBackend({ library });
    const source = makeTinyModel({ linear: 'w11' });
    expect(launch(['vector', 1, 32, 1])).toContain('a misaligned access');
    await expect(
      backend.prepare(buildPlan(source), (name) => source.readTensor(name), { capacity: 8, maxRows: 1 }),
    ).rejects.toMatchObject({ code: 'BACKEND_DEVICE_LOST' });
    await expect(backend.dispose()).rejects.toMatchObject({ code: 'BACKEND_DEVICE_LOST' });
    expect(launch(['vector', 1, 32, 0])).toBe('nothing');
  });

  for (const [kv, names] of CHOSEN) {
    const cases = conformanceCases(kv, true).filter(({ name }) => names.test(name));
    it.each(cases.map(({ name, run }) => [name, run] as const))(
      `finds nothing in the kernels, cache of ${kv}: %s`,
      async (_, run) => {
        const backend = await createCudaBackend({ library, kv });
        await run(backend);
        await backend.dispose();
      },
      600_000,
    );
  }
});
