// The page is for everybody: without a pointer, on a phone, in both colour schemes, without motion.
import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { eventually, type Stand } from './site.ts';

const PANELS = ['Chat', 'Model', 'Sampling', 'Bits', 'Storage'] as const;

export function accessCases(stand: Stand): void {
  it('needs no pointer', async () => {
    const visit = await stand.open('?backend=wasm');
    const { page } = visit;
    const { keyboard } = page;
    /** Goes on by Tab until what has the focus is called so. */
    const tabTo = async (name: string): Promise<void> => {
      const seen: string[] = [];
      for (let i = 0; i < 60; i++) {
        await keyboard.press('Tab');
        const focus = await describeFocus(page);
        expect(focus.outlined, `${focus.name} shows that it has the focus`).toBe(true);
        if (focus.name === name) return;
        seen.push(focus.name);
      }
      throw new Error(`Tab never came to "${name}", but to ${seen.join(', ')}`);
    };
    await tabTo('Choose a .duo file');
    await tabTo('Address of a model');
    await keyboard.type('embedded.duo');
    await keyboard.press('Enter');
    await visit.ready();
    // The prompt has the focus, without asking for it.
    await eventually(async () => (await describeFocus(page)).name).toBe('Text to continue');
    await keyboard.type('Once');
    await keyboard.press('Shift+Enter');
    await keyboard.type('upon');
    expect(await page.locator('#prompt').inputValue()).toBe('Once\nupon');
    await keyboard.press('Enter');
    await eventually(() => page.locator('.turn.assistant').count()).toBe(1);
    await keyboard.press('Escape');
    await visit.answer();
    expect(await page.locator('[role=log]').getAttribute('aria-live')).toBe('polite');
    await tabTo('Model');
    await keyboard.press('ArrowRight');
    expect((await describeFocus(page)).name).toBe('Sampling');
    await tabTo('Temperature');
    await keyboard.press('Home');
    expect(await page.getByLabel('Temperature, exactly').inputValue()).toBe('0');
    await tabTo('Sampling');
    await keyboard.press('ArrowRight');
    expect((await describeFocus(page)).name).toBe('Bits');
    await tabTo('Bits of the tensor');
    await keyboard.press('ArrowRight');
    expect(await page.locator('.levels .figures').textContent()).toContain('column 1,');
    await page.getByRole('button', { name: 'Change' }).focus();
    await keyboard.press('Enter');
    expect(await page.getByRole('dialog').isVisible()).toBe(true);
    await keyboard.press('Escape');
    expect(await page.getByRole('dialog').count()).toBe(0);
    expect((await describeFocus(page)).name).toBe('Change');
    expect(visit.complaints).toEqual([]);
  });

  it.each([
    [1280, 'light'],
    [1280, 'dark'],
    [360, 'light'],
    [360, 'dark'],
  ] as const)(
    'fits a width of %d and is legible in its %s colours, everywhere',
    async (width, colorScheme) => {
      const viewport = { width, height: width === 360 ? 740 : 860 };
      const visit = await stand.open('?backend=wasm', { viewport, colorScheme });
      const { page } = visit;
      const check = async (what: string): Promise<void> => {
        await visit.screenshot(`${what}-${width}-${colorScheme}`);
        expect(await page.evaluate('document.documentElement.scrollWidth'), what).toBeLessThanOrEqual(width);
        // WCAG 2.2, 1.4.3: 4.5 for text of this size.
        const worst = await page.evaluate(findWorstContrast);
        expect(worst.ratio, `${what}: ${worst.text}`).toBeGreaterThanOrEqual(4.5);
      };
      await page.locator('.welcome').waitFor();
      const [red] = /\d+/.exec(
        await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'),
      )!;
      expect(Number(red) > 128).toBe(colorScheme === 'light');
      await page.getByLabel('Address of a model').first().fill('none.duo');
      await page.keyboard.press('Enter');
      await page.locator('.notice.failed').waitFor();
      await check('welcome');
      await page.getByLabel('Address of a model').first().fill('embedded.duo');
      await page.keyboard.press('Enter');
      await visit.ready();
      await visit.write('Once upon a time, there was a cat that');
      await visit.answer();
      for (const panel of PANELS) {
        if (panel === 'Chat' && width > 360) continue;
        await visit.showPanel(panel);
        if (panel === 'Bits') await page.locator('.levels .scale i').first().waitFor();
        await check(`panel-${panel.toLowerCase()}`);
      }
    },
  );

  it('turns light and dark when asked to, and remembers', async () => {
    const visit = await stand.open('', { colorScheme: 'light' });
    const { page } = visit;
    const background = () => page.evaluate('getComputedStyle(document.documentElement).backgroundColor');
    const light = await background();
    const button = page.getByRole('button', { name: /^Colours/ });
    await button.click();
    expect(await background()).toBe(light);
    await button.click();
    expect(await background()).not.toBe(light);
    await page.reload();
    expect(await background()).not.toBe(light);
  });

  it('does not move where motion is not wanted', async () => {
    const count = async (reducedMotion: 'reduce' | 'no-preference'): Promise<number> => {
      const visit = await stand.open('?model=embedded.duo&backend=wasm', { reducedMotion });
      await visit.ready();
      await visit.write('Once');
      await visit.answer();
      // The mark at the end of an answer under way is what moves; a fast model has none for long.
      const moving = await visit.page.evaluate(() => {
        document.querySelector('.log')!.classList.add('answering');
        return document.getAnimations().length;
      });
      await visit.close();
      return moving;
    };
    expect(await count('no-preference')).toBe(1);
    expect(await count('reduce')).toBe(0);
  });
}

/** Name of what has the focus, and whether it can be seen that it has it. */
function describeFocus(page: Page): Promise<{ name: string; outlined: boolean }> {
  return page.evaluate(() => {
    const element = document.activeElement as HTMLElement;
    // Behind the last element is the browser's own part.
    if (element === document.body) return { name: '', outlined: true };
    const label = (element as HTMLInputElement).labels?.[0]?.textContent;
    const name = element.getAttribute('aria-label') ?? label ?? element.textContent ?? '';
    // The prompt's frame shows it, and the label of a segmented choice.
    const shown = [element, element.closest('.field'), element.nextElementSibling];
    const outlined = shown.some((each) => {
      if (!each) return false;
      const { outlineStyle, boxShadow } = getComputedStyle(each);
      return outlineStyle !== 'none' || boxShadow !== 'none';
    });
    return { name: name.trim(), outlined };
  });
}

/** The text on the page that is hardest to read, by WCAG's ratio of luminances. Runs in the page. */
function findWorstContrast(): { ratio: number; text: string } {
  const parse = (colour: string) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([red = 0, green = 0, blue = 0]: number[]) => {
    const linear = [red, green, blue].map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
  };
  const backgroundOf = (element: Element | null): number[] => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === undefined || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let worst = { ratio: Number.POSITIVE_INFINITY, text: '' };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent!.trim();
    const parent = walker.currentNode.parentElement!;
    if (
      text === '' ||
      !parent.checkVisibility() ||
      parent.closest('optgroup, noscript, .visually-hidden, .skip')
    )
      continue;
    const ink = luminance(parse(getComputedStyle(parent).color));
    const paper = luminance(backgroundOf(parent));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text };
  }
  return worst;
}
