// `duobit publish`: a container, with its card, to a hub's repository or to a folder for any static host.
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DuobitError, parseHubAddress } from '@duobit/format';
import { openNetwork } from '@duobit/runtime-node';
import { type Command, CommanderError, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { addExamples, addJsonOption, collect, parseSize } from '../options.ts';
import { isDataFileOf } from '../parts.ts';
import { renderCard } from '../publish/card.ts';
import {
  findPage,
  HEADERS,
  listPage,
  planFolder,
  removeStale,
  renderSums,
  requirePage,
  textFile,
  writeFolder,
} from '../publish/folder.ts';
import { localPath, type PublishedFile, type PublishedModel, withPublishedModel } from '../publish/model.ts';
import { type EvaluationRecord, readRecord } from '../record.ts';
import { formatBytes, formatCount, formatPairs, formatTable } from '../text.ts';
import { VERSION } from '../version.ts';

interface Options {
  readonly repo?: string;
  readonly to?: string;
  readonly shardSize?: number;
  readonly private: boolean;
  readonly revision: string;
  readonly endpoint?: string;
  readonly baseModel?: string;
  readonly license?: string;
  readonly record?: readonly string[];
  /** A folder; true: the package's own; false: none. */
  readonly page: string | boolean;
  readonly work?: string;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
}

export function addPublishCommand(program: Command, context: Context): void {
  const command = program
    .command('publish')
    .description(
      'Publish a container with a model card: to a Hugging Face hub, or to a folder for any static host.',
    )
    .argument('<model>', '.duo file')
    .option('--repo <user/name>', 'repository of a hub; made when it does not exist')
    .option('--to <folder>', 'folder to write instead: model, card, hashes, headers and the chat page')
    .addOption(
      new Option(
        '--shard-size <size>',
        'cut the model in data files of at most so many bytes, such as 512MB',
      ).argParser(parseSize),
    )
    .option('--private', 'make a new repository private', false)
    .option('--revision <branch>', 'branch to commit to', 'main')
    .option('--endpoint <url>', 'address of the hub (default: HF_ENDPOINT, else https://huggingface.co)')
    .option('--base-model <user/name>', 'the base model on the hub, for the card')
    .option('--license <id>', 'licence as the hub names it, for the card (default: what the container says)')
    .option('--record <file>', 'record of an evaluation, for the card; may be given several times', collect)
    .option('--page <folder>', 'a built chat page other than the one that came with Duobit', true)
    .option('--no-page', 'without the chat page')
    .option(
      '--work <folder>',
      "folder to make data files in (default: the container's); they have one of their own there until all is published",
    )
    .option('--force', 'replace files that exist, and a card that somebody has written', false)
    .option('--dry-run', 'check everything and print what would be written, but write nothing', false)
    .action((model: string, options: Options) => runPublish(context, model, options));
  addJsonOption(command);
  addExamples(
    command,
    'duobit publish out.duo --repo user/name --record ppl.json',
    'duobit publish out.duo --repo user/name --dry-run',
    'duobit publish out.duo --to site',
  );
}

async function runPublish(context: Context, model: string, options: Options): Promise<void> {
  const { repo, to } = options;
  if ((repo === undefined) === (to === undefined))
    throw new CommanderError(
      2,
      'duobit.publish',
      "error: give either '--repo <user/name>' or '--to <folder>'",
    );
  // What cannot be right is told before the long work.
  if (repo !== undefined && parseHubAddress(`hf:${repo}`).file !== null)
    throw new DuobitError('HUB_ADDRESS', 'a repository is user/name', {
      source: repo,
      remedy: 'Leave out the rest',
    });
  const page = to === undefined || options.page === false ? null : await choosePage(options.page);
  const records = await Promise.all((options.record ?? []).map(readRecord));
  const started = performance.now();
  const publisher =
    repo === undefined
      ? createFolderPublisher(context, to!, page, options)
      : await createHubPublisher(context, repo, options);
  const path = await localPath(context, model);
  const work = options.work ?? (path === model ? dirname(model) : '.');
  await withPublishedModel(
    context,
    model,
    path,
    { shardSize: options.shardSize, work },
    async (published) => {
      requireRecords(published, records, options.record ?? []);
      const card = renderCard(published, {
        address: publisher.address(published.name),
        baseModel: options.baseModel ?? null,
        license: options.license ?? null,
        records,
      });
      const files = [
        ...published.files,
        textFile('README.md', card),
        ...(published.license === null ? [] : [textFile('LICENSE', published.license)]),
      ];
      const outcome = await publisher.publish(published, files);
      const result = {
        model,
        target: repo === undefined ? to : outcome.url,
        dry_run: options.dryRun,
        header_sha256: published.headerSha256,
        content_sha256: published.contentSha256,
        commit: outcome.commit,
        written: outcome.written.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })),
        unchanged: outcome.unchanged,
        removed: outcome.removed,
        card,
        seconds: (performance.now() - started) / 1000,
      };
      emit(context, options.json, result, () => formatResult(result, options.dryRun));
    },
  );
}

const choosePage = (page: string | boolean): Promise<string> =>
  typeof page === 'string' ? requirePage(page) : findPage();

/** @throws DuobitError `RECORD_MISMATCH` for one that is neither of this model nor of the one that it was made from */
function requireRecords(
  { manifest }: PublishedModel,
  records: readonly EvaluationRecord[],
  paths: readonly string[],
): void {
  for (const [i, { model }] of records.entries()) {
    const own = model.sha256_of === 'header' ? manifest.headerSha256 : manifest.provenance.sourceSha256;
    if (model.sha256 === own) continue;
    throw new DuobitError(
      'RECORD_MISMATCH',
      `the record is of ${model.sha256_of} ${model.sha256}, the model has ${own}`,
      {
        source: paths[i],
        remedy: 'Give records of this container, or of the checkpoint that it was made from',
      },
    );
  }
}

interface Outcome {
  readonly url: string | null;
  readonly commit: string | null;
  readonly written: readonly PublishedFile[];
  readonly unchanged: readonly string[];
  readonly removed: readonly string[];
}

interface Publisher {
  /** What the model will be loaded by; null where that is not known. */
  address(name: string): string | null;
  publish(model: PublishedModel, files: readonly PublishedFile[]): Promise<Outcome>;
}

async function createHubPublisher(context: Context, repo: string, options: Options): Promise<Publisher> {
  const { io } = context;
  const env = options.endpoint === undefined ? io.env : { ...io.env, HF_ENDPOINT: options.endpoint };
  // Loaded only to publish: the hub's library is read for a while.
  const { Hub } = await import('../publish/hub.ts');
  const hub = new Hub(context, await openNetwork(env), {
    repo,
    revision: options.revision,
    isPrivate: options.private,
    force: options.force,
  });
  const state = await hub.look();
  return {
    address: (name) => hub.address(state, name),
    publish: async ({ name }, files) => {
      const plan = await hub.plan(state, name, files);
      if (plan.keptCard)
        note(
          context,
          'note: the card of the repository was not written by duobit and stays; --force replaces it',
        );
      const title = `Publish ${name} with duobit ${VERSION}`;
      const { commit, url } = options.dryRun
        ? { commit: null, url: hub.url }
        : await hub.publish(plan, title);
      return { url, commit, written: plan.add, unchanged: plan.same, removed: plan.remove };
    },
  };
}

function createFolderPublisher(
  context: Context,
  folder: string,
  page: string | null,
  options: Options,
): Publisher {
  const publish: Publisher['publish'] = async ({ name }, model) => {
    const own = [...model, textFile('_headers', HEADERS)];
    if (page !== null)
      own.push(...(await listPage(page)), textFile('model.json', `${JSON.stringify({ model: name })}\n`));
    const files = [...own, textFile('SHA256SUMS', renderSums(own))];
    const names = new Set(files.map((file) => file.name));
    // Another container of the folder may name them, so they go only where what is there may be replaced.
    const there = options.force ? await readdir(folder).catch(() => []) : [];
    const removed = there.filter((file) => isDataFileOf(name, file) && !names.has(file));
    const { add, same } = await planFolder(folder, files, options.force);
    if (!options.dryRun) {
      await writeFolder(context, folder, add);
      await removeStale(folder, removed);
    }
    return { url: null, commit: null, written: add, unchanged: same, removed };
  };
  return { address: () => null, publish };
}

interface Result {
  readonly target: string | null | undefined;
  readonly commit: string | null;
  readonly header_sha256: string;
  readonly written: readonly { name: string; bytes: number; sha256: string }[];
  readonly unchanged: readonly string[];
  readonly removed: readonly string[];
  readonly card: string;
}

function formatResult(result: Result, dryRun: boolean): string {
  const total = result.written.reduce((sum, { bytes }) => sum + bytes, 0);
  const summary = formatPairs([
    [dryRun ? 'would be published to' : 'published to', result.target ?? ''],
    [dryRun ? 'would be written' : 'written', `${result.written.length} files, ${formatBytes(total)}`],
    ...(result.unchanged.length === 0 ? [] : [['there already', result.unchanged.join(', ')] as const]),
    ...(result.removed.length === 0
      ? []
      : [[dryRun ? 'would be removed' : 'removed', result.removed.join(', ')] as const]),
    ...(result.commit === null ? [] : [['commit', result.commit] as const]),
    ['header SHA-256', result.header_sha256],
  ]);
  const table = formatTable(
    ['file', 'bytes', 'SHA-256'],
    result.written.map(({ name, bytes, sha256 }) => [name, formatCount(bytes), sha256]),
    ['bytes'],
  );
  return dryRun ? `${summary}\n${table}\nREADME.md:\n\n${result.card}` : `${summary}\n${table}`;
}
