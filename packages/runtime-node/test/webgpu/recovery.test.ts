// Lost devices on Dawn: a generation goes on with the same tokens on a new device, and a backend that does not recover says what happened.
import { createModel } from '@duobit/core';
import { createRecoveringBackend, type WebGpuBackend } from '@duobit/runtime-web';
import { makeTinyModel } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createNodeWebGpuBackend } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

const absent = await findWebGpu();
const source = makeTinyModel({
  seed: 21,
  linear: 'w11',
  embedding: 'int8',
  architecture: { contextLength: 160 },
});
/** One way to spread products, and no tiles: SwiftShader takes seconds to compile a kernel. */
const OPTIONS = { tuning: { tileFrom: 100, lanes: 8, rows: 2, workgroup: 64 } } as const;
const errorOf = async (act: Promise<unknown>): Promise<unknown> =>
  act.then(() => null).catch((error) => error);
const title = `lost webgpu devices${absent === null ? '' : `, absent: ${absent}`}`;

describe.skipIf(absent !== null)(title, { timeout: 300_000 }, () => {
  it('are replaced: greedy and seeded text go on as they would have', async () => {
    const opened: WebGpuBackend[] = [];
    const notices: string[] = [];
    let now = 0;
    const backend = await createRecoveringBackend(
      async () => {
        const made = await createNodeWebGpuBackend(OPTIONS);
        opened.push(made);
        return made;
      },
      { onNotice: (line) => notices.push(line), now: () => now },
    );
    const model = await createModel(source, backend);
    for (const options of [{}, { temperature: 0.9, topP: 0.95, seed: 4 }]) {
      const write = async (lostAt: number): Promise<number[]> => {
        const tokens: number[] = [];
        for await (const event of model.generate('Once', { maxTokens: 40, ignoreEos: true, ...options })) {
          if (event.kind === 'token') tokens.push(event.token);
          if (tokens.length === lostAt) opened.at(-1)!.device.device.destroy();
        }
        return tokens;
      };
      const expected = await write(-1);
      const { memory } = opened.at(-1)!.device;
      const held = { ...memory };
      expect(await write(17)).toEqual(expected);
      expect(memory).toEqual({ buffers: 0, bytes: 0 });
      expect(opened.at(-1)!.device.memory).toEqual(held);
      now += 120_000;
    }
    expect([opened.length, notices.length]).toEqual([3, 2]);
    await model.dispose();
    expect(opened.at(-1)!.device.memory).toEqual({ buffers: 0, bytes: 0 });
    await backend.dispose();
  });

  it('are told of in one error where nothing recovers', async () => {
    const backend = await createNodeWebGpuBackend(OPTIONS);
    const model = await createModel(source, backend);
    let tokens = 0;
    const write = async (): Promise<void> => {
      for await (const _ of model.generate('Once', { maxTokens: 10, ignoreEos: true }))
        if (++tokens === 3) backend.device.device.destroy();
    };
    const lost = { code: 'BACKEND_DEVICE_LOST', where: 'webgpu backend' };
    expect(await errorOf(write())).toMatchObject(lost);
    expect(tokens).toBe(3);
    expect(await errorOf(write())).toMatchObject(lost);
    expect(await errorOf(createModel(source, backend))).toMatchObject(lost);
    await model.dispose();
    await backend.dispose();
  });

  it('end a model that is being loaded with that error', async () => {
    const backend = await createNodeWebGpuBackend(OPTIONS);
    let read = 0;
    const failing = createModel(source, backend, {
      onLoad: () => {
        if (++read === 4) backend.device.device.destroy();
      },
    });
    expect(await errorOf(failing)).toMatchObject({ code: 'BACKEND_DEVICE_LOST' });
    expect(backend.device.memory.buffers).toBe(0);
    await backend.dispose();
  });
});
