// Each block of code in README.md and docs/ is run by a test or says why not; how blocks are found; where links lead.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { listBlocks, listPages, nameOf, ROOT, readBlocks } from './blocks.ts';

/** Run by shell.test.ts and programs.test.ts. */
const RUN = new Set(['sh', 'ts', 'js']);

describe('blocks of the documentation', () => {
  it('are of languages that tests read, or say why not', () => {
    const unread = listBlocks().filter(
      ({ language, skip }) => skip === null && !RUN.has(language) && !['json', 'yaml'].includes(language),
    );
    expect(unread.map(nameOf)).toEqual([]);
    expect(listBlocks().length).toBeGreaterThan(40);
  });

  it('are data where they say so', () => {
    for (const { text } of listBlocks('json')) expect(() => JSON.parse(text)).not.toThrow();
    for (const block of listBlocks('yaml'))
      expect(parseDocument(block.text).errors, nameOf(block)).toEqual([]);
  });
});

describe('finding blocks', () => {
  const read = (...lines: string[]) => readBlocks('page.md', lines.join('\n'));

  it('takes fences, and indented lines that begin like a command', () => {
    const blocks = read(
      'Text:',
      '',
      '    npx duobit list',
      '    cd x',
      '',
      '    a -> b',
      '',
      '```ts',
      'code',
      '```',
      '```',
      'no',
      '```',
    );
    expect(blocks.map(({ language, text, line }) => [language, text, line])).toEqual([
      ['sh', 'npx duobit list\ncd x', 3],
      ['ts', 'code', 9],
    ]);
  });

  it('takes fences in lists, without their indentation', () => {
    expect(read('- item', '', '  ```json', '  { "a":', '    1 }', '  ```')[0]?.text).toBe('{ "a":\n  1 }');
  });

  it('gives a comment to the block that follows', () => {
    const given = [
      '<!-- test: given one',
      'two -->',
      '<!-- test: with --tokens 3 -->',
      '',
      '```sh',
      'x',
      '```',
    ];
    expect(read(...given)[0]).toMatchObject({ given: ['one\ntwo'], options: '--tokens 3', skip: null });
    const skipped = read('<!-- test: skip, needs a GPU -->', '```sh', 'x', '```', '```sh', 'y', '```');
    expect(skipped.map(({ skip }) => skip)).toEqual(['needs a GPU', null]);
  });

  it('puts a block behind the one that it continues', () => {
    const blocks = read(
      '```js',
      'a',
      '```',
      '```sh',
      'b',
      '```',
      '<!-- test: continues -->',
      '```js',
      'c',
      '```',
    );
    expect(blocks[2]?.text).toBe('a\nc');
  });

  it.each([
    ['a comment without a block', ['<!-- test: skip, needs a GPU -->', '', 'text']],
    ['a comment at the end', ['<!-- test: skip, needs a GPU -->']],
    ['a skip without a reason', ['<!-- test: skip -->', '```sh', 'x', '```']],
    ['a fence without an end', ['```sh', 'x']],
    ['a comment without an end', ['<!-- test: given', 'x']],
    ['nothing to continue', ['<!-- test: continues -->', '```js', 'x', '```']],
  ])('refuses %s', (_name, lines) => expect(() => read(...lines)).toThrow(/^page\.md:\d+: /));
});

/** As GitHub makes anchors of headings, and the site does. */
function listAnchors(path: string): Set<string> {
  const anchors = new Set<string>();
  let fenced = false;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.trimStart().startsWith('```')) fenced = !fenced;
    const heading = fenced ? null : /^#+ (.+)$/.exec(line);
    if (heading === null) continue;
    const words = heading[1]!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    anchors.add(words.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-'));
  }
  return anchors;
}

describe('pages of the documentation', () => {
  it('are all in the sidebar of the site', () => {
    const groups: { pages: string[] }[] = JSON.parse(
      readFileSync(join(ROOT, 'docs/.vitepress/pages.json'), 'utf8'),
    );
    const listed = groups.flatMap(({ pages }) => pages.map((page) => `docs/${page}`));
    expect(listed.sort()).toEqual(listPages().filter((page) => page.startsWith('docs/')));
  });
});

describe('links of the documentation', () => {
  it('lead to files and headings', () => {
    const broken = listPages().flatMap((page) => {
      const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```.*?^```$/gms, '');
      return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => {
        if (/^[a-z]+:/.test(target!)) return [];
        const [path = '', anchor] = target!.split('#');
        const file = path === '' ? join(ROOT, page) : join(ROOT, dirname(page), path);
        // The API reference is made when the site is built.
        if (relative(ROOT, file).startsWith(join('docs', 'api'))) return [];
        const isThere =
          existsSync(file) &&
          (anchor === undefined || (statSync(file).isFile() && listAnchors(file).has(anchor)));
        return isThere ? [] : [`${page}: ${target}`];
      });
    });
    expect(broken).toEqual([]);
  });
});
