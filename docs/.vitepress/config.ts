// The site made of docs/: its Markdown pages as they are, in the order of pages.json, and the API reference that TypeDoc leaves in
// docs/api. `npm run docs` builds it into docs/.vitepress/dist; a link to a page that does not exist fails the build.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';

const DOCS = join(dirname(fileURLToPath(import.meta.url)), '..');
/** Groups of the sidebar, and paths in docs/; a test compares them with the files. */
const PAGES: { text: string; pages: string[] }[] = JSON.parse(
  readFileSync(join(DOCS, '.vitepress/pages.json'), 'utf8'),
);
const REPOSITORY = 'https://github.com/duobit/duobit';

/** A page is listed under its own first heading. */
function titleOf(page: string): string {
  const heading = /^# (.+)$/m.exec(readFileSync(join(DOCS, page), 'utf8'));
  if (heading === null) throw new Error(`docs/${page} has no heading`);
  return heading[1]!.replaceAll('`', '');
}

const toItem = (page: string) => ({
  text: titleOf(page),
  link: `/${page.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`,
});

const apiIndex = join(DOCS, 'api', 'typedoc-sidebar.json');
const api = existsSync(apiIndex) ? JSON.parse(readFileSync(apiIndex, 'utf8')) : [];

export default defineConfig({
  title: 'Duobit',
  description: 'Language models of two bits a weight: a file format, a quantizer, runtimes.',
  srcExclude: ['**/records/**'],
  cleanUrls: true,
  lastUpdated: false,
  // The index of the search is one chunk.
  vite: { build: { chunkSizeWarningLimit: 2000 } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/start' },
      { text: 'Format', link: '/format' },
      { text: 'Commands', link: '/cli' },
      { text: 'API', link: '/api/' },
    ],
    sidebar: [
      ...PAGES.map(({ text, pages }) => ({ text, items: pages.map(toItem) })),
      { text: 'API reference', collapsed: true, items: api },
    ],
  },
  markdown: {
    // Anchors as GitHub makes them, so that links to headings work in both places.
    anchor: {
      slugify: (heading) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
          .replaceAll(/\s/g, '-'),
    },
    config(markdown) {
      markdown.core.ruler.push('repository', ({ tokens, env }) => {
        for (const token of tokens.flatMap((each) => [each, ...(each.children ?? [])])) {
          // Blocks of the format's examples, numbers and bits, have a name that only the tests know.
          if (token.type === 'fence' && token.info === 'example') token.info = 'txt';
          // What is no page, being outside docs/ or data in it, leads to the repository.
          const href = token.type === 'link_open' ? token.attrGet('href')! : '#';
          const target = posix.join('docs', posix.dirname(env.relativePath), href);
          const isPage = target.startsWith('docs/') && !target.includes('/records');
          if (!/^([a-z]+:|[#/])/.test(href) && !isPage)
            token.attrSet('href', `${REPOSITORY}/blob/main/${target}`);
        }
      });
    },
  },
});
