// The panels: what the container says, the bits as they are, what is stored.
import { createMemorySource, decodeTensor, openContainer } from '@duobit/format';
import { expect, it } from 'vitest';
import { eventually, readEmbedded, type Stand } from './site.ts';

export function panelCases(stand: Stand): void {
  it('shows the card of the model, also while its weights are on their way', async () => {
    stand.server.faults.stallAfter = 30_000;
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    const card = page.locator('.card');
    await eventually(() => card.textContent()).toContain('656,000');
    expect(await page.locator('.loading').isVisible()).toBe(true);
    const container = await openContainer(createMemorySource(new Uint8Array(await readEmbedded())));
    const text = await card.textContent();
    for (const part of [
      '2.50 in linear layers, 6.40 with everything in the file',
      'llama',
      container.manifest.headerSha256,
      container.manifest.provenance.sourceSha256,
      container.manifest.provenance.producer,
      'none recorded in this file',
    ])
      expect(text).toContain(part);
    await page.getByText('Recipe').click();
    expect(await page.locator('.card pre').first().textContent()).toContain('"groupSize": 128');
    stand.server.reset();
    await visit.ready();
    expect(visit.complaints).toEqual([]);
  });

  it('draws the bits of a tensor as they are, and reads weights out', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.showPanel('Bits');
    await page.locator('canvas').waitFor();
    const name = 'model.layers.1.mlp.up_proj.weight';
    await page.getByLabel('Tensor', { exact: true }).selectOption(name);
    await eventually(() => page.locator('.bits .figures').last().textContent()).toContain('384 rows of 128');
    const container = await openContainer(createMemorySource(new Uint8Array(await readEmbedded())));
    const values = decodeTensor(await container.readTensor(name));
    const sign = await container.readPlane(name, 'sign');
    const bitmap = await container.readPlane(name, 'bitmap');
    const bit = (plane: Uint8Array, row: number, column: number) =>
      (plane[row * 16 + (column >> 3)]! >> (column & 7)) & 1;

    const canvas = page.locator('canvas');
    // Four pixels a weight; rows of the picture are those of the tensor from the first.
    const draw = async (view: 'Sign' | 'Bitmap', row: number): Promise<number[]> => {
      await page.getByText(view, { exact: true }).click();
      const colours = await canvas.evaluate(
        (element: HTMLCanvasElement, y) => {
          const context = element.getContext('2d')!;
          return Array.from({ length: 80 }, (_, x) => context.getImageData(4 * x + 2, y, 1, 1).data.join());
        },
        4 * row + 2,
      );
      expect(new Set(colours).size).toBe(2);
      return colours.map((colour) => Number(colour !== colours[0]));
    };
    for (const [view, plane] of [
      ['Sign', sign],
      ['Bitmap', bitmap],
    ] as const)
      expect(await draw(view, 5)).toEqual(
        Array.from({ length: 80 }, (_, k) => bit(plane, 5, k) ^ bit(plane, 5, 0)),
      );

    await canvas.focus();
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight'])
      await page.keyboard.press(key);
    const value = values[2 * 128 + 3]!;
    const shown = `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(4)}`;
    const reading = page.locator('.levels .figures');
    expect(await reading.textContent()).toBe(
      `row 2, column 3, group 0: sign ${bit(sign, 2, 3)}, bitmap ${bit(bitmap, 2, 3)}, weight ${shown}`,
    );
    await page.keyboard.press('End');
    await page.keyboard.press('PageDown');
    expect(await reading.textContent()).toContain('row 74, column 127,');
    const box = (await canvas.boundingBox())!;
    await page.getByText('Levels', { exact: true }).click();
    await page.mouse.move(box.x + 4 * 10 + 2, box.y + 2);
    expect(await reading.textContent()).toMatch(/column \d+,/);
    await visit.screenshot('bits');
    // That it is read back is the test's doing.
    expect(visit.complaints.filter((line) => !line.includes('willReadFrequently'))).toEqual([]);
  });

  it('lists what is stored, loads from there and removes it', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.showPanel('Storage');
    const list = page.locator('.stored');
    await eventually(() => list.textContent()).toContain('embedded.duo500 kB');
    await visit.screenshot('storage');
    await page.reload();
    await visit.ready();
    stand.server.reset();
    await visit.showPanel('Storage');
    await page.getByRole('button', { name: 'Load embedded.duo' }).click();
    await eventually(() => stand.server.requests.length).toBeGreaterThan(0);
    await visit.ready();
    expect(stand.server.bytesSent('embedded.duo')).toBeLessThan(1000);
    await page.getByRole('button', { name: 'Remove embedded.duo' }).click();
    await eventually(() => page.locator('.storage').textContent()).toContain('Nothing is stored');
    await visit.chooseGreedy(3);
    await visit.write('Once');
    expect((await visit.answer()).outcome).toContain('3 tokens');
    expect(visit.complaints).toEqual([]);
  });

  it('tells where the memory goes', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm&context=256');
    await visit.ready();
    await visit.showPanel('Model');
    const run = visit.page.locator('#panel-model .facts').first();
    // Two blocks, four heads of sixteen, keys and values, in f32.
    await eventually(() => run.textContent()).toContain('KV cache262 kB, f32, 256 tokens');
    await eventually(() => run.textContent()).toMatch(/JavaScript[\d.]+ MB, page/);
  });
}
