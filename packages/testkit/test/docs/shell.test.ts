// Every command of README.md and docs/ runs as it is written, with the built command line.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listBlocks, nameOf } from './blocks.ts';
import { completeCommand, openWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld();
}, 300_000);
afterAll(() => world?.close());

const blocks = listBlocks('sh').filter(({ skip }) => skip === null);

describe('commands in the documentation', () => {
  for (const block of blocks)
    it(nameOf(block), { timeout: 300_000 }, async () => {
      const text = world.substitute(completeCommand(block.text));
      const folder = world.makeFolder([text, ...block.given].join('\n'));
      for (const given of block.given) {
        const prepared = await world.run(folder, { bash: world.substitute(given) });
        expect(prepared.code, prepared.output).toBe(0);
      }
      const options = `export DUOBIT_OPTIONS=${JSON.stringify(block.options)}\n`;
      const { code, output } = await world.run(folder, { bash: options + text });
      expect(code, output).toBe(0);
    });
});
