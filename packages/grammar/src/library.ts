// XGrammar compiled to WebAssembly, as `@mlc-ai/web-xgrammar` has it: https://github.com/mlc-ai/xgrammar.
import { DuobitError } from '@duobit/format';

type Library = typeof import('@mlc-ai/web-xgrammar');

/** Failures of the library leave something on its stack, which has room for some twenty. */
const MOST_FAILURES = 8;

let loading: Promise<Library> | null = null;
let failures = 0;
/** What the library complained of since it was called last. */
let complaints: string[] = [];

/** Loads it with the first call; it is a megabyte. */
export function loadLibrary(): Promise<Library> {
  loading ??= load();
  return loading;
}

/**
 * Calls it. What it does not take ends in an abort of its module, whose reason it writes to the console and nowhere else.
 * @throws DuobitError `INTERNAL`: schemas that it does not take are refused before
 */
export async function callLibrary<T>(act: () => Promise<T>): Promise<T> {
  if (failures >= MOST_FAILURES)
    throw new DuobitError(
      'INTERNAL',
      `the grammar library failed ${failures} times and is not used any more`,
      {
        where: 'grammar',
        remedy: 'Start the program again',
      },
    );
  complaints = [];
  try {
    return await act();
  } catch (cause) {
    failures++;
    const reason = complaints.find((line) => line.includes('FATAL')) ?? String(cause);
    throw new DuobitError('INTERNAL', `the grammar library failed: ${reason.replace(/^.*?\.cc:\d+: /, '')}`, {
      where: 'grammar',
      remedy: 'Simplify the schema, and report it',
      cause,
    });
  }
}

async function load(): Promise<Library> {
  const scope = globalThis as { location?: unknown; xgrammar?: Library };
  // Its file is a script of an older kind that asks in Node for what modules do not have, unless there is a location.
  const isLocated = scope.location !== undefined;
  if (!isLocated) scope.location = { href: import.meta.url };
  const { error } = console;
  let isLoading = true;
  try {
    const module = (await import('@mlc-ai/web-xgrammar')) as Partial<Library>;
    // Bundlers give it as a module; Node and browsers have what it leaves behind.
    const library = module.TokenizerInfo ? (module as Library) : scope.xgrammar!;
    // It takes the console as it finds it with the first call; what others write meanwhile is not its own.
    console.error = (...words: unknown[]) => {
      if (isLoading) error.apply(console, words);
      else complaints.push(words.join(' '));
    };
    (await library.Grammar.builtinJSONGrammar()).dispose();
    return library;
  } finally {
    console.error = error;
    isLoading = false;
    if (!isLocated) delete scope.location;
    delete scope.xgrammar;
  }
}
