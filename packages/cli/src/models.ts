// Models as commands are given them: a path, or an address whose model is downloaded into the cache first.
import { basename } from 'node:path';
import { type ByteSource, isHubAddress, isRemoteAddress, parseHubAddress } from '@duobit/format';
import { type DownloadProgress, openModelSource, type PullOptions } from '@duobit/runtime-node';
import { type Context, note } from './context.ts';
import { createProgress } from './progress.ts';

export interface OpenOptions {
  /** False: what is not stored is read from the server by ranges and not kept, for commands that want little of it. */
  readonly store?: boolean;
}

/** Opens a container's file; data files are found beside it. @throws DuobitError as `openModelSource` */
export function openModelFile(
  context: Context,
  model: string,
  { store = true }: OpenOptions = {},
): Promise<ByteSource> {
  return withDownload(context, (options) => openModelSource(model, { ...options, store }));
}

/** Runs what may download, with the environment, the signal and the progress of this command. */
export async function withDownload<T>(
  context: Context,
  work: (options: PullOptions) => Promise<T>,
): Promise<T> {
  const progress = createProgress(context.io, { lines: { check: 0, download: 10 } });
  try {
    return await work({
      env: context.io.env,
      signal: context.signal,
      onProgress: ({ bytes, totalBytes, cached }: DownloadProgress) =>
        progress.update(bytes > cached ? 'download' : 'check', bytes, totalBytes),
      onNotice: (line) => {
        progress.stop();
        note(context, line);
      },
    });
  } finally {
    progress.stop();
  }
}

/** What a model's file is called, for the names of what is made of it. */
export function modelFileName(model: string): string {
  if (!isRemoteAddress(model)) return basename(model);
  if (!isHubAddress(model)) {
    const name = URL.canParse(model) ? new URL(model).pathname.split('/').at(-1) : '';
    return name?.replace(/%[0-9A-Fa-f]{2}/g, '-') || 'model.duo';
  }
  const { repo, file } = parseHubAddress(model);
  return file === null ? `${basename(repo)}.duo` : basename(file);
}
