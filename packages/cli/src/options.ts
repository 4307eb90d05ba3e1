// Options that several commands share, and the parsers that turn an option's text into a checked number.
import { KV_PRECISIONS, type KvPrecision } from '@duobit/core';
import { BACKEND_NAMES, type BackendName } from '@duobit/runtime-node';
import { type Command, InvalidArgumentError, Option } from 'commander';

/** Parser for whole numbers from `minimum` to `maximum`; anything else is a usage error. */
export function integer(minimum: number, maximum = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < minimum || value > maximum) {
      const range = maximum === Number.MAX_SAFE_INTEGER ? `${minimum} or more` : `${minimum} to ${maximum}`;
      throw new InvalidArgumentError(`Give a whole number, ${range}.`);
    }
    return value;
  };
}

/** Parser for finite numbers from `minimum` to `maximum`. */
export function decimal(minimum: number, maximum = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isFinite(value) || value < minimum || value > maximum) {
      const range = maximum === Number.POSITIVE_INFINITY ? `${minimum} or more` : `${minimum} to ${maximum}`;
      throw new InvalidArgumentError(`Give a number, ${range}.`);
    }
    return value;
  };
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** Parser for sizes: `5GB`, `500 MB`, `2GiB`, or bytes. */
export function parseSize(text: string): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = unit === undefined ? undefined : UNITS[unit.toLowerCase()];
  const bytes = digits === undefined || factor === undefined ? Number.NaN : Number(digits) * factor;
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new InvalidArgumentError(
      'Give a whole number of bytes, or a number with kB, MB, GB, KiB, MiB or GiB.',
    );
  }
  return bytes;
}

/** Parser for options that may be given several times. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

export interface BackendOptions {
  readonly backend: BackendName;
  /** Undefined: the backend's own choice. */
  readonly threads: number | undefined;
  /** Undefined: as the model says. */
  readonly activations: 'a4' | 'f16' | undefined;
  /** Undefined: the backend's own choice. */
  readonly kv: KvPrecision | undefined;
}

/** `--backend`, `--threads`, `--activations` and `--kv` of the commands that run a model. */
export function addBackendOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--backend <name>',
        'cuda: NVIDIA GPU; native: C++ kernels, threads; wasm: WebAssembly; tfjs: TensorFlow.js, right but slow; reference: slow, double precision; auto: cuda, or else native, or else wasm',
      )
        .choices(BACKEND_NAMES)
        .default('auto'),
    )
    .addOption(
      new Option(
        '--threads <count>',
        'threads asked of the backend (default: native and wasm take one a core, at most 8)',
      ).argParser(integer(1, 1024)),
    )
    .addOption(
      new Option(
        '--activations <kind>',
        "inputs of linear layers: a4 (4-bit codes, by the model's quantizers, or by plain ones where a checkpoint has none) or " +
          'f16 (not quantized, for measuring the weights alone) (default: a4 for a .duo file, f16 for a checkpoint)',
      ).choices(['a4', 'f16']),
    )
    .addOption(
      new Option(
        '--kv <precision>',
        'KV cache of the cuda and native backends; the others keep f32 (default: f16)',
      ).choices(KV_PRECISIONS),
    );
}

/** `--json`, which every command has. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON object on stdout; everything else goes to stderr', false);
}

export function addExamples(command: Command, ...lines: readonly string[]): Command {
  const title = lines.length === 1 ? 'Example:' : 'Examples:';
  return command.addHelpText('after', `\n${title}\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`);
}
