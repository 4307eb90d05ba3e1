// The page about a run in a real browser: it asks for nothing, has no errors, fits a phone, is dark where that is wanted, and can be
// read without a pointer. With SCREENSHOTS=<folder> it leaves pictures there.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { renderReport } from '@duobit/quantizer';
import { findChromium, launchChromium } from '@duobit/testkit/chromium';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeQuantizeReport } from '../src/testing/quantize-report.ts';

const command = findChromium();
const NAME = '<script>document.title="owned"</script><img src="https://example.invalid/x.png">';

describe.skipIf(!command)('the report page in Chromium', () => {
  let browser: Browser;
  let page: Page;
  let folder: string;
  let url: string;
  const requests: string[] = [];
  const complaints: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'duobit-page-'));
    const path = join(folder, 'report.html');
    writeFileSync(path, renderReport(makeQuantizeReport({ name: `SmolLM ${NAME}` })));
    url = pathToFileURL(path).href;
    browser = await launchChromium(command!);
    page = await browser.newPage();
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  async function open(width: number, scheme: 'light' | 'dark'): Promise<void> {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(url);
    if (process.env.SCREENSHOTS)
      await page.screenshot({
        path: join(process.env.SCREENSHOTS, `${width}-${scheme}.png`),
        fullPage: true,
      });
  }

  const evaluate = <T>(expression: string): Promise<T> => page.evaluate(expression);

  it.each([
    [1200, 'light'],
    [1200, 'dark'],
    [360, 'light'],
    [360, 'dark'],
  ] as const)('asks for nothing, has no errors and fits at %d, %s', async (width, scheme) => {
    requests.length = 0;
    complaints.length = 0;
    await open(width, scheme);
    expect(requests.filter((address) => !address.startsWith('data:'))).toEqual([url]);
    expect(complaints).toEqual([]);
    expect(await evaluate('document.title')).toBe(`SmolLM ${NAME}, quantized`);
    expect(await evaluate('document.querySelector("h1").textContent')).toBe(`SmolLM ${NAME}`);
    expect(await evaluate('document.querySelectorAll("script, img").length')).toBe(0);
    expect(await evaluate('document.querySelectorAll("section").length')).toBe(7);
    expect(await evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
    const background = await evaluate<string>('getComputedStyle(document.body).backgroundColor');
    const [red] = /\d+/.exec(background)!;
    expect(Number(red) > 128).toBe(scheme === 'light');
  });

  it('has ink that is legible on everything, in both schemes', async () => {
    for (const scheme of ['light', 'dark'] as const) {
      await open(1200, scheme);
      const worst = await evaluate<{ ratio: number; text: string }>(CONTRAST);
      // WCAG 2.2, 1.4.3: 4.5 for text of this size.
      expect(worst.ratio, `${scheme}: ${worst.text}`).toBeGreaterThanOrEqual(4.5);
    }
  });

  it('draws every curve and dot within its chart', async () => {
    await open(1200, 'light');
    const outside = await evaluate<number>(`[...document.querySelectorAll('.dot')].filter((dot) => {
      const a = dot.getBoundingClientRect(), b = dot.parentElement.getBoundingClientRect();
      const middle = (a.left + a.right) / 2;
      return !(a.width > 4 && middle >= b.left && middle <= b.right);
    }).length`);
    expect(outside).toBe(0);
    const flat = await evaluate<number>(`[...document.querySelectorAll('polyline')].filter((line) => {
      const box = line.getBBox();
      return !(box.width > 80 && box.height > 5 && box.y >= -1 && box.y + box.height <= 101);
    }).length`);
    expect(flat).toBe(0);
  });

  it('names its charts and opens its tables with the keyboard', async () => {
    await open(1200, 'light');
    const unnamed = `[...document.querySelectorAll('svg[role=img], section, [role=region]')].filter((each) =>
      !each.getAttribute('aria-label') && !document.getElementById(each.getAttribute('aria-labelledby'))).length`;
    expect(await evaluate(unnamed)).toBe(0);
    expect(await page.getByRole('heading', { name: 'Perplexity after each stage' }).count()).toBe(1);
    expect(await page.getByRole('img', { name: /^Block \d+: loss .* steps$/ }).count()).toBe(24);
    // Tab until the first table's summary has the focus, then Enter.
    for (let presses = 0; presses < 40; presses++) {
      await page.keyboard.press('Tab');
      if ((await evaluate('document.activeElement.tagName')) === 'SUMMARY') break;
    }
    expect(await evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
    expect(await evaluate('document.activeElement.parentElement.open')).toBe(false);
    await page.keyboard.press('Enter');
    expect(await evaluate('document.activeElement.parentElement.open')).toBe(true);
  });
});

/** The least contrast of any text with what is behind it, as WCAG counts it; a canvas turns any colour into sRGB. */
const CONTRAST = `(() => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colors) => {
    context.clearRect(0, 0, 1, 1);
    for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
    return context.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const part = rgb[i] / 255;
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
  let worst = { ratio: 100, text: '' };
  for (const each of document.querySelectorAll('body *')) {
    const text = [...each.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
    if (text === '' || each.closest('.unseen')) continue;
    const behind = [];
    for (let at = each; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const ink = luminance(paint([...behind, getComputedStyle(each).color]));
    const ground = luminance(paint(behind));
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: each.tagName + ' ' + text.slice(0, 40) };
  }
  return worst;
})()`;
