// `duobit run`: a prompt in, streamed text out.
import { addAbortSignal } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import type { ChatMessage, FinishReason, GenerateOptions, Prompt, Timings } from '@duobit/core';
import { type Command, Option } from 'commander';
import { type Context, emit, note } from '../context.ts';
import { addBackendOptions, addExamples, addJsonOption, type BackendOptions, integer } from '../options.ts';
import { addSamplingOptions, type SamplingOptions, toGenerateOptions } from '../sampling.ts';
import { checkAborted, describeRuntime, describeSpeeds, type Session, withSession } from '../session.ts';
import { formatRate, plural } from '../text.ts';

interface Options extends BackendOptions, SamplingOptions {
  readonly prompt?: string;
  readonly tokens: number;
  readonly chat: boolean;
  readonly system?: string;
  readonly context?: number;
  readonly json: boolean;
}

export function addRunCommand(program: Command, context: Context): void {
  const command = program
    .command('run')
    .description('Generate text with a container, a Hugging Face folder or a GGUF file.')
    .argument('<model>', '.duo file, Hugging Face folder or .gguf file')
    .option(
      '-p, --prompt <text>',
      'text to go on from, or the question with --chat (default: what is piped to it)',
    )
    .addOption(
      new Option('-n, --tokens <count>', 'most tokens to generate').argParser(integer(1)).default(64),
    )
    .option('--chat', "put the prompt through the model's chat template as a user message", false)
    .option('--system <text>', 'system message, with --chat')
    .addOption(
      new Option(
        '--context <tokens>',
        "KV cache positions; default: the model's context, at most 2048",
      ).argParser(integer(1)),
    );
  addSamplingOptions(command, { temperature: 0, topP: 1 });
  addBackendOptions(command);
  addJsonOption(command);
  addExamples(
    command,
    'duobit run tiny.duo -p "Once upon a time" -n 100',
    'duobit run model.gguf --chat -p "What is a bit?" --temperature 0.7 --seed 1',
    'duobit run tiny.duo < prompt.txt',
  );
  command.action(async (path: string, options: Options) => {
    const refuse = (message: string): never => command.error(`error: ${message}`, { exitCode: 2 });
    if (options.system !== undefined && !options.chat) refuse("option '--system <text>' needs --chat");
    const { stdin } = context.io;
    if (options.prompt === undefined && stdin.isTTY)
      refuse(
        "a prompt is missing: give '-p, --prompt <text>', or pipe one (duobit chat is for conversations)",
      );
    const prompt = options.prompt ?? (await readPrompt(context));
    if (options.prompt === undefined && prompt === '')
      refuse("the prompt that was piped is empty; give '-p, --prompt <text>'");
    await runGenerate(context, path, prompt, options);
  });
}

interface Outcome {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly reason: FinishReason;
  readonly promptTokens: number;
  readonly timings: Timings;
}

async function runGenerate(context: Context, path: string, prompt: string, options: Options): Promise<void> {
  const generate = { ...(await toGenerateOptions(options)), maxTokens: options.tokens };
  const { chat, system } = options;
  await withSession(context, path, options, options.context, async (session) => {
    const whole = chat ? chatMessages(prompt, system) : prompt;
    const outcome = await generateText(context, session, whole, generate, options.json);
    checkAborted(context.signal);
    const speeds = describeSpeeds(outcome.timings);
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
        ...speeds,
        ...describeRuntime(session),
        seed: options.seed,
        temperature: options.temperature,
      },
      () => '\n',
    );
    note(
      context,
      `${plural(outcome.tokens.length, 'token')} after ${outcome.promptTokens} of prompt (${outcome.reason}); ` +
        `prefill ${formatRate(speeds.prefill_tokens_per_second)} tokens/s, decode ${formatRate(speeds.decode_tokens_per_second)} tokens/s; ` +
        `${model.backendName}, ${plural(model.threads, 'thread')}, KV cache ${model.kv}`,
    );
  });
}

async function generateText(
  context: Context,
  { model }: Session,
  prompt: Prompt,
  options: GenerateOptions,
  quiet: boolean,
): Promise<Outcome> {
  const tokens: number[] = [];
  let text = '';
  for await (const event of model.generate(prompt, { ...options, signal: context.signal })) {
    text += event.text;
    if (!quiet && event.text !== '') context.io.stdout.write(event.text);
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

function chatMessages(prompt: string, system: string | undefined): readonly ChatMessage[] {
  const user: ChatMessage = { role: 'user', content: prompt };
  return system === undefined ? [user] : [{ role: 'system', content: system }, user];
}

/** What is piped, without the line's end that `echo` and editors add. */
async function readPrompt({ io, signal }: Context): Promise<string> {
  return (await readAll(addAbortSignal(signal, io.stdin))).replace(/\r?\n$/, '');
}
