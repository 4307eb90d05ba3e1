// `duobit run`: a prompt in, streamed text out.
import type { ChatMessage, FinishReason, Timings } from '@duobit/core';
import { type Command, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import {
  addBackendOptions,
  addExamples,
  addJsonOption,
  type BackendOptions,
  collect,
  decimal,
  integer,
} from '../options.ts';
import { checkAborted, type Session, withSession } from '../session.ts';
import { formatRate, plural } from '../text.ts';

interface Options extends BackendOptions {
  readonly prompt: string;
  readonly tokens: number;
  readonly chat: boolean;
  readonly system?: string;
  readonly seed: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly stop?: readonly string[];
  readonly context?: number;
  readonly json: boolean;
}

export function addRunCommand(program: Command, context: Context): void {
  const command = program
    .command('run')
    .description('Generate text with a container, a Hugging Face folder or a GGUF file.')
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .requiredOption('-p, --prompt <text>', 'text to go on from, or the question with --chat')
    .addOption(
      new Option('-n, --tokens <count>', 'most tokens to generate').argParser(integer(1)).default(64),
    )
    .option('--chat', "put the prompt through the model's chat template as a user message", false)
    .option('--system <text>', 'system message, with --chat')
    .addOption(
      new Option('--seed <number>', 'seed of the sampler').argParser(integer(0, 2 ** 32 - 1)).default(0),
    )
    .addOption(
      new Option('--temperature <number>', '0 takes the likeliest token').argParser(decimal(0)).default(0),
    )
    .addOption(
      new Option('--top-k <count>', 'sample from the k likeliest tokens; 0: all')
        .argParser(integer(0))
        .default(0),
    )
    .addOption(
      new Option('--top-p <number>', 'sample from the likeliest tokens up to this probability; 1: all')
        .argParser(decimal(0, 1))
        .default(1),
    )
    .addOption(
      new Option('--min-p <number>', 'drop tokens below this share of the likeliest; 0: none')
        .argParser(decimal(0, 1))
        .default(0),
    )
    .addOption(
      new Option('--repetition-penalty <number>', 'above 1 makes seen tokens less likely')
        .argParser(decimal(0.001, 1000))
        .default(1),
    )
    .option('--stop <text>', 'end before this text; may be given several times', collect)
    .addOption(
      new Option(
        '--context <tokens>',
        "KV cache positions; default: the model's context, at most 2048",
      ).argParser(integer(1)),
    )
    .action((path: string, options: Options) => {
      if (options.system !== undefined && !options.chat) {
        command.error("error: option '--system <text>' needs --chat", { exitCode: 2 });
      }
      return runGenerate(context, path, options);
    });
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    'duobit run tiny.duo -p "Once upon a time" -n 100',
    'duobit run model.gguf --chat -p "What is a bit?" --temperature 0.7 --seed 1',
  );
}

interface Outcome {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly reason: FinishReason;
  readonly promptTokens: number;
  readonly timings: Timings;
}

async function runGenerate(context: Context, path: string, options: Options): Promise<void> {
  await withSession(context, path, options, options.context, async (session) => {
    const outcome = await generateText(context, session, options);
    checkAborted(context.signal);
    const prefill = rate(outcome.timings.prefillTokens, outcome.timings.prefillSeconds);
    const decode = rate(outcome.timings.decodeTokens, outcome.timings.decodeSeconds);
    const { model } = session;
    emit(
      context,
      options.json,
      {
        text: outcome.text,
        tokens: outcome.tokens.length,
        token_ids: outcome.tokens,
        finish_reason: outcome.reason,
        prompt_tokens: outcome.promptTokens,
        prefill_tokens_per_second: prefill,
        decode_tokens_per_second: decode,
        model: model.name,
        backend: model.backendName,
        threads: model.threads,
        activations: session.activations,
        kv: model.kv,
        context: model.contextLength,
        seed: options.seed,
        temperature: options.temperature,
      },
      () => '\n',
    );
    note(
      context,
      `${plural(outcome.tokens.length, 'token')} after ${outcome.promptTokens} of prompt (${outcome.reason}); ` +
        `prefill ${formatRate(prefill)} tokens/s, decode ${formatRate(decode)} tokens/s; ` +
        `${model.backendName}, ${plural(model.threads, 'thread')}, KV cache ${model.kv}`,
    );
  });
}

async function generateText(context: Context, { model }: Session, options: Options): Promise<Outcome> {
  const prompt = options.chat ? chatMessages(options) : options.prompt;
  const tokens: number[] = [];
  let text = '';
  const take = (piece: string): void => {
    text += piece;
    if (!options.json && piece !== '') context.io.stdout.write(piece);
  };
  const events = model.generate(prompt, {
    maxTokens: options.tokens,
    seed: options.seed,
    temperature: options.temperature,
    topK: options.topK,
    topP: options.topP,
    minP: options.minP,
    repetitionPenalty: options.repetitionPenalty,
    stop: options.stop ?? [],
    signal: context.signal,
  });
  for await (const event of events) {
    take(event.text);
    if (event.kind === 'token') {
      tokens.push(event.token);
    } else {
      return {
        text,
        tokens,
        reason: event.reason,
        promptTokens: event.promptTokens,
        timings: event.timings,
      };
    }
  }
  throw new Error('generation ended without a finish event');
}

function chatMessages(options: Options): readonly ChatMessage[] {
  const user: ChatMessage = { role: 'user', content: options.prompt };
  return options.system === undefined ? [user] : [{ role: 'system', content: options.system }, user];
}

/** Units a second; 0 when nothing was done. */
function rate(count: number, seconds: number): number {
  return count > 0 && seconds > 0 ? count / seconds : 0;
}
