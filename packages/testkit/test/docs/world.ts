// What the documentation's commands and programs find when they are run: a folder with files of the names that it uses, a hub with
// the repository user/name, a static server, and `npx duobit`, which is the built command. All models are the embedded checkpoint
// with a chat template, quantized.
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type RangeServer, startRangeServer } from '@duobit/testkit/chromium';
import { type HubServer, startHubServer } from '@duobit/testkit/hub';
import { ROOT } from './blocks.ts';

const CLI = join(ROOT, 'packages/cli/bin/duobit.mjs');
const CHECKPOINT = join(ROOT, 'fixtures/tinystories-656k');
const TEMPLATE =
  "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
/** Names of containers, and of texts, that pages use. */
const MODELS = [
  'out.duo',
  'model.duo',
  'old.duo',
  'new.duo',
  'big.duo',
  'tiny.duo',
  'out/tinystories-656k.duo',
];
const TEXTS = ['text.txt', 'file.txt', 'wiki.test.raw'];
const SECONDS = 240;

/** What stands for something else in commands. Parts in square brackets may be left out, and are. */
const PLACEHOLDERS: readonly (readonly [RegExp, string])[] = [
  [/<command>/g, 'list'],
  [/<checkpoint>/g, 'checkpoint'],
  [/<model>/g, 'model.duo'],
  [/ \[[^\]\n"$]+\]/g, ''],
  [/hf_…/g, 'hf_write'],
  // The embedded model has 512.
  [/ --context 2048/g, ''],
  [/\$\(node scripts\/fetch-smollm2\.mjs[^)]*\)/g, 'checkpoint'],
];

/** A command of a page as it can be run. */
export const completeCommand = (text: string): string =>
  PLACEHOLDERS.reduce((result, [from, to]) => result.replace(from, to), text);

export interface Outcome {
  readonly code: number;
  readonly output: string;
}

export interface World {
  /** Of the embedded checkpoint, with a chat template. */
  readonly model: Uint8Array;
  readonly server: RangeServer;
  readonly hub: HubServer;
  /** Text of a page with addresses and hashes of this world. */
  substitute(text: string): string;
  /** A new folder with the files that a text names. */
  makeFolder(text: string): string;
  /** Runs a script of bash, which ends at the first failure, or a command. @param file a module for Node instead */
  run(folder: string, script: { readonly bash: string } | { readonly node: string }): Promise<Outcome>;
  close(): Promise<void>;
}

/** `npx duobit` and the commands that a page may only name. */
function writeCommands(folder: string): void {
  mkdirSync(folder);
  const commands = {
    npx: `[ "$1" = duobit ] || { echo "npx $1 is not run here" >&2; exit 97; }\nshift\nexec "${process.execPath}" "${CLI}" "$@" $DUOBIT_OPTIONS`,
    npm: `[ "$*" = "ci" ] || [ "$*" = "run build" ] || { echo "npm $* is not run here" >&2; exit 97; }`,
  };
  for (const [name, body] of Object.entries(commands)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(folder, name), 0o755);
  }
}

/** A process with a time limit, and all that it printed. */
function execute(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd, env, timeout: SECONDS * 1000, killSignal: 'SIGKILL', maxBuffer: 1 << 26 } as const;
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, output: `${stdout}${stderr}` });
    });
  });
}

export async function openWorld(): Promise<World> {
  if (!existsSync(join(ROOT, 'packages/cli/dist/main.js')))
    throw new Error('npm run build first: pages are run with what is built');
  const base = mkdtempSync(join(tmpdir(), 'duobit-docs-'));
  const commands = join(base, 'bin');
  writeCommands(commands);
  const checkpoint = join(base, 'checkpoint');
  cpSync(CHECKPOINT, checkpoint, { recursive: true });
  const settings = join(checkpoint, 'tokenizer_config.json');
  writeFileSync(
    settings,
    JSON.stringify({ ...JSON.parse(readFileSync(settings, 'utf8')), chat_template: TEMPLATE }),
  );

  const server = await startRangeServer();
  const hub = await startHubServer();
  // Some windows of 512 tokens.
  const story = readFileSync(join(ROOT, 'fixtures/stories/heldout.txt')).subarray(0, 6000);
  let count = 0;
  const world: World = {
    model: new Uint8Array(),
    server,
    hub,
    substitute: (text) =>
      text
        .replaceAll('0a1b2c3d4e5f', Buffer.from(world.model.subarray(56, 62)).toString('hex'))
        .replaceAll(/https:\/\/example\.(org|com)\/(models\/)?/g, server.url),
    makeFolder(text) {
      const folder = join(base, `folder-${(count += 1)}`);
      hub.repositories.clear();
      hub.add('user/name', { 'model.duo': world.model });
      mkdirSync(join(folder, 'out'), { recursive: true });
      symlinkSync(join(ROOT, 'fixtures'), join(folder, 'fixtures'));
      symlinkSync(checkpoint, join(folder, 'checkpoint'));
      for (const name of MODELS) if (text.includes(name)) writeFileSync(join(folder, name), world.model);
      for (const name of TEXTS) if (text.includes(name)) writeFileSync(join(folder, name), story);
      return folder;
    },
    run(folder, script) {
      const env = {
        HOME: folder,
        PATH: [commands, join(process.execPath, '..'), process.env.PATH].join(delimiter),
        DUOBIT_CACHE: join(folder, '.models'),
        HF_ENDPOINT: hub.url,
        HF_TOKEN: 'hf_write',
        NO_PROXY: '127.0.0.1',
      };
      return 'bash' in script
        ? execute('bash', ['-euo', 'pipefail', '-c', script.bash], folder, env)
        : execute(process.execPath, [script.node], folder, env);
    },
    async close() {
      await server.close();
      await hub.close();
      rmSync(base, { recursive: true, force: true });
    },
  };
  const made = await world.run(base, { bash: 'npx duobit quantize checkpoint -o made.duo' });
  if (made.code !== 0) throw new Error(made.output);
  const model = readFileSync(join(base, 'made.duo'));
  for (const name of MODELS) server.files.set(name, { body: model });
  return Object.assign(world, { model });
}
