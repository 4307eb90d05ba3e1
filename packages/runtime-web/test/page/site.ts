// The built page on a server of its own, as a static host has it, with models beside it; and what a reader of it does.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createMemorySink } from '@duobit/format';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import {
  bundleForBrowser,
  type RangeServer,
  type ServedFile,
  startRangeServer,
} from '@duobit/testkit/chromium';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { build } from 'vite';
import { expect } from 'vitest';

const HERE = import.meta.dirname;
const EMBEDDED = join(HERE, '../../../../fixtures/embedded/tinystories-656k.duo');
const SCREENSHOTS = join(HERE, '../../../../out/screenshots');

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Long enough for a busy machine; a test that passes does not wait for it. */
const PATIENCE_MS = 60_000;

/** Compiling every kernel takes SwiftShader nine seconds of a core. */
const LOADING_MS = 120_000;

/** As `expect`, of what will be so before long. */
export const eventually = <T>(read: () => T | Promise<T>) => expect.poll(read, { timeout: PATIENCE_MS });

/** Builds the page. By name: what is to be served. */
export async function buildSite(): Promise<Map<string, ServedFile>> {
  const folder = await mkdtemp(join(tmpdir(), 'duobit-page-'));
  try {
    await build({
      configFile: join(HERE, '../../demo/vite.config.ts'),
      logLevel: 'error',
      build: { outDir: folder, emptyOutDir: true },
    });
    const watch = await bundleForBrowser(join(HERE, 'gpu-entry.ts'));
    const files = new Map<string, ServedFile>();
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const name = path.slice(folder.length + 1).replaceAll('\\', '/');
      const body = await readFile(path);
      const isThread = /assets\/(index|worker)-[^/]*\.js$/.test(name);
      files.set(name, {
        body: isThread ? `${watch}\n${body}` : body,
        type: TYPES[extname(name)] ?? 'application/octet-stream',
      });
    }
    files.set('', files.get('index.html')!);
    return files;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const readEmbedded = (): Promise<Buffer> => readFile(EMBEDDED);

/** A small model that chats, in letters. */
export async function makeChatModel(): Promise<Uint8Array<ArrayBuffer>> {
  const sink = createMemorySink();
  await writeModel(
    makeTinyModel({ seed: 7, linear: 'w11', embedding: 'int8', architecture: { contextLength: 256 } }),
    sink,
  );
  return sink.bytes();
}

/** Several chunks, so that a download can be cut between them. */
export async function makeLargeModel(): Promise<Uint8Array<ArrayBuffer>> {
  const architecture = {
    hiddenSize: 512,
    intermediateSize: 1536,
    headCount: 8,
    kvHeadCount: 8,
    headSize: 64,
    blockCount: 2,
  };
  const sink = createMemorySink();
  await writeModel(makeTinyModel({ seed: 3, linear: 'f16', architecture }), sink);
  return sink.bytes();
}

/** A server with the page and `embedded.duo`, `chat.duo`, `large.duo`. */
export async function startSite(
  site: ReadonlyMap<string, ServedFile>,
  options: { readonly isolated?: boolean } = {},
): Promise<RangeServer> {
  const server = await startRangeServer(options);
  for (const [name, file] of site) server.files.set(name, file);
  server.files.set('embedded.duo', { body: await readEmbedded() });
  server.files.set('chat.duo', { body: await makeChatModel() });
  server.files.set('large.duo', { body: await makeLargeModel() });
  return server;
}

export interface VisitOptions extends BrowserContextOptions {
  /** What follows the address: '?model=embedded.duo'. */
  readonly query?: string;
}

/** What cases need. */
export interface Stand {
  readonly site: ReadonlyMap<string, ServedFile>;
  readonly server: RangeServer;
  /** WebGPU on SwiftShader. */
  readonly browser: Browser;
  open(query: string, options?: VisitOptions): Promise<Visit>;
}

/** A visit to the page with storage of its own. */
export class Visit {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly server: RangeServer;
  /** Errors on the console, and exceptions that nobody caught; not those of requests that a test wants to fail. */
  readonly complaints: string[] = [];
  /** Addresses of other origins that were asked for. */
  readonly strangers: string[] = [];

  private constructor(context: BrowserContext, page: Page, server: RangeServer) {
    this.context = context;
    this.page = page;
    this.server = server;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    context.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(server.url) && !url.startsWith('blob:')) this.strangers.push(url);
    });
  }

  static async open(
    browser: Browser,
    server: RangeServer,
    { query = '', ...options }: VisitOptions = {},
  ): Promise<Visit> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
    const visit = new Visit(context, await context.newPage(), server);
    await visit.page.goto(server.url + query);
    return visit;
  }

  close(): Promise<void> {
    return this.context.close();
  }

  /** Waits until the model is there and takes a prompt. */
  async ready(): Promise<void> {
    await this.page.locator('#prompt').waitFor({ timeout: LOADING_MS });
  }

  /** Asks for another model of the server. */
  async choose(name: string): Promise<void> {
    await this.page.getByRole('button', { name: 'Change' }).click();
    const dialog = this.page.getByRole('dialog');
    await dialog.getByLabel('Address of a model').fill(`${name}.duo`);
    await dialog.getByRole('button', { name: 'Load' }).click();
  }

  async notice(): Promise<string> {
    return (await this.page.locator('.notice').first().textContent()) ?? '';
  }

  async failure(): Promise<string> {
    return (await this.page.locator('.notice.failed').textContent()) ?? '';
  }

  /** Answers are the same every time, unless a test wants otherwise. */
  async chooseGreedy(maxTokens: number): Promise<void> {
    await this.showPanel('Sampling');
    await this.page.getByLabel('Temperature, exactly').fill('0');
    await this.page.getByLabel('Repetition penalty, exactly').fill('1');
    await this.page.getByLabel('Most tokens, exactly').fill(String(maxTokens));
    await this.page.getByLabel('Most tokens, exactly').press('Tab');
  }

  async showPanel(name: 'Chat' | 'Model' | 'Sampling' | 'Bits' | 'Storage'): Promise<void> {
    await this.page.getByRole('tab', { name, exact: true }).click();
  }

  async write(text: string): Promise<void> {
    await this.page.locator('#prompt').fill(text);
    await this.page.locator('#prompt').press('Enter');
  }

  /** The latest answer once it has ended, and the line below it. */
  async answer(): Promise<{ text: string; outcome: string }> {
    await this.page.locator('#composer button[type=submit]').waitFor();
    const turn = this.page.locator('.turn.assistant').last();
    const outcome = (await turn.locator('.outcome').textContent()) ?? '';
    return { text: (await turn.locator('.said').textContent()) ?? '', outcome };
  }

  async drop(bytes: Uint8Array, name: string): Promise<void> {
    const transfer = await this.page.evaluateHandle(
      ([base64, fileName]) => {
        const data = Uint8Array.from(atob(base64!), (char) => char.charCodeAt(0));
        const found = new DataTransfer();
        found.items.add(new File([data], fileName!));
        return found;
      },
      [Buffer.from(bytes).toString('base64'), name],
    );
    await this.page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
  }

  /** Runs in the worker that has the model. */
  inWorker<T>(act: () => T): Promise<T> {
    const worker = this.page.workers().find((each) => each.url().includes('/assets/worker-'));
    if (!worker) throw new Error('there is no worker with a model');
    return worker.evaluate(act);
  }

  async screenshot(name: string): Promise<void> {
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
}
