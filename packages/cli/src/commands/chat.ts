// `duobit chat`: a conversation at the terminal, or one message a line from a pipe.
import type { GenerateOptions } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Command, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { Conversation, type Exchange } from '../conversation.ts';
import { describeFailure } from '../failure.ts';
import { readText } from '../files.ts';
import { createMessageReader } from '../message-reader.ts';
import { modelFileName } from '../models.ts';
import { addBackendOptions, addExamples, addJsonOption, type BackendOptions, integer } from '../options.ts';
import { addSamplingOptions, type SamplingOptions, toGenerateOptions } from '../sampling.ts';
import { checkAborted, describeRuntime, describeSpeeds, type Session, withSession } from '../session.ts';
import { plural } from '../text.ts';

interface Options extends BackendOptions, SamplingOptions {
  readonly system?: string;
  readonly tokens?: number;
  readonly context?: number;
  readonly chatTemplate?: string;
  readonly json: boolean;
}

const HELP = `/clear  forget what was said
/help   print this
/exit   end, as Ctrl-D does
A line that ends in \\ goes on in the next. Ctrl-C stops an answer, or ends.`;

export function addChatCommand(program: Command, context: Context): void {
  const command = program
    .command('chat')
    .description('Talk with a model that has a chat template, at the terminal or through a pipe.')
    .argument('<model>', '.duo file, address, Hugging Face folder or .gguf file')
    .option('--system <text>', 'system message')
    .addOption(
      new Option(
        '-n, --tokens <count>',
        'most tokens of an answer (default: no limit but the context)',
      ).argParser(integer(1)),
    )
    .addOption(
      new Option(
        '--context <tokens>',
        "KV cache positions; default: the model's context, at most 2048",
      ).argParser(integer(1)),
    )
    .option('--chat-template <file>', "Jinja text, in the place of the model's own");
  // Greedy answers of small models fall into loops.
  addSamplingOptions(command, { temperature: 0.7, topP: 0.95 });
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    'duobit chat model.duo --system "Answer in one sentence."',
    'duobit chat model.duo --json < questions.txt',
  );
  command.action((path: string, options: Options) => runChat(context, path, options));
}

async function runChat(context: Context, path: string, options: Options): Promise<void> {
  const { chatTemplate: file, system } = options;
  const chatTemplate = file === undefined ? undefined : await readText(file, '--chat-template');
  const generate = await toGenerateOptions(options);
  await withSession(
    context,
    path,
    options,
    options.context,
    async (session) => {
      const { model } = session;
      if (!model.hasChatTemplate)
        throw new DuobitError('CHAT_TEMPLATE_MISSING', 'the model has no chat template', {
          source: modelFileName(path),
          where: 'chat template',
          remedy: 'Give it one with --chat-template, or use duobit run',
        });
      const maxTokens = options.tokens ?? model.contextLength;
      const exchanges = await converse(context, session, options.json, system, { ...generate, maxTokens });
      checkAborted(context.signal);
      if (options.json) emit(context, true, describeChat(session, options, exchanges), () => '');
    },
    () => ({ chatTemplate, reusePrefix: true }),
  );
}

/** Reads and answers until there is nothing more to read. */
async function converse(
  context: Context,
  { model }: Session,
  quiet: boolean,
  system: string | undefined,
  options: GenerateOptions & { readonly maxTokens: number },
): Promise<readonly Exchange[]> {
  const { io } = context;
  const terminal = io.stdin.isTTY === true;
  const conversation = new Conversation(model, system, options);
  const exchanges: Exchange[] = [];
  let answering: AbortController | null = null;
  const reader = createMessageReader(io, context.signal, () => {
    if (answering === null) reader.close();
    else answering.abort();
  });
  const { name, backendName, threads, contextLength } = model;
  if (terminal)
    note(
      context,
      `${name}: ${backendName}, ${plural(threads, 'thread')}, context ${contextLength}; /help tells more`,
    );
  const show = (text: string): void => {
    if (!quiet) io.stdout.write(text);
  };
  const tellForgotten = (count: number): void =>
    note(
      context,
      `note: the context of ${plural(contextLength, 'token')} is full; ${plural(count, 'exchange')} forgotten`,
    );
  try {
    while (!context.signal.aborted) {
      const message = await reader.read();
      const word = message?.trim();
      if (word === undefined || word === '/exit') break;
      if (word === '') continue;
      if (/^\/\w*$/.test(word)) {
        obey(context, conversation, word);
        continue;
      }
      answering = new AbortController();
      const signal = AbortSignal.any([context.signal, answering.signal]);
      try {
        const exchange = await conversation.ask(message!, signal, show, tellForgotten);
        show('\n');
        exchanges.push(exchange);
        if (exchange.reason === 'context') note(context, 'note: the answer ended where the context did');
      } catch (error) {
        // Who types can say it in another way; a script cannot.
        const failure = terminal && !context.signal.aborted ? describeFailure(error, false) : null;
        if (failure === null) throw error;
        note(context, `error ${failure.line}`);
      } finally {
        answering = null;
      }
    }
    return exchanges;
  } finally {
    reader.close();
  }
}

/** A word that begins with `/` is for the command, not the model. */
function obey(context: Context, conversation: Conversation, word: string): void {
  if (word === '/clear') {
    conversation.clear();
    return;
  }
  if (word !== '/help') note(context, `note: there is no command ${word}`);
  note(context, HELP);
}

function describeChat(session: Session, options: Options, exchanges: readonly Exchange[]): object {
  return {
    exchanges: exchanges.map(({ user, assistant, reason, tokens, promptTokens, cachedTokens, timings }) => ({
      user,
      assistant,
      finish_reason: reason,
      tokens,
      prompt_tokens: promptTokens,
      cached_tokens: cachedTokens,
      ...describeSpeeds(timings),
    })),
    ...describeRuntime(session),
    seed: options.seed,
    temperature: options.temperature,
  };
}
