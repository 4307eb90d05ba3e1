// A real browser for tests, driven by Playwright: Debian's Chromium or what CHROMIUM names, with WebGPU on its own SwiftShader, and
// pages made of TypeScript modules.
import { existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, type BrowserContext, chromium } from 'playwright-core';

export {
  type Faults,
  type RangeServer,
  type RangeServerOptions,
  type ServedFile,
  type ServedRequest,
  startRangeServer,
} from './range-server.ts';
export { ISOLATION_HEADERS, type PageServer, startServer } from './server.ts';

/** No sandbox (which root must do without), nothing that asks the network by itself. */
const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];
const SOFTWARE_WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/**
 * The browser's path, or null where there is none: tests are skipped then, and vitest says which.
 * @throws in CI, which installs one and allows no skip
 */
export function findChromium(): string | null {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : NAMES;
  const folders = (process.env.PATH ?? '').split(delimiter);
  const paths = names.flatMap((name) =>
    isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name)),
  );
  // What Playwright has downloaded where there is no apt comes last.
  const found = [...paths, chromium.executablePath()].find((path) => existsSync(path)) ?? null;
  if (found === null && process.env.CI)
    throw new Error(`no Chromium as ${names.join(', ')}; npm run setup:browser installs one`);
  return found;
}

export interface LaunchOptions {
  /** WebGPU on SwiftShader; else there is none. */
  readonly webgpu?: boolean;
  readonly args?: readonly string[];
}

const toSettings = (command: string, { webgpu = false, args = [] }: LaunchOptions) => ({
  executablePath: command,
  args: [...FLAGS, ...(webgpu ? SOFTWARE_WEBGPU : ['--disable-gpu']), ...args],
});

export function launchChromium(command: string, options: LaunchOptions = {}): Promise<Browser> {
  return chromium.launch(toSettings(command, options));
}

/** A browser whose profile, with all that pages store, is a folder and outlives it. Closing the context closes the browser. */
export function launchChromiumProfile(
  command: string,
  folder: string,
  options: LaunchOptions = {},
): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, toSettings(command, options));
}

/** A module and all that it imports, from sources, as one script for a page or a worker. */
export async function bundleForBrowser(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    conditions: ['@duobit/source'],
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}
