// `duobit pull`, `list` and `remove`: models of servers on this machine's disk.
import { type CachedModel, openModelCache, pullModel } from '@duobit/runtime-node';
import type { Command } from 'commander';
import { type Context, emit } from '../context.ts';
import { withDownload } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { formatBytes, formatCount, formatPairs, formatTable, plural } from '../text.ts';

interface Options {
  readonly json: boolean;
}

const ADDRESS = 'hf:user/name[@revision][/file], or an https address of a .duo file';
/** Digits of a header hash that a table shows; `remove` takes them. */
const SHORT = 12;

export function addPullCommand(program: Command, context: Context): void {
  const command = program
    .command('pull')
    .description(
      'Download a model, or what is new or damaged of it; commands then take its address without a network.',
    )
    .argument('<model>', ADDRESS)
    .action((model: string, options: Options) => runPull(context, model, options));
  addJsonOption(command);
  addExamples(command, 'duobit pull hf:user/name', 'duobit pull https://example.org/models/tiny.duo');
}

async function runPull(context: Context, model: string, options: Options): Promise<void> {
  const started = performance.now();
  const pulled = await withDownload(context, (download) => pullModel(model, download));
  const result = {
    model: pulled.address,
    name: pulled.name,
    path: pulled.path,
    header_sha256: pulled.id,
    commit: pulled.commit,
    bytes: pulled.bytes,
    downloaded_bytes: pulled.downloaded,
    seconds: (performance.now() - started) / 1000,
  };
  emit(context, options.json, result, () =>
    formatPairs([
      ['model', result.model],
      ['stored as', result.path],
      ['size', formatBytes(result.bytes)],
      [
        'downloaded',
        result.downloaded_bytes === 0 ? 'nothing: it is all there' : formatBytes(result.downloaded_bytes),
      ],
      ...(result.commit === null ? [] : [['commit', result.commit] as const]),
      ['header SHA-256', result.header_sha256],
    ]),
  );
}

export function addListCommand(program: Command, context: Context): void {
  const command = program
    .command('list')
    .description('List downloaded models: addresses, sizes, last use.')
    .action((options: Options) => runList(context, options));
  addJsonOption(command);
  addExamples(command, 'duobit list --json');
}

async function runList(context: Context, options: Options): Promise<void> {
  const cache = openModelCache({ env: context.io.env });
  const models = await cache.list();
  const bytes = sumBytes(models);
  const result = { folder: cache.folder, bytes, models: models.map(toJson) };
  emit(context, options.json, result, () => {
    const summary = `${cache.folder}: ${plural(models.length, 'model')}, ${formatBytes(bytes)}\n`;
    if (models.length === 0) return summary;
    return `${summary}\n${formatTable(
      ['model', 'file', 'bytes', 'last use', 'header SHA-256'],
      models.map(({ addresses, name, bytes, totalBytes, complete, lastUsed, id }) => [
        addresses.length === 0 ? '(none)' : addresses.join(', '),
        name,
        complete ? formatCount(bytes) : `${formatCount(bytes)} of ${formatCount(totalBytes)}`,
        lastUsed.toISOString().slice(0, 16).replace('T', ' '),
        id.slice(0, SHORT),
      ]),
      ['bytes'],
    )}`;
  });
}

export function addRemoveCommand(program: Command, context: Context): void {
  const command = program
    .command('remove')
    .description('Remove a downloaded model, or what a download that was cut short left.')
    .argument('<model>', 'its address, or the first digits of its header SHA-256, 8 or more')
    .action((model: string, options: Options) => runRemove(context, model, options));
  addJsonOption(command);
  addExamples(command, 'duobit remove hf:user/name', 'duobit remove 0a1b2c3d4e5f');
}

async function runRemove(context: Context, model: string, options: Options): Promise<void> {
  const removed = await openModelCache({ env: context.io.env }).remove(model, context.signal);
  const bytes = sumBytes(removed);
  emit(context, options.json, { bytes, removed: removed.map(toJson) }, () =>
    removed.length === 0
      ? `${model} is forgotten; the model stays, as other addresses lead to it\n`
      : `removed: ${plural(removed.length, 'model')}, ${formatBytes(bytes)}\n`,
  );
}

const sumBytes = (models: readonly CachedModel[]): number =>
  models.reduce((sum, { bytes }) => sum + bytes, 0);

function toJson({ id, name, addresses, bytes, totalBytes, complete, lastUsed }: CachedModel): object {
  return {
    header_sha256: id,
    name,
    addresses,
    bytes,
    total_bytes: totalBytes,
    complete,
    last_used: lastUsed.toISOString(),
  };
}
