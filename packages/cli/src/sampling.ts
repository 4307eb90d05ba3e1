// What `run` and `chat` share: options that choose tokens, and what they are for the library.
import type { GenerateOptions } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { createGrammars } from '@duobit/grammar';
import { type Command, Option } from 'commander';
import { readText } from './files.ts';
import { collect, decimal, integer } from './options.ts';

export interface SamplingOptions {
  readonly seed: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly stop?: readonly string[];
  readonly jsonSchema?: string;
}

/** @param temperature, topP defaults */
export function addSamplingOptions(
  command: Command,
  { temperature, topP }: Pick<SamplingOptions, 'temperature' | 'topP'>,
): Command {
  return command
    .addOption(
      new Option('--seed <number>', 'seed of the sampler').argParser(integer(0, 2 ** 32 - 1)).default(0),
    )
    .addOption(
      new Option('--temperature <number>', '0 takes the likeliest token')
        .argParser(decimal(0))
        .default(temperature),
    )
    .addOption(
      new Option('--top-k <count>', 'sample from the k likeliest tokens; 0: all')
        .argParser(integer(0))
        .default(0),
    )
    .addOption(
      new Option('--top-p <number>', 'sample from the likeliest tokens up to this probability; 1: all')
        .argParser(decimal(0, 1))
        .default(topP),
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
    .option('--json-schema <file>', 'hold what is written to JSON that fits this schema');
}

/** @throws DuobitError `TEXT_UNREADABLE`, `GRAMMAR_INVALID` for a schema that is no JSON object. */
export async function toGenerateOptions(options: SamplingOptions): Promise<GenerateOptions> {
  const { seed, temperature, topK, topP, minP, repetitionPenalty, stop = [], jsonSchema } = options;
  return {
    ...{ seed, temperature, topK, topP, minP, repetitionPenalty, stop },
    ...(jsonSchema !== undefined && {
      grammar: { kind: 'json-schema', schema: await readSchema(jsonSchema) },
      grammars: createGrammars(),
    }),
  };
}

async function readSchema(file: string): Promise<Readonly<Record<string, unknown>>> {
  const refuse = (message: string, cause?: unknown): DuobitError =>
    new DuobitError('GRAMMAR_INVALID', message, {
      source: file,
      where: '--json-schema',
      remedy: 'Give a file with a JSON schema, which is a JSON object',
      cause,
    });
  const text = await readText(file, '--json-schema');
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (cause) {
    throw refuse(`the schema is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    throw refuse('the schema is no JSON object');
  return { ...schema };
}
