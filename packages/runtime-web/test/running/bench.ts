// What tests of running models in Chromium share: a server of pages with and without isolation, pages, and calls into them.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createMemorySink } from '@duobit/format';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import { bundleForBrowser, type RangeServer, startRangeServer } from '@duobit/testkit/chromium';
import type { Browser, Page } from 'playwright-core';

/** What a page puts on its global scope for tests to call; arguments and results are copied. */
// biome-ignore lint/suspicious/noExplicitAny: functions of any one argument
type AnyActions = Readonly<Record<string, (argument: any) => Promise<unknown>>>;

const EMBEDDED = new URL('../../../../fixtures/embedded/tinystories-656k.duo', import.meta.url);

export const readEmbedded = (): Promise<Buffer> => readFile(EMBEDDED);

/** A tiny model that has a chat template, which the embedded one has not. */
async function makeChatModel(): Promise<Uint8Array> {
  const sink = createMemorySink();
  await writeModel(makeTinyModel({ seed: 7, linear: 'w11', embedding: 'int8' }), sink);
  return sink.bytes();
}

const bundle = (name: string): Promise<string> =>
  bundleForBrowser(fileURLToPath(new URL(name, import.meta.url)));

/** @param scripts bundled from files of this folder; the first is the page's */
export async function startBench(
  scripts: readonly string[],
  { isolated = true }: { readonly isolated?: boolean } = {},
): Promise<RangeServer> {
  const page = `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${nameOf(scripts[0]!)}"></script>`;
  const bundles = await Promise.all(scripts.map(async (name) => [nameOf(name), await bundle(name)] as const));
  return startRangeServer({
    files: {
      '': { body: page, type: 'text/html' },
      ...Object.fromEntries(bundles),
      'embedded.duo': await readEmbedded(),
      'chat.duo': await makeChatModel(),
    },
    isolated,
  });
}

const nameOf = (source: string): string => source.replace(/\.ts$/, '.js');

export interface OpenPage<Actions extends AnyActions> {
  readonly page: Page;
  /** Lines that the page wrote as errors, or did not catch. */
  readonly complaints: string[];
  call<Name extends keyof Actions>(
    name: Name,
    argument?: Parameters<Actions[Name]>[0],
  ): Promise<Awaited<ReturnType<Actions[Name]>>>;
  close(): Promise<void>;
}

/** A page of its own storage. */
export async function openPage<Actions extends AnyActions>(
  browser: Browser,
  server: RangeServer,
): Promise<OpenPage<Actions>> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(server.url);
  await page.waitForFunction(() => 'actions' in globalThis);
  const evaluate = ([name, argument]: [string, unknown]): unknown =>
    (globalThis as unknown as { actions: Record<string, (argument: unknown) => unknown> }).actions[name]!(
      argument,
    );
  return {
    page,
    complaints,
    call: (name, argument) => page.evaluate(evaluate, [name, argument] as [string, unknown]) as never,
    close: () => context.close(),
  };
}
