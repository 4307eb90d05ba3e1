// What a token costs, counted at the device: one pass, one submit and one small readback, every weight read once and nothing made anew,
// for greedy decoding and for sampling among the most likely tokens.
import { fileURLToPath } from 'node:url';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { measureTokenCosts } from '@duobit/testkit';
import { describe, expect, it } from 'vitest';
import { createNodeWebGpuBackend } from '../../src/webgpu/backend.ts';
import { findWebGpu } from './swiftshader.ts';

const absent = await findWebGpu();
const EMBEDDED = fileURLToPath(
  new URL('../../../../fixtures/embedded/tinystories-656k.duo', import.meta.url),
);
/** Tiles, of which a prompt would be made, are not measured here. */
const TUNING = { tileFrom: 100 };

const title = `a token's costs on webgpu${absent === null ? '' : `, absent: ${absent}`}`;
describe.skipIf(absent !== null)(title, { timeout: 300_000 }, () => {
  it('are those of the embedded model', async () => {
    const backend = await createNodeWebGpuBackend({ tuning: TUNING });
    const container = await openContainer(await createFileSource(EMBEDDED));
    try {
      const { tokens, packedBytes, w11Rows } = await measureTokenCosts(
        backend,
        backend.device.device,
        container,
        [
          {},
          { temperature: 0.8, topK: 40, topP: 0.9 },
          { temperature: 0.8, minP: 0.5 },
          { temperature: 1, topK: 500 },
        ],
      );
      const weightBytes = packedBytes + 4 * w11Rows;
      // Embedding, 2 blocks of 10, norm, logits, and two for the search.
      const common = { passes: 1, submits: 1, dispatches: 25, readbacks: 1, weightBytes };
      const nothingNew = { buffers: 0, pipelines: 0, bindGroups: 0 };
      expect(tokens).toEqual(
        [1, 41, 128, 501].map((logits) => ({ ...common, ...nothingNew, readbackBytes: 8 * logits })),
      );
    } finally {
      await container.close();
      await backend.dispose();
    }
  });
});
