// `duobit serve`: a model behind OpenAI's HTTP API, until a signal ends it.
import { createGrammars } from '@duobit/grammar';
import type { LogLevel } from '@duobit/server';
import { type Command, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { readText } from '../files.ts';
import { modelFileName } from '../models.ts';
import {
  addBackendOptions,
  addExamples,
  addJsonOption,
  type BackendOptions,
  collect,
  decimal,
  integer,
  parseSize,
} from '../options.ts';
import { chooseSequences } from '../sequences.ts';
import { openSession, type Session } from '../session.ts';
import { plural } from '../text.ts';

/** Those of `@duobit/server`, which is loaded only to serve: it is read for a while. */
const LOG_LEVELS = Object.keys({ debug: 0, info: 0, warn: 0, error: 0 } satisfies Record<LogLevel, 0>);

interface Options extends BackendOptions {
  readonly host: string;
  readonly port: number;
  readonly name?: string;
  readonly apiKey?: string;
  readonly parallel?: number;
  readonly queue: number;
  readonly maxTokens?: number;
  readonly context?: number;
  readonly chatTemplate?: string;
  readonly bodyLimit: number;
  readonly timeout: number;
  readonly grace: number;
  readonly cors?: readonly string[];
  readonly logLevel: LogLevel;
  readonly logPrompts: boolean;
  readonly json: boolean;
}

export function addServeCommand(program: Command, context: Context): void {
  const command = program
    .command('serve')
    .description("Serve a model over HTTP, with OpenAI's API.")
    .argument('<model>', '.duo file, address, Hugging Face folder or .gguf file')
    .option('--host <address>', 'address to listen on; 0.0.0.0: all of this machine', '127.0.0.1')
    .addOption(
      new Option('--port <number>', 'port; 0: a free one').argParser(integer(0, 65535)).default(8080),
    )
    .option('--name <name>', "what the model is called in the API (default: its file's name)")
    .option('--api-key <key>', 'what clients have to send (default: DUOBIT_API_KEY, or nothing)')
    .addOption(
      new Option(
        '--parallel <count>',
        'answers that are written at the same time (default: 8, or what the backend and the memory allow)',
      ).argParser(integer(1)),
    )
    .addOption(
      new Option('--queue <count>', 'requests that may wait for their turn')
        .argParser(integer(0))
        .default(256),
    )
    .addOption(
      new Option(
        '--max-tokens <count>',
        'most tokens of an answer (default: no limit but the context)',
      ).argParser(integer(1)),
    )
    .addOption(
      new Option(
        '--context <tokens>',
        "KV cache positions of each answer; default: the model's context, at most 2048",
      ).argParser(integer(1)),
    )
    .option('--chat-template <file>', "Jinja text, in the place of the model's own")
    .addOption(
      new Option('--body-limit <size>', "most bytes of a request's body")
        .argParser(parseSize)
        .default(2 ** 20, '1MiB'),
    )
    .addOption(
      new Option('--timeout <seconds>', 'most time from a request to the end of its answer')
        .argParser(decimal(0.001, 86_400))
        .default(600),
    )
    .addOption(
      new Option('--grace <seconds>', 'time that answers have to be completed after SIGTERM or Ctrl-C')
        .argParser(decimal(0, 86_400))
        .default(30),
    )
    .option(
      '--cors <origin>',
      'origin whose pages may call this server, or *; may be given several times',
      collect,
    )
    .addOption(
      new Option('--log-level <level>', 'lines of JSON on stderr, one for each request')
        .choices(LOG_LEVELS)
        .default('info'),
    )
    .option('--log-prompts', 'log the text of requests, too', false)
    .action((path: string, options: Options) => runServe(context, path, options));
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    'duobit serve tiny.duo',
    'DUOBIT_API_KEY=secret duobit serve hf:user/name --host 0.0.0.0 --parallel 16',
  );
}

async function runServe(context: Context, path: string, options: Options): Promise<void> {
  const { chatTemplate: file } = options;
  const chatTemplate = file === undefined ? undefined : await readText(file, '--chat-template');
  const session = await openSession(context, path, options, options.context, (backend, source) => ({
    sequences: options.parallel ?? chooseSequences(backend, source.architecture, options.context),
    chatTemplate,
  }));
  try {
    await serve(context, session, options, options.name ?? modelFileName(path).replace(/\.(duo|gguf)$/i, ''));
  } finally {
    await session.close();
  }
}

async function serve(context: Context, { model }: Session, options: Options, name: string): Promise<void> {
  const { host, port, queue, json } = options;
  const apiKey = options.apiKey ?? context.io.env.DUOBIT_API_KEY;
  const { createServer } = await import('@duobit/server');
  const server = createServer(model, {
    name,
    apiKey,
    queue,
    maxTokens: options.maxTokens,
    bodyLimit: options.bodyLimit,
    timeoutSeconds: options.timeout,
    cors: options.cors,
    grammars: createGrammars(),
    log: { level: options.logLevel, stream: context.io.stderr, prompts: options.logPrompts },
  });
  const stopped = new Promise<void>((resolve) => {
    if (context.signal.aborted) resolve();
    context.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const address = await server.listen({ host, port });
  context.endsOnSignal = true;
  const { backendName, threads, sequences, contextLength, kv } = model;
  emit(
    context,
    json,
    {
      address,
      model: name,
      backend: backendName,
      threads,
      kv,
      parallel: sequences,
      queue,
      context: contextLength,
    },
    () =>
      `${name} at ${address}/v1: ${backendName}, ${plural(threads, 'thread')}, ` +
      `${plural(sequences, 'answer')} at a time, context ${contextLength}\n`,
  );
  if (apiKey === undefined && !isLoopback(host))
    note(context, `note: everybody who reaches ${host} may use this server; --api-key asks for a key`);
  if (!model.hasChatTemplate)
    note(
      context,
      'note: the model has no chat template: it answers /v1/completions only (--chat-template gives it one)',
    );
  await stopped;
  await server.close({ graceSeconds: options.grace });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
