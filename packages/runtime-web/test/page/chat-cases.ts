// Loading, answering, stopping, in a worker and on the page's thread, on WebGPU and wasm.
import { expect, it } from 'vitest';
import { eventually, type Stand } from './site.ts';

const OPENING = 'Once upon a time';
/** Of answers on SwiftShader, which takes its time. */
const TOKENS = 12;

export function chatCases(stand: Stand): void {
  it('loads the model of model.json, continues a text, says how fast, and stops when told to', async () => {
    const { server } = stand;
    const model = { model: 'embedded.duo', prompts: [OPENING], stop: ['Lily'] };
    const none = server.files.get('model.json')!;
    server.files.set('model.json', { body: JSON.stringify(model), type: 'application/json' });
    const visit = await stand.open('');
    const { page } = visit;
    await visit.ready();
    server.files.set('model.json', none);
    expect(await page.title()).toBe('embedded \u00b7 Duobit');
    expect(await page.locator('.instruments').textContent()).toContain('backendwebgpu');
    await visit.screenshot('ready');
    await visit.chooseGreedy(40);
    await page.getByRole('button', { name: OPENING }).click();
    const { text, outcome } = await visit.answer();
    // Up to the stop text.
    expect(text.length).toBeGreaterThan(5);
    expect(text).not.toContain('Lily');
    expect(outcome).toMatch(/^\d+ tokens, ended at a stop text/);
    expect(outcome).toMatch(/prefill \d+ at [\d.,]+ tok\/s/);
    expect(outcome).toMatch(/decode [\d.,]+ tok\/s/);
    expect(await page.locator('.instruments').textContent()).toMatch(/decode[\d.]+tok\/s/);

    await page.getByRole('button', { name: 'Reset' }).click();
    expect(await page.getByLabel('Stop texts').inputValue()).toBe('Lily');
    await page.getByLabel('Stop texts').fill('');
    await page.getByLabel('Stop texts').press('Tab');
    // An answer of 251 tokens, so that there is one to stop.
    await page.getByLabel('Seed').fill('6');
    await page.getByLabel('Seed').press('Tab');
    // Stopped by Escape and by the button; the reader goes on writing where they were.
    const stops = [
      () => page.keyboard.press('Escape'),
      () => page.getByRole('button', { name: 'Stop' }).click(),
    ];
    for (const stop of stops) {
      await page.getByRole('button', { name: 'New text' }).click();
      await visit.write('It');
      await eventually(() => page.locator('.turn.assistant .said').textContent()).not.toBe('');
      await stop();
      expect((await visit.answer()).outcome).toMatch(/^\d+ tokens?, stopped/);
      expect(await page.evaluate('document.activeElement.id')).toBe('prompt');
    }
    expect(visit.complaints).toEqual([]);
    expect(visit.strangers).toEqual([]);
  });

  it('gives the same text in a worker and on its own thread, on wasm and webgpu, whose memory it gives back', async () => {
    const texts: string[] = [];
    // In a worker on webgpu it is in failure-cases.ts, on a device that is lost.
    for (const query of ['&backend=wasm', '&backend=wasm&thread=main', '&kv=f32&thread=main']) {
      const visit = await stand.open(`?model=embedded.duo${query}`);
      const { page } = visit;
      await visit.ready();
      await visit.chooseGreedy(TOKENS);
      await visit.write(OPENING);
      const { text, outcome } = await visit.answer();
      expect(outcome).toContain(`${TOKENS} tokens`);
      texts.push(text);
      await visit.showPanel('Model');
      const run = await page.locator('#panel-model').textContent();
      expect(run).toContain(query.includes('wasm') ? 'Backendwasm' : 'Backendwebgpu');
      expect(run).toContain(query.includes('main') ? "the page's own thread" : 'a worker');
      if (!query.includes('wasm')) {
        const count = () =>
          page.evaluate(() => (globalThis as unknown as { countBuffers(): number }).countBuffers());
        expect(page.workers()).toHaveLength(0);
        expect(await count()).toBeGreaterThan(0);
        // The next model's header and a little more: by then nothing of this one may be left.
        stand.server.faults.stallAfter = 30_000;
        await visit.choose('large');
        await page.locator('.loading').waitFor();
        await eventually(count).toBe(0);
      }
      expect(visit.complaints).toEqual([]);
      await visit.close();
    }
    expect(new Set(texts).size).toBe(1);
  });

  it('goes on with its own text, and begins anew', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.chooseGreedy(8);
    await visit.write(OPENING);
    const first = await visit.answer();
    await visit.write('');
    await eventually(() => page.locator('.turn').count()).toBe(3);
    const second = await visit.answer();
    // Together what sixteen tokens at once are.
    await page.getByRole('button', { name: 'New text' }).click();
    await eventually(() => page.locator('.turn').count()).toBe(0);
    await visit.chooseGreedy(16);
    await visit.write(OPENING);
    expect((await visit.answer()).text).toBe(first.text + second.text);
  });

  it('chats with a model that has a template, and gives it the system prompt', async () => {
    const visit = await stand.open('?model=chat.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.chooseGreedy(6);
    await visit.write('Hello');
    const plain = await visit.answer();
    expect(plain.outcome).toContain('prefill');
    const countOf = ({ outcome }: { outcome: string }) => Number(/prefill ([\d,]+) /.exec(outcome)![1]);
    await page.getByRole('button', { name: 'New conversation' }).click();
    await visit.showPanel('Sampling');
    await page.getByLabel('System prompt').fill('Be brief.');
    await page.getByLabel('System prompt').press('Tab');
    await visit.write('Hello');
    const told = await visit.answer();
    // One token a letter, and three around each message with its role.
    expect(countOf(told) - countOf(plain)).toBe('system\nBe brief.\n'.length + 2);
    await visit.write('And');
    await eventually(() => page.locator('.turn').count()).toBe(4);
    expect(countOf(await visit.answer())).toBeGreaterThan(countOf(told));
  });

  it('gives the same answer for the same seed, and remembers settings', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    const { page } = visit;
    await visit.ready();
    await visit.showPanel('Sampling');
    await page.getByLabel('Most tokens, exactly').fill('12');
    await page.getByLabel('Seed').fill('7');
    await page.getByLabel('Seed').press('Tab');
    const texts: string[] = [];
    for (let round = 0; round < 2; round++) {
      await visit.write(OPENING);
      const { text, outcome } = await visit.answer();
      expect(outcome).toContain('seed 7');
      texts.push(text);
      if (round === 0) await page.reload();
      await visit.ready();
    }
    expect(texts[0]).toBe(texts[1]);
    await visit.showPanel('Sampling');
    await page.getByRole('button', { name: 'Reset' }).click();
    expect(await page.getByLabel('Seed').inputValue()).toBe('');
    expect(await page.getByLabel('Most tokens, exactly').inputValue()).toBe('256');
  });

  it('ends a worker with its model', async () => {
    const visit = await stand.open('?model=embedded.duo&backend=wasm');
    await visit.ready();
    const count = () => visit.page.workers().length;
    const first = count();
    await visit.choose('chat');
    await eventually(() => visit.page.title()).toBe('chat \u00b7 Duobit');
    await visit.ready();
    await eventually(count).toBe(first);
  });
}
