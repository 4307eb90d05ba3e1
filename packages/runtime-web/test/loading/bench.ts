// What tests of loading in Chromium share: a server with models and a page, and calls into the page or a worker of it.
import { readFile } from 'node:fs/promises';
import { createMemorySink, createMemorySource, splitContainer } from '@duobit/format';
import { makeTinyModel, type TinyModelOptions, writeModel } from '@duobit/testkit';
import { bundleForBrowser, type RangeServer, startRangeServer } from '@duobit/testkit/chromium';
import type { BrowserContext, Page } from 'playwright-core';
import type { Actions } from './entry.ts';

export const CHUNK = 4 << 20;

/** Starts a server with the page, the worker's script and the embedded model. */
export async function startBench(): Promise<RangeServer> {
  const embedded = new URL('../../../../fixtures/embedded/tinystories-656k.duo', import.meta.url);
  return startRangeServer({
    files: {
      '': {
        body: '<!doctype html><title>loading</title><script type="module" src="entry.js"></script>',
        type: 'text/html',
      },
      'entry.js': await bundleForBrowser(new URL('entry.ts', import.meta.url).pathname),
      'embedded.duo': await readFile(embedded),
    },
  });
}

export async function makeContainer(options: TinyModelOptions): Promise<Uint8Array<ArrayBuffer>> {
  const sink = createMemorySink();
  await writeModel(makeTinyModel(options), sink);
  return sink.bytes();
}

/** 14 MB: two blocks of two chunks each, and a small embedding. */
export const makeLargeContainer = (seed = 3): Promise<Uint8Array<ArrayBuffer>> =>
  makeContainer({
    seed,
    linear: 'f16',
    architecture: {
      hiddenSize: 512,
      intermediateSize: 1536,
      headCount: 8,
      kvHeadCount: 8,
      headSize: 64,
      blockCount: 2,
    },
  });

/** The container in several files, the header file under `name`. */
export async function shard(name: string, bytes: Uint8Array, maxDataFileBytes: number) {
  const files: Record<string, Uint8Array> = {};
  await splitContainer(
    createMemorySource(bytes),
    async (dataFile) => {
      const sink = createMemorySink();
      return {
        ...sink,
        finish: async () => {
          await sink.finish();
          files[dataFile ?? name] = sink.bytes();
        },
      };
    },
    { maxDataFileBytes, dataFileName: (index) => `${name.replace('.duo', '')}-${index}.duodata` },
  );
  return files;
}

/** One tab. */
export class Tab {
  readonly page: Page;
  readonly #inWorker: boolean;

  private constructor(page: Page, inWorker: boolean) {
    this.page = page;
    this.#inWorker = inWorker;
  }

  static async open(context: BrowserContext, url: string, inWorker = false): Promise<Tab> {
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForFunction('globalThis.actions');
    if (inWorker)
      await page.evaluate("globalThis.worker = new Worker('entry.js', { type: 'module' }); undefined");
    return new Tab(page, inWorker);
  }

  /** Calls an action of entry.ts. */
  call<N extends keyof Actions>(
    name: N,
    ...given: Parameters<Actions[N]>
  ): Promise<Awaited<ReturnType<Actions[N]>>> {
    const argument = JSON.stringify(given[0]);
    const inPage = `actions.${name}(...${JSON.stringify(given)})`;
    const inWorker = `new Promise((resolve, reject) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ name: '${name}', argument: ${argument} }, [port2]);
    })`;
    return this.page.evaluate(this.#inWorker ? inWorker : inPage);
  }
}
