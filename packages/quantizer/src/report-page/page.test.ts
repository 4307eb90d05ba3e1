// What the page says, and that nothing in it is more than text.
import { describe, expect, it } from 'vitest';
import { makeQuantizeReport } from '../testing/quantize-report.ts';
import { fileParts, layerTables, levelUse, notices, placeOf, thin } from './facts.ts';
import { html } from './html.ts';
import { change, makeScale, significant } from './numbers.ts';
import { renderReport } from './page.ts';

const ATTACK = `<script>alert("1")</script>'"&<img src=x onerror=alert(1)>`;

describe('renderReport', () => {
  it('escapes names, paths and recipes', () => {
    const report = makeQuantizeReport({ name: ATTACK, blocks: 2 });
    const [first, ...rest] = report.tensors;
    const page = renderReport({
      ...report,
      outPath: ATTACK,
      tensors: [
        { ...first!, name: ATTACK },
        ...rest.map((each) => ({ ...each, name: `${ATTACK}${each.name}` })),
      ],
      recipe: { ...report.recipe, producer: ATTACK, metadata: { [ATTACK]: ATTACK } },
    });
    expect(page).not.toMatch(/<script|<img/i);
    expect(page).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&quot;&amp;');
  });

  it('has no address to load from, and forbids loading', () => {
    const page = renderReport(makeQuantizeReport());
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"`);
    expect(page).not.toMatch(/https?:|src=|@import|url\(|javascript:/);
    for (const [, address] of page.matchAll(/href="([^"]*)"/g)) expect(address).toMatch(/^(#[a-z]+|data:,)$/);
  });

  it('leaves out what there is not, and has no NaN', () => {
    const whole = makeQuantizeReport();
    const ids = (page: string) => [...page.matchAll(/<section id="(\w+)"/g)].map(([, id]) => id);
    const every = ['perplexity', 'training', 'layers', 'levels', 'bytes', 'notices', 'recipe'];
    expect(ids(renderReport(whole))).toEqual(every);
    const plain = { ...whole, stages: [], evaluationTokens: 0, calibrationTokens: 0 };
    expect(ids(renderReport(plain))).toEqual(['layers', 'levels', 'bytes', 'recipe']);
    for (const report of [whole, plain, makeQuantizeReport({ blocks: 1, stages: [1] })]) {
      const page = renderReport(report).replace('the loss is NaN at step 41', '');
      expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
    }
  });

  it('has a row for each block, and says which were left as they were', () => {
    const page = renderReport(makeQuantizeReport());
    expect(page).toContain('10 of 12 blocks came out better');
    expect(page).toContain('0.200 → 0.206 <span class="bad">+3.0 %</span>');
    expect(page).toContain('0.160 <span class="bad">diverged</span>');
    expect(page.match(/<polyline/g)).toHaveLength(12 + 12 + 1);
    expect(page.match(/class="restart"/g)).toHaveLength(1 + 3);
  });
});

describe('facts of a report', () => {
  const report = makeQuantizeReport();

  it('account for every byte', () => {
    const parts = fileParts(report);
    expect(parts.reduce((sum, part) => sum + part.bytes, 0)).toBe(report.fileBytes);
    const bits = Object.fromEntries(
      parts.map(({ name, bytes, weights }) => [name, weights && (8 * bytes) / weights]),
    );
    expect(bits).toEqual({ Signs: 1, Bitmaps: 1, Levels: 0.5, Embedding: 8.25, Norms: 32, Rest: null });
  });

  it('know layers by block and kind', () => {
    expect(placeOf('model.layers.11.self_attn.q_proj.weight')).toEqual({ block: 11, kind: 'q' });
    expect(placeOf('lm_head.weight')).toBeNull();
    const tables = layerTables(report);
    expect(tables.map(({ title }) => title)).toEqual([
      'Outputs, after the fit of stage 1',
      'Weights, after stage 1',
      'Weights, after stage 2',
      'Weights, after stage 3',
      'Weights, after stage 4',
    ]);
    const { kinds, rows } = tables[0]!;
    expect(kinds).toEqual(['q', 'k', 'v', 'o', 'gate', 'up', 'down']);
    expect(rows).toHaveLength(12);
    const name = 'model.layers.4.mlp.up_proj.weight';
    expect(rows[4]![5]).toBe(report.tensors.find((tensor) => tensor.name === name)!.relativeError);
  });

  it('count each level over all layers', () => {
    const use = levelUse(report.tensors);
    expect(use.map(({ kind }) => kind)).toEqual(['all', 'q', 'k', 'v', 'o', 'gate', 'up', 'down']);
    for (const level of [0, 1, 2, 3])
      expect(use[0]!.counts[level]).toBe(use.slice(1).reduce((sum, { counts }) => sum + counts[level]!, 0));
  });

  it('tell what went wrong', () => {
    expect(notices(report).map(({ place }) => place)).toEqual([
      'Stage 2, block 3',
      'Stage 2, block 5',
      'Stage 2',
    ]);
    expect(notices(report)[2]!.text).toContain('block 7');
  });

  it('thin losses by means, without what is no number', () => {
    expect(thin([1, 3, Number.NaN, 5], 2)).toEqual([
      { step: 1, loss: 2 },
      { step: 3, loss: 5 },
    ]);
    expect(thin([], 5)).toEqual([]);
    expect(thin(Array(1000).fill(2), 150).length).toBeLessThanOrEqual(150);
  });
});

describe('words and numbers of the page', () => {
  it('escape what is put in, but not markup of their own', () => {
    expect(html`<b>${'<'}${html`<i>`}${null}${[1, '&']}</b>`.text).toBe('<b>&lt;<i>1&amp;</b>');
  });

  it.each([
    [0, '0'],
    [0.00012, '1.2e-4'],
    [0.01234, '0.0123'],
    [2.5, '2.50'],
    [39.555, '39.6'],
    [12345, '12345'],
    [Number.NaN, 'NaN'],
  ])('write %d as %s', (value, text) => {
    expect(significant(value)).toBe(text);
  });

  it('write changes with their sign', () => {
    expect(change(2, 1)).toBe('−50 %');
    expect(change(100, 103)).toBe('+3.0 %');
    expect(change(0, 1)).toBe('');
  });

  it('place values between 0 and 1, in order', () => {
    for (const values of [[1, 2, 3], [1, 10, 1000], [-1, 0, 1], [5]]) {
      const places = values.map(makeScale(values));
      for (const [i, place] of places.entries()) {
        expect(place).toBeGreaterThan(0);
        expect(place).toBeLessThan(1);
        if (i > 0) expect(place).toBeGreaterThan(places[i - 1]!);
      }
    }
  });
});
