// The container that is in the repository: whole, of the checkpoint beside it, and as good as fixtures/embedded/README.md says.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseRecipe } from '@duobit/quantizer';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT, HELDOUT, runCli, runJson } from './harness.ts';

const FOLDER = new URL('../../../fixtures/embedded/', import.meta.url);
const CONTAINER = fileURLToPath(new URL('tinystories-656k.duo', FOLDER));

describe('the embedded container', () => {
  it('is valid, and is what its recipe says', async () => {
    expect((await runCli(['validate', CONTAINER])).code).toBe(0);
    const { json } = await runJson(['inspect', CONTAINER]);
    const provenance = json.provenance as { sourceSha256: string; calibrationSha256: string };
    const recipe = parseRecipe(
      await readFile(new URL('tinystories-656k.recipe.json', FOLDER), 'utf8'),
      'tinystories-656k.recipe.json',
    );
    expect(recipe.model.sha256).toBe(provenance.sourceSha256);
    expect(recipe.calibration!.tokensSha256).toBe(provenance.calibrationSha256);
  });

  it('costs less than 1.45 times the perplexity of the checkpoint, with 4-bit activations, on stories it has not seen', async () => {
    const measure = async (model: string): Promise<number> => {
      const { json } = await runJson(['eval', 'ppl', model, '--text', HELDOUT, '--backend', 'wasm']);
      return (json.result as { perplexity: number }).perplexity;
    };
    expect((await measure(CONTAINER)) / (await measure(CHECKPOINT))).toBeLessThan(1.45);
  });

  it('tells a story', async () => {
    const { stdout, code } = await runCli([
      ...['run', CONTAINER, '-p', 'Once upon a time', '-n', '60', '--seed', '1', '--temperature', '0'],
    ]);
    expect(code).toBe(0);
    expect(stdout.split(/\s+/).length).toBeGreaterThan(30);
  });
});
