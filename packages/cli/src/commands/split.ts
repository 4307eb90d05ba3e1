// `duobit split`: one container into a header file and data files of bounded size, in a folder.
import { rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { DataFile } from '@duobit/format';
import { createFileSink, makeFolder } from '@duobit/format/node';
import { type Command, Option } from 'commander';
import { requireFreePath, withContainer } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { modelFileName, openModelFile } from '../models.ts';
import { addExamples, addJsonOption, parseSize } from '../options.ts';
import { cutContainer } from '../parts.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';

interface Options {
  readonly output: string;
  readonly maxSize: number;
  readonly force: boolean;
  readonly json: boolean;
}

export function addSplitCommand(program: Command, context: Context): void {
  const command = program
    .command('split')
    .description(
      'Cut a container into a header file and data files, for hosts that limit the size of a file.',
    )
    .argument('<file>', '.duo file')
    .requiredOption('-o, --output <folder>', 'folder for the files; made when it does not exist')
    .addOption(
      new Option('--max-size <size>', 'most bytes in a data file, such as 512MB or 2GiB')
        .argParser(parseSize)
        .makeOptionMandatory(),
    )
    .option('--force', 'replace files that exist', false)
    .action((path: string, options: Options) => runSplit(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit split big.duo --max-size 512MB -o parts');
}

async function runSplit(context: Context, path: string, options: Options): Promise<void> {
  const started = performance.now();
  const target = join(options.output, modelFileName(path));
  const source = await openModelFile(context, path);
  const made = await makeFolder(options.output);
  try {
    await requireFreePath(target, options.force);
    const openSink = async (name: string | null) => {
      const file = name === null ? target : join(options.output, name);
      await requireFreePath(file, options.force);
      return createFileSink(file);
    };
    await cutContainer(context, source, openSink, basename(target), options.maxSize);
  } catch (error) {
    // A folder that is not empty, or was there before, stays.
    if (made !== undefined) await rmdir(options.output).catch(() => undefined);
    throw error;
  } finally {
    await source.close();
  }
  const seconds = (performance.now() - started) / 1000;
  await withContainer(context, target, {}, async ({ manifest }) => {
    const { headerSha256, fileLength, dataFiles } = manifest;
    const result = {
      output: target,
      source: path,
      header_sha256: headerSha256,
      file_bytes: fileLength,
      data_files: dataFiles.map(({ name, length, sha256 }) => ({ name, bytes: length, sha256 })),
      seconds,
    };
    emit(context, options.json, result, () => formatResult(target, fileLength, dataFiles, headerSha256));
  });
}

function formatResult(
  target: string,
  fileLength: number,
  dataFiles: readonly DataFile[],
  headerSha256: string,
): string {
  const summary = formatPairs([
    ['header file', `${target}, ${formatBytes(fileLength)}`],
    ['header SHA-256', headerSha256],
  ]);
  const table = formatTable(
    ['data file', 'bytes'],
    dataFiles.map(({ name, length }) => [name, formatCount(length)]),
    ['bytes'],
  );
  return `${summary}\n${table}`;
}
