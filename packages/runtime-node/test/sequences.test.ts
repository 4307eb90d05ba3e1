// Several texts at the same time on the model that is in the repository: each is the text that it would be alone, whatever runs beside
// it and whatever its cache held before.
import { createWasmBackend, type Model, type Prompt } from '@duobit/core';
import { describe, expect, it } from 'vitest';
import { createNativeBackend, loadModel, nativeSupport } from '../src/index.ts';

const EMBEDDED = new URL('../../../fixtures/embedded/tinystories-656k.duo', import.meta.url).pathname;
const PROMPTS = [
  'Once upon a time there was a little girl',
  'Once upon a time there was a dog who',
  'Tom and his mother went to the',
  'The',
  'One day, a big bear came out of the forest and looked at the small house that stood by the river. It',
  'Once upon a time there was a little girl',
];
const support = nativeSupport();

async function write(model: Model, prompt: Prompt, seed: number): Promise<number[]> {
  const tokens: number[] = [];
  const options = { maxTokens: 40, ignoreEos: true, temperature: seed % 2, seed };
  for await (const event of model.generate(prompt, options))
    if (event.kind === 'token') tokens.push(event.token);
  return tokens;
}

const backends = [
  ['wasm', () => createWasmBackend({ threads: 2 })],
  ...(['f16', 'int8', 'int4'] as const).map(
    (kv) => [`native, ${kv}`, () => createNativeBackend({ kv, threads: 2 })] as const,
  ),
] as const;

describe('texts at the same time on the embedded model', () => {
  for (const [name, create] of backends)
    it.skipIf(name.startsWith('native') && !support.available)(
      `are those of each alone: ${name}`,
      async () => {
        const backend = await create();
        const load = (options: object) => loadModel(EMBEDDED, { backend, contextLength: 256, ...options });
        const alone = await load({});
        const wanted: number[][] = [];
        for (const [i, prompt] of PROMPTS.entries()) wanted.push(await write(alone, prompt, i));
        const together = await load({ sequences: 3, queue: 8, maxRows: 16 });
        const found = await Promise.all(PROMPTS.map((prompt, i) => write(together, prompt, i)));
        expect(found).toEqual(wanted);
        // Each goes on from what some cache holds, which was run in other pieces.
        const more = PROMPTS.map((prompt, i) => ({
          tokens: [...alone.tokenizer.encode(prompt), ...wanted[i]!, 5, 6, 7],
        }));
        for (const [i, prompt] of more.entries()) wanted[i] = await write(alone, prompt, i);
        expect(await Promise.all(more.map((prompt, i) => write(together, prompt, i)))).toEqual(wanted);
        await alone.dispose();
        await together.dispose();
        await backend.dispose();
      },
    );
});
