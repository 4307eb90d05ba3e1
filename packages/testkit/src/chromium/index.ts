// A real browser for tests, driven by Playwright: Debian's Chromium or what CHROMIUM names, with WebGPU on its own SwiftShader, and
// pages made of TypeScript modules.
import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, isAbsolute, join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';

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

export function launchChromium(
  command: string,
  { webgpu = false, args = [] }: LaunchOptions = {},
): Promise<Browser> {
  return chromium.launch({
    executablePath: command,
    args: [...FLAGS, ...(webgpu ? SOFTWARE_WEBGPU : ['--disable-gpu']), ...args],
  });
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

/** What threads and SharedArrayBuffer need. */
export const ISOLATION_HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
} as const;

export interface PageServer {
  /** With a slash at its end. */
  readonly url: string;
  close(): Promise<void>;
}

/** A server on a free port of 127.0.0.1, a secure context for a browser. */
export async function startServer(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<PageServer> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
