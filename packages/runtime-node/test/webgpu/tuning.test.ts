// No choice that may be measured for an adapter changes a text; all can be measured; and this adapter, which is software, is not.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Backend, createModel, createReferenceBackend } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { createStopwatch, listStages, type Tuning } from '@duobit/runtime-web';
import { describe, expect, it } from 'vitest';
import { createNodeWebGpuBackend } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

const absent = await findWebGpu();
const fixture = (path: string) => fileURLToPath(new URL(`../../../../fixtures/${path}`, import.meta.url));
/** So long that attention is cut in parts. */
const STORY = readFileSync(fixture('stories/heldout.txt'), 'utf8').slice(0, 1200);
/** Tiles do not depend on what is measured. */
const NO_TILES = { tileFrom: 1000 };

async function continueStory(backend: Backend): Promise<number[]> {
  const container = await openContainer(await createFileSource(fixture('embedded/tinystories-656k.duo')));
  const model = await createModel(container, backend, {});
  const tokens: number[] = [];
  for await (const event of model.generate(STORY, { maxTokens: 24, ignoreEos: true }))
    if (event.kind === 'token') tokens.push(event.token);
    else expect(event.promptTokens).toBeGreaterThan(256);
  await model.dispose();
  await container.close();
  return tokens;
}

const title = `tunings of webgpu${absent === null ? '' : `, absent: ${absent}`}`;
describe.skipIf(absent !== null)(title, { timeout: 600_000 }, () => {
  it('write the text of the reference backend, whatever is chosen', async () => {
    const expected = await continueStory(createReferenceBackend());
    const { device } = await createNodeWebGpuBackend({ tuning: {} });
    const stages = listStages(device);
    device.destroy();
    // Every choice of every stage in one of the tunings.
    const most = Math.max(...stages.map(({ choices }) => choices.length));
    expect(most).toBe(4);
    for (let i = 0; i < most; i++) {
      const chosen = stages.map(({ choices }): Tuning => choices[i % choices.length]!);
      const tuning: Tuning = Object.assign({}, NO_TILES, ...chosen);
      const backend = await createNodeWebGpuBackend({ kv: 'f32', tuning });
      expect(await continueStory(backend), JSON.stringify(tuning)).toEqual(expected);
      await backend.dispose();
    }
  });

  it('can be measured', async () => {
    const { device } = await createNodeWebGpuBackend({ tuning: {} });
    const { measure } = createStopwatch(device, 'f16', {
      repeats: { product: 1, attention: 1 },
      size: 512,
    });
    for (const subject of ['product', 'attention'] as const) {
      const time = await measure(subject, {});
      expect(time).toBeGreaterThan(0);
      expect(time).toBeLessThan(60_000);
    }
    device.destroy();
  });

  it('are not measured on software', async () => {
    const never = async () => {
      throw new Error('nothing is kept of software');
    };
    const backend = await createNodeWebGpuBackend({ tuningStore: { read: never, write: never } });
    expect(backend.tuning).toEqual({});
    await backend.dispose();
  });
});
