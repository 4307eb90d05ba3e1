// Finds the blocks of code in the documentation, with what HTML comments before them say about running them:
//
//   <!-- test: skip, needs a GPU -->         not run, and why
//   <!-- test: given npx duobit … -->        first run this, which readers do not see: shell, or lines of TypeScript
//   <!-- test: with --tokens 2048 -->        further options for each `duobit` of the block
//   <!-- test: continues -->                 stands behind the block of the same language before it, as one program
//
// Blocks are fenced, or indented and begin like a command. Fences without a language, `txt` and `example` are no code.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

export interface Block {
  /** From the repository's root. */
  readonly page: string;
  /** Of the first line of code, from 1. */
  readonly line: number;
  readonly language: string;
  /** With what it continues. */
  readonly text: string;
  /** Why it is not run. */
  readonly skip: string | null;
  readonly given: readonly string[];
  readonly options: string;
}

const NO_CODE = new Set(['', 'txt', 'example']);
const ALIASES: Readonly<Record<string, string>> = { bash: 'sh', shell: 'sh', console: 'sh', yml: 'yaml' };
const FENCE = /^( *)```(\S*) *$/;
const COMMAND = /^ {4}(npx|npm|node|export|git|curl|docker|pip|python3?|cd|[a-z]+=\$\() ?/;
const DIRECTIVE = /^ *<!-- test: (skip|given|with|continues)\b,?\s*(.*)$/;

/** The README, those of the packages, and all pages of docs/ that somebody wrote. */
export function listPages(): string[] {
  const pages = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((path) => join('docs', path).replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.md') && !/^docs\/(api|\.vitepress)\//.test(path));
  const packages = readdirSync(join(ROOT, 'packages'))
    .map((name) => `packages/${name}/README.md`)
    .filter((path) => existsSync(join(ROOT, path)));
  return ['README.md', ...packages, ...pages.sort()];
}

/** The blocks of one page, in order. @throws Error for a comment that belongs to no block, or an unclosed fence */
export function readBlocks(page: string, text: string): Block[] {
  const lines = text.split('\n');
  const blocks: Block[] = [];
  let notes: { kind: string; value: string }[] = [];
  const fail = (index: number, what: string): never => {
    throw new Error(`${page}:${index + 1}: ${what}`);
  };
  const add = (index: number, language: string, body: string) => {
    const of = (kind: string) => notes.filter((note) => note.kind === kind).map(({ value }) => value);
    const before =
      of('continues').length > 0 ? blocks.findLast((block) => block.language === language) : null;
    if (before === undefined) fail(index, `there is no block of ${language} to continue`);
    const [skip = null] = of('skip');
    if (skip !== null && skip.length < 8) fail(index, 'a reason is missing');
    blocks.push({
      page,
      line: index + 1,
      language,
      text: before ? `${before.text}\n${body}` : body,
      skip: skip ?? before?.skip ?? null,
      given: [...(before?.given ?? []), ...of('given')],
      options: of('with').join(' '),
    });
    notes = [];
  };

  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index]!;
    const directive = DIRECTIVE.exec(line);
    const fence = FENCE.exec(line);
    if (directive) {
      let value = directive[2]!;
      while (!value.includes('-->')) value += `\n${lines[++index] ?? fail(index, 'a comment has no end')}`;
      notes.push({ kind: directive[1]!, value: value.slice(0, value.indexOf('-->')).trim() });
    } else if (fence) {
      const [, indent = '', name = ''] = fence;
      const end = lines.findIndex((other, at) => at > index && other === `${indent}\`\`\``);
      if (end < 0) fail(index, 'a fence has no end');
      const body = lines.slice(index + 1, end).map((other) => other.slice(indent.length));
      const language = ALIASES[name] ?? name;
      if (!NO_CODE.has(language)) add(index + 1, language, body.join('\n'));
      index = end;
    } else if (COMMAND.test(line) && (lines[index - 1] ?? '').trim() === '') {
      let end = index;
      while (lines[end]?.startsWith('    ')) end += 1;
      add(
        index,
        'sh',
        lines
          .slice(index, end)
          .map((other) => other.slice(4))
          .join('\n'),
      );
      index = end - 1;
    }
    if (!directive && line.trim() !== '' && notes.length > 0) fail(index, 'no block follows this comment');
  }
  if (notes.length > 0) fail(lines.length, 'no block follows the last comment');
  return blocks;
}

/** All blocks of a language, or all. */
export function listBlocks(language?: string): Block[] {
  return listPages()
    .flatMap((page) => readBlocks(page, readFileSync(join(ROOT, page), 'utf8')))
    .filter((block) => language === undefined || block.language === language);
}

export const nameOf = ({ page, line }: Block): string => `${page}:${line}`;
