// The page's server on 127.0.0.1: the page, our bundle, the peers' packages, the job, its file and, for a peer that wants a
// folder, the files beside it. Every answer carries the headers that give a page SharedArrayBuffer, and so threads.
import { createReadStream, existsSync, mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { PEERS_FOLDER } from '../peers/setup.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUNDLE = fileURLToPath(new URL('../../.cache/bench/browser/', import.meta.url));

/**
 * Where files come from, by the first part of the path. A worker that the bundle starts beside itself is found where
 * the unbundled package has it.
 */
const FOLDERS = {
  bundle: [BUNDLE, path.dirname(fileURLToPath(import.meta.resolve('@duobit/core')))],
  peers: [path.join(PEERS_FOLDER, 'node_modules')],
};

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};
const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

/** Bundles what runs in the worker, once for a run of the benchmark, from the built packages. */
export async function bundleOurs() {
  mkdirSync(BUNDLE, { recursive: true });
  await build({
    config: false,
    entry: { 'ours-worker': path.join(HERE, 'ours-worker.mjs') },
    outDir: BUNDLE,
    format: ['esm'],
    target: 'es2022',
    platform: 'browser',
    noExternal: [/./],
    outExtension: () => ({ js: '.js' }),
    splitting: false,
    silent: true,
  });
}

/**
 * Serves one job. @param file the model @param folder what `/folder` stands for, if anything
 * @returns {Promise<{url: string, answer: Promise<object>, close: () => void}>} the page's address and what it posts.
 */
export async function serveJob({ file, folder, ...job }) {
  let settle;
  const answer = new Promise((resolve) => {
    settle = resolve;
  });
  const server = createServer(async (request, response) => {
    try {
      const { pathname } = new URL(request.url, 'http://localhost');
      if (pathname === '/answer') {
        const chunks = await request.toArray();
        response.writeHead(204, ISOLATION).end();
        settle(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } else if (pathname === '/job') {
        response
          .writeHead(200, { ...ISOLATION, 'Content-Type': 'application/json' })
          .end(JSON.stringify(job));
      } else await sendFile(response, pathname === '/file' ? file : findFile(pathname, folder));
    } catch {
      // The page reports what it misses; a connection that is gone needs no answer.
      response.destroy();
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    answer,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The file of an address, or null. Only files that lie in one of the folders. */
function findFile(pathname, folder) {
  if (pathname === '/') return path.join(HERE, 'page.html');
  if (pathname === '/page.mjs' || pathname === '/transformers-worker.mjs') return path.join(HERE, pathname);
  if (pathname === '/steps.mjs') return path.join(HERE, '../steps.mjs');
  const [, area, ...rest] = pathname.split('/');
  const folders = { ...FOLDERS, ...(folder === undefined ? {} : { folder: [folder] }) };
  if (!Object.hasOwn(folders, area)) return null;
  const candidates = folders[area].map((root) => [root, path.join(root, ...rest)]);
  const found = candidates.find(([root, file]) => file.startsWith(root) && existsSync(file));
  return found?.[1] ?? null;
}

async function sendFile(response, file) {
  if (file === null) {
    response.writeHead(404, ISOLATION).end();
    return;
  }
  const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
  response.writeHead(200, { ...ISOLATION, 'Content-Type': type, 'Content-Length': statSync(file).size });
  await pipeline(createReadStream(file), response);
}
