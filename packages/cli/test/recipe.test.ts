// `duobit quantize --recipe` and `--from-recipe`: the same bytes again, and refusals of what is not the recipe's.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { copyFile, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHECKPOINT, HELDOUT, ROOT, runCli, runJson, useFolder } from './harness.ts';

const folder = useFolder();
const CALIBRATION = ['--calibration', HELDOUT, '--calibration-windows', '2', '--calibration-context', '64'];

let made: Record<string, unknown>;
let stderr: string;
beforeAll(async () => {
  const result = await runJson([
    'quantize',
    CHECKPOINT,
    '-o',
    folder.path('a.duo'),
    ...CALIBRATION,
    '--group',
    '64',
    '--backend',
    'wasm',
    ...['--stages', '1,2,3', '--preset', 'fast', '--tokens', '128', '--seed', '3', '--device', 'cpu'],
  ]);
  made = result.json;
  stderr = result.stderr;
}, 60_000);

const repeat = (output: string, ...rest: string[]) =>
  runCli(['quantize', CHECKPOINT, '-o', folder.path(output), ...rest]);

describe('duobit quantize --from-recipe', () => {
  it('gives the same bytes, and the same recipe, without other options', async () => {
    const recipe = made.recipe_file as string;
    expect(recipe).toBe(`${folder.path('a.duo')}.recipe.json`);
    const { code, stderr: said } = await repeat('b.duo', '--from-recipe', recipe, '--threads', '2');
    expect(code, said).toBe(0);
    expect(said).not.toContain('bytes can differ');
    const [first, second] = await Promise.all(['a.duo', 'b.duo'].map((name) => readFile(folder.path(name))));
    expect(first!.equals(second!)).toBe(true);
    const text = await readFile(recipe, 'utf8');
    expect(await readFile(`${folder.path('b.duo')}.recipe.json`, 'utf8')).toBe(text);
    // Every option, not only those given.
    const { distillation, calibration } = JSON.parse(text);
    expect(distillation).toMatchObject({
      tokens: 128,
      seed: 3,
      weights: { passes: 1, batch: 2, bits: 'relaxed', latentStart: 0.6, rates: { latent: 0.008 } },
      activations: { passes: 0.5 },
      endToEnd: null,
      engine: { device: 'cpu' },
    });
    expect(calibration).toMatchObject({
      context: 64,
      maxWindows: 2,
      file: { path: HELDOUT, field: null },
      fit: { turns: 4, damping: 0.01 },
    });
  });

  it('measures perplexity after each stage', () => {
    const stages = made.stages as { stage: number; perplexity: Record<string, number> }[];
    expect(stages.map(({ stage }) => stage)).toEqual([1, 2, 3]);
    for (const { stage, perplexity } of stages) {
      expect(perplexity.original).toBeGreaterThan(1);
      expect(perplexity.a16).toBeGreaterThan(perplexity.original!);
      expect(perplexity.a4).toBeGreaterThan(perplexity.original!);
      expect(stderr).toContain(`stage ${stage}: `);
      expect(stderr).toContain(`perplexity ${perplexity.a16!.toFixed(3)} with unquantized inputs`);
    }
  });

  it('writes a page about the run', async () => {
    expect(made.report_file).toBe(`${folder.path('a.duo')}.report.html`);
    const page = await readFile(made.report_file as string, 'utf8');
    for (const { stage, perplexity } of made.stages as { stage: number; perplexity: { a4: number } }[])
      expect(page).toMatch(new RegExp(`Stage ${stage}<.*${perplexity.a4.toPrecision(3)}<`));
    expect(page).toContain(
      `SHA-256 <code>${JSON.parse(readFileSync(made.recipe_file as string, 'utf8')).model.sha256}`,
    );
    expect(page).not.toMatch(/NaN|undefined|\[object/);
    // The bytes that the page accounts for are the file's.
    expect(page).toContain((await readFile(folder.path('a.duo'))).length.toLocaleString('en-US'));
  });

  it('refuses another text', async () => {
    const { code, stderr: said } = await repeat(
      'no.duo',
      '--from-recipe',
      made.recipe_file as string,
      '--calibration',
      join(ROOT, 'fixtures/stories/calibration.txt'),
    );
    expect(code).toBe(1);
    expect(said).toContain('RECIPE_MISMATCH');
    expect(existsSync(folder.path('no.duo'))).toBe(false);
  });

  it('refuses another model', async () => {
    const other = folder.path('other');
    await cp(CHECKPOINT, other, { recursive: true });
    const weights = join(other, 'model.safetensors');
    const bytes = await readFile(weights);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(weights, bytes);
    const { code, stderr: said } = await runCli([
      'quantize',
      other,
      '-o',
      folder.path('no.duo'),
      '--from-recipe',
      made.recipe_file as string,
    ]);
    expect(code).toBe(1);
    expect(said).toMatch(/RECIPE_MISMATCH.*the weights have the SHA-256/);
  });

  it('refuses options that the recipe has, and takes a text from elsewhere', async () => {
    const recipe = made.recipe_file as string;
    const { code, stderr: said } = await repeat('no.duo', '--from-recipe', recipe, '--group', '32');
    expect(code).not.toBe(0);
    expect(said).toContain('--group');
    const moved = folder.path('moved.txt');
    await copyFile(HELDOUT, moved);
    const lost = JSON.parse(readFileSync(recipe, 'utf8'));
    lost.calibration.file.path = folder.path('gone.txt');
    lost.distillation = null;
    writeFileSync(folder.path('lost.json'), JSON.stringify(lost));
    const missing = await repeat('no.duo', '--from-recipe', folder.path('lost.json'));
    expect(missing.stderr).toContain('TEXT_UNREADABLE');
    const found = await repeat('c.duo', '--from-recipe', folder.path('lost.json'), '--calibration', moved);
    expect(found.code, found.stderr).toBe(0);
    // Without stages after the first there is no report and no recipe unless they are asked for.
    expect(existsSync(`${folder.path('c.duo')}.recipe.json`)).toBe(false);
    expect(existsSync(`${folder.path('c.duo')}.report.html`)).toBe(false);
  });

  it.each([
    ['{', 'is no JSON'],
    ['{"format":"cake"}', "is not 'duobit-recipe'"],
    ['{"format":"duobit-recipe","version":2}', 'version is 2'],
    ['null', "is not 'duobit-recipe'"],
  ])('refuses %s', async (text, says) => {
    await writeFile(folder.path('bad.json'), text);
    const { code, stderr: said } = await repeat('no.duo', '--from-recipe', folder.path('bad.json'));
    expect(code).toBe(1);
    expect(said).toContain('RECIPE_INVALID');
    expect(said).toContain(says);
  });

  it.each([
    ['calibration.fit.turn', (recipe: Json) => Object.assign(recipe.calibration.fit, { turn: 1 })],
    ['distillation.weights.rates.latent', (recipe: Json) => delete recipe.distillation.weights.rates.latent],
    ['groupSize', (recipe: Json) => Object.assign(recipe, { groupSize: '64' })],
    [
      'distillation.engine.device',
      (recipe: Json) => Object.assign(recipe.distillation.engine, { device: 'x' }),
    ],
  ])('refuses a recipe with a wrong %s', async (where, change) => {
    const recipe = JSON.parse(readFileSync(made.recipe_file as string, 'utf8'));
    change(recipe);
    await writeFile(folder.path('bad.json'), JSON.stringify(recipe));
    const { stderr: said } = await repeat('no.duo', '--from-recipe', folder.path('bad.json'));
    expect(said).toContain('RECIPE_INVALID');
    expect(said).toContain(where);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: JSON that a test damages
type Json = any;

describe('recipe and report', () => {
  it.each([
    ['--recipe', 'side.duo', 'QUANTIZE_OPTION'],
    ['--report', 'side.duo', 'QUANTIZE_OPTION'],
    ['--recipe', join('none', 'side.json'), 'SINK_FOLDER_MISSING'],
  ])('are refused before the long work: %s %s', async (option, name, code) => {
    const { code: exit, stderr: said } = await repeat('side.duo', option, folder.path(name));
    expect(exit).not.toBe(0);
    expect(said).toContain(`error ${code}`);
    expect(said).not.toContain('quantize:');
    expect(existsSync(folder.path('side.duo'))).toBe(false);
  });

  it.each(['--recipe', '--report'])('never replace a file of the checkpoint: %s', async (option) => {
    const model = folder.path(`model${option}`);
    await cp(CHECKPOINT, model, { recursive: true });
    const quantize = (file: string, ...rest: string[]) =>
      runCli(['quantize', model, '-o', folder.path('side.duo'), option, file, ...rest]);
    for (const name of ['config.json', 'model.safetensors']) {
      const file = join(model, name);
      const before = await readFile(file);
      const { code, stderr: said } = await quantize(file);
      expect([code, said]).toEqual([1, expect.stringContaining('error QUANTIZE_OPTION')]);
      expect(await readFile(file)).toEqual(before);
    }
    // Nor the text.
    const text = folder.path('text.txt');
    await writeFile(text, 'Once upon a time');
    expect((await quantize(text, '--calibration', text)).stderr).toContain('error QUANTIZE_OPTION');
    expect(readFileSync(text, 'utf8')).toBe('Once upon a time');
    // What a run before wrote into the folder may be written again.
    const own = join(model, 'side');
    await copyFile(made[option === '--recipe' ? 'recipe_file' : 'report_file'] as string, own);
    const { code, stderr: said } = await quantize(own);
    expect(code, said).toBe(0);
  });
});
