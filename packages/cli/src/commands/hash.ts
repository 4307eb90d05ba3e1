// `duobit hash`: what identifies a container, its file and its content.
import { type ContentDigest, contentDigest } from '@duobit/format';
import type { Command } from 'commander';
import { withContainer } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { hashSource } from '../file-hash.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { formatPairs, formatTable } from '../text.ts';

interface Options {
  readonly tensors: boolean;
  readonly json: boolean;
}

export function addHashCommand(program: Command, context: Context): void {
  const command = program
    .command('hash')
    .description(
      'Print what identifies a container: hashes of its header, its file, and its content wherever it lies.',
    )
    .argument('<file>', '.duo file')
    .option('--tensors', 'list the digest of every tensor', false)
    .action((path: string, options: Options) => runHash(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit hash tiny.duo', 'duobit hash tiny.duo --tensors');
}

async function runHash(context: Context, path: string, options: Options): Promise<void> {
  const progress = createProgress(context.io, { lines: { 'hash file': 0, 'hash content': 0 } });
  const update = (phase: string, done: number, total: number): void => {
    checkAborted(context.signal);
    progress.update(phase, done, total);
  };
  try {
    await withContainer(context, path, {}, async (container) => {
      const file = await hashFile(context, path, (done, total) => update('hash file', done, total));
      const content = await contentDigest(container, {
        signal: context.signal,
        onProgress: (done, total) => update('hash content', done, total),
      });
      progress.stop();
      const result = {
        file: path,
        file_bytes: container.manifest.fileLength,
        header_sha256: container.manifest.headerSha256,
        file_sha256: file,
        content_sha256: content.sha256,
        tensors: content.tensors.map(({ name, sha256, planes }) => ({
          name,
          sha256,
          planes: planes.map(({ role, length, sha256 }) => ({ role, bytes: length, sha256 })),
        })),
      };
      emit(context, options.json, result, () => {
        const pairs = formatPairs([
          ['header SHA-256', result.header_sha256],
          ['file SHA-256', result.file_sha256],
          ['content SHA-256', result.content_sha256],
        ]);
        return options.tensors ? `${pairs}\n${formatTensors(content)}` : pairs;
      });
    });
  } finally {
    progress.stop();
  }
}

async function hashFile(
  context: Context,
  path: string,
  onProgress: (done: number, total: number) => void,
): Promise<string> {
  const source = await openModelFile(context, path);
  try {
    return await hashSource(source, onProgress);
  } finally {
    await source.close();
  }
}

function formatTensors({ tensors }: ContentDigest): string {
  return formatTable(
    ['tensor', 'SHA-256'],
    tensors.map(({ name, sha256 }) => [name, sha256]),
  );
}
