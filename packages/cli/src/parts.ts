// Data files of a model that is cut: their names, and the cutting with progress.
import { basename, extname } from 'node:path';
import { type ByteSource, type OpenSink, splitContainer } from '@duobit/format';
import type { Context } from './context.ts';
import { createProgress } from './progress.ts';
import { checkAborted } from './session.ts';

/** @throws DuobitError as `splitContainer`, `ABORTED` */
export async function cutContainer(
  context: Context,
  source: ByteSource,
  openSink: OpenSink,
  name: string,
  maxDataFileBytes: number,
): Promise<void> {
  const progress = createProgress(context.io, { lines: { split: 3 } });
  const stem = nameStem(name);
  try {
    await splitContainer(source, openSink, {
      maxDataFileBytes,
      dataFileName: (index, count) => `${stem}-${number(index)}-of-${number(count)}.duodata`,
      onProgress: (done, total) => {
        checkAborted(context.signal);
        progress.update('split', done, total);
      },
    });
  } finally {
    progress.stop();
  }
}

/** Whether a file is named as a data file of the model of this name. */
export function isDataFileOf(name: string, file: string): boolean {
  const stem = nameStem(name);
  return file.startsWith(stem) && /^-\d{5}-of-\d{5}\.duodata$/.test(file.slice(stem.length));
}

/** The file's name without its ending, in the characters that a data file's name may have. */
function nameStem(name: string): string {
  const stem = basename(name, extname(name))
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^\.+/, '')
    .slice(0, 200);
  return stem === '' ? 'model' : stem;
}

function number(value: number): string {
  return String(value).padStart(5, '0');
}
