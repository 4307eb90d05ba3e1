// A model ready to run: its plan prepared on a backend, with tokenizer and generation on top.
import {
  type ActivationQuantizer,
  type Architecture,
  DuobitError,
  type ModelSource,
  type SpecialTokens,
} from '@duobit/format';
import type { Backend, KvPrecision, Program } from './backend.ts';
import { buildPlan, listPlanWeights } from './build-plan.ts';
import type { ChatMessage } from './chat-template.ts';
import {
  checkGenerateOptions,
  type GenerateOptions,
  type GenerationEvent,
  generateTokens,
} from './generation.ts';
import { readOutlierColumns, splitOutliers, tensorOf } from './outliers.ts';
import type { ExecutionPlan } from './plan.ts';
import { acceptBest } from './sampler.ts';
import { SLOTS } from './slots.ts';
import { createTokenizer, missingTokenizer, type Tokenizer } from './tokenizer.ts';

export interface ModelOptions {
  /** KV cache positions. Default: the model's context length, at most 2048. */
  readonly contextLength?: number | undefined;
  /** 'a4' (default): quantized activations where the model has quantizers; 'f16': none. See `PlanOptions`. */
  readonly activations?: 'a4' | 'f16' | undefined;
  /** Replaces the quantizers of the model's linear weights. See `PlanOptions`. */
  readonly quantizers?: ((weight: string) => ActivationQuantizer | null) | undefined;
  /** Tokens run at once in a prompt. Default 64. */
  readonly maxRows?: number | undefined;
  /**
   * false leaves the model's tokenizer out, which for a vocabulary of 50,000 takes some 80 MB: prompts are then token
   * ids. Default true.
   */
  readonly tokenizer?: boolean | undefined;
  /** Ends loading with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each tensor. */
  readonly onLoad?: ((loaded: number, total: number) => void) | undefined;
}

export interface ForwardOptions {
  /** KV cache position of the first token; earlier positions must have been run. Default 0. */
  readonly position?: number | undefined;
  /** Which tokens' logits to return. Default 'last'. */
  readonly logits?: 'none' | 'last' | 'all' | undefined;
}

/** A text, a conversation (goes through the chat template), or token ids as they are. */
export type Prompt = string | readonly ChatMessage[] | { readonly tokens: readonly number[] };

/**
 * A loaded model. It does one thing at a time: `generate` or `forward` while another runs throws `MODEL_BUSY`. An
 * iteration over `generate` counts as running until it has ended or was left (`break` in `for await` leaves it).
 */
export interface Model {
  readonly name: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  readonly contextLength: number;
  readonly backendName: string;
  /** What the backend's kernels were chosen for, where it chooses: 'avx2', 'dot+subgroups'. */
  readonly instructionSet: string | null;
  readonly threads: number;
  /** What the KV cache is kept in. */
  readonly kv: KvPrecision;
  /** Packed weight bytes on the device. */
  readonly weightBytes: number;
  readonly plan: ExecutionPlan;
  /** Whether prompts can be texts. */
  readonly hasTokenizer: boolean;
  /** Whether prompts can be conversations. */
  readonly hasChatTemplate: boolean;
  /** @throws DuobitError `TOKENIZER_MISSING` when the model carries none, or was loaded without. */
  readonly tokenizer: Tokenizer;
  /**
   * Generates after a prompt, from an empty cache. Errors surface on the first step of the iteration, those about
   * options at once.
   * @throws DuobitError `MODEL_OPTION`, `SAMPLER_OPTION`, `SAMPLER_LOGITS_INVALID`, `PROMPT_EMPTY`, `CONTEXT_TOO_LONG`,
   * `TOKENIZER_MISSING`, `CHAT_TEMPLATE_MISSING`, `CHAT_TEMPLATE_FAILED`, `MODEL_BUSY`, `MODEL_DISPOSED`
   */
  generate(prompt: Prompt, options?: GenerateOptions): AsyncIterable<GenerationEvent>;
  /**
   * Runs tokens and returns their logits: [tokens, vocabulary] for 'all', [1, vocabulary] for 'last', none for 'none'.
   * @throws DuobitError `CONTEXT_TOO_LONG`, `PROMPT_EMPTY`, `MODEL_BUSY`, `MODEL_DISPOSED`, `RUN_INVALID`
   */
  forward(tokens: ArrayLike<number>, options?: ForwardOptions): Promise<Float32Array>;
  /** Frees what the model holds on the backend. Backend and source belong to the caller. */
  dispose(): Promise<void>;
}

const DEFAULT_CONTEXT = 2048;
const DEFAULT_ROWS = 64;

/**
 * Loads a model onto a backend, one tensor at a time.
 * @throws DuobitError `MODEL_OPTION`, `ABORTED`, `TOKENIZER_INVALID`, `OUTLIER_INDEX`; what `buildPlan`, the source and the backend throw.
 */
export async function createModel(
  source: ModelSource,
  backend: Backend,
  options: ModelOptions = {},
): Promise<Model> {
  const { signal, onLoad, activations, quantizers } = options;
  const longest = source.architecture.contextLength;
  const capacity = options.contextLength ?? Math.min(longest, DEFAULT_CONTEXT);
  checkCount('contextLength', capacity, longest);
  const maxRows = Math.min(options.maxRows ?? DEFAULT_ROWS, capacity);
  checkCount('maxRows', maxRows, capacity);

  const outliers = await readOutlierColumns(source);
  const plan = buildPlan(source, { activations, quantizers, outliers, refinements: backend.refinements });
  const hasTokenizer = options.tokenizer !== false && (await source.readAsset('tokenizer')) !== null;
  const tokenizer = hasTokenizer ? await createTokenizer(source) : null;
  const total = new Set(listPlanWeights(plan).map(tensorOf)).size;
  // By name, as a backend that lost its device reads them again.
  const loaded = new Set<string>();
  const program = await backend.prepare(
    plan,
    splitOutliers(async (name) => {
      if (signal?.aborted)
        throw new DuobitError('ABORTED', `loading was stopped after ${loaded.size} of ${total} tensors`, {
          source: source.name,
          remedy: 'Load the model again',
        });
      const data = await source.readTensor(name);
      if (!loaded.has(name)) onLoad?.(loaded.add(name).size, total);
      return data;
    }),
    { capacity, maxRows },
  );
  return new LoadedModel(source, backend, program, plan, tokenizer, capacity, maxRows);
}

function checkCount(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new DuobitError(
      'MODEL_OPTION',
      `${name} is ${value}; it must be a whole number from 1 to ${most}`,
      {
        where: name,
        remedy: 'Choose a value the model allows',
      },
    );
}

const readLogits = (program: Program): Promise<Float32Array> => program.read(SLOTS.logits);

/** @throws DuobitError `SAMPLER_LOGITS_INVALID` */
const readBest = async (program: Program): Promise<number> =>
  acceptBest(await program.readBest!(SLOTS.logits));

class LoadedModel implements Model {
  readonly name: string;
  readonly architecture: Architecture;
  readonly specialTokens: SpecialTokens;
  readonly contextLength: number;
  readonly backendName: string;
  readonly instructionSet: string | null;
  readonly threads: number;
  readonly kv: KvPrecision;
  readonly weightBytes: number;
  readonly plan: ExecutionPlan;
  readonly #program: Program;
  readonly #tokenizer: Tokenizer | null;
  readonly #maxRows: number;
  #busy: 'generate' | 'forward' | null = null;
  #disposed = false;
  #yielded = 0;

  constructor(
    source: ModelSource,
    backend: Backend,
    program: Program,
    plan: ExecutionPlan,
    tokenizer: Tokenizer | null,
    contextLength: number,
    maxRows: number,
  ) {
    this.name = source.name;
    this.architecture = source.architecture;
    this.specialTokens = source.specialTokens;
    this.contextLength = contextLength;
    this.backendName = backend.name;
    this.instructionSet = backend.instructionSet ?? null;
    this.threads = backend.threads;
    this.kv = backend.kv;
    this.weightBytes = program.weightBytes;
    this.plan = plan;
    this.#program = program;
    this.#tokenizer = tokenizer;
    this.#maxRows = maxRows;
  }

  get hasTokenizer(): boolean {
    return this.#tokenizer !== null;
  }

  get hasChatTemplate(): boolean {
    return this.#tokenizer?.hasChatTemplate ?? false;
  }

  get tokenizer(): Tokenizer {
    if (this.#tokenizer === null) throw missingTokenizer(this.name);
    return this.#tokenizer;
  }

  generate(prompt: Prompt, options: GenerateOptions = {}): AsyncIterable<GenerationEvent> {
    checkGenerateOptions(options, this.hasTokenizer);
    return this.#generate(prompt, options);
  }

  async *#generate(
    prompt: Prompt,
    options: GenerateOptions,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    this.#acquire('generate');
    try {
      const tokens = this.#encode(prompt);
      yield* generateTokens(
        {
          step: (tokens, position, signal) => this.#step(tokens, position, signal, readLogits),
          stepBest: this.#program.readBest
            ? (tokens, position, signal) => this.#step(tokens, position, signal, readBest)
            : null,
          stepTop: this.#program.readTop
            ? (count) => (tokens, position, signal) =>
                this.#step(tokens, position, signal, (program) => program.readTop!(SLOTS.logits, count))
            : null,
          vocabularySize: this.architecture.vocabularySize,
          contextLength: this.contextLength,
          specialTokens: this.specialTokens,
          // An answer begins a text of its own; what continues a text goes on in it.
          stream: this.#tokenizer?.createStreamDecoder({}, typeof prompt === 'string' ? tokens : []) ?? null,
        },
        tokens,
        options,
      );
    } finally {
      this.#busy = null;
    }
  }

  async forward(tokens: ArrayLike<number>, options: ForwardOptions = {}): Promise<Float32Array> {
    const { position = 0, logits = 'last' } = options;
    this.#acquire('forward');
    try {
      if (tokens.length === 0)
        throw new DuobitError('PROMPT_EMPTY', 'forward was given no tokens', { remedy: 'Give at least one' });
      if (!Number.isInteger(position) || position < 0 || position + tokens.length > this.contextLength)
        throw new DuobitError(
          'CONTEXT_TOO_LONG',
          `${tokens.length} tokens from position ${position} do not fit the context of ${this.contextLength}`,
          {
            source: this.name,
            where: 'tokens',
            remedy: 'Run fewer tokens, or load with a larger context length',
          },
        );
      const count = logits === 'all' ? tokens.length : logits === 'last' ? 1 : 0;
      const length = count * this.architecture.vocabularySize;
      let out: Float32Array | null = null;
      let filled = 0;
      for await (const chunk of this.#runChunks(tokens, position, logits, undefined, readLogits)) {
        // The usual case, a token's logits, is not copied once more.
        if (chunk.length === length) return chunk;
        out ??= new Float32Array(length);
        out.set(chunk, filled);
        filled += chunk.length;
      }
      return out ?? new Float32Array(0);
    } finally {
      this.#busy = null;
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#program.dispose();
  }

  #encode(prompt: Prompt): readonly number[] {
    if (typeof prompt === 'string') return this.tokenizer.encode(prompt);
    if ('tokens' in prompt) return prompt.tokens;
    // The template writes BOS itself where the model wants one.
    return this.tokenizer.encode(this.tokenizer.applyChatTemplate(prompt), { bos: false });
  }

  async #step<T>(
    tokens: readonly number[],
    position: number,
    signal: AbortSignal | undefined,
    read: (program: Program) => Promise<T>,
  ): Promise<T | null> {
    let last: T | null = null;
    for await (const found of this.#runChunks(tokens, position, 'last', signal, read)) last = found;
    return last;
  }

  /** Runs tokens in chunks of at most `maxRows`, yielding what is read of the logits each gives; yields none once aborted. */
  async *#runChunks<T>(
    tokens: ArrayLike<number>,
    position: number,
    logits: 'none' | 'last' | 'all',
    signal: AbortSignal | undefined,
    read: (program: Program) => Promise<T>,
  ): AsyncGenerator<T, void, undefined> {
    for (let start = 0; start < tokens.length; start += this.#maxRows) {
      await this.#letOthersRun();
      if (signal?.aborted) return;
      if (this.#disposed) throw this.#disposedError();
      const rows = Math.min(this.#maxRows, tokens.length - start);
      const ids = Int32Array.from({ length: rows }, (_, i) => tokens[start + i]!);
      const isEnd = start + rows === tokens.length;
      const wanted = logits === 'last' && !isEnd ? 'none' : logits;
      await this.#program.write(SLOTS.tokens, ids);
      await this.#program.run({ rows, position: position + start, logits: wanted });
      if (wanted !== 'none') yield await read(this.#program);
    }
  }

  /**
   * A CPU backend never leaves the microtask queue, so timers, input and an abort would wait for the whole text; this
   * lets them in, at most every few milliseconds.
   */
  async #letOthersRun(): Promise<void> {
    const now = performance.now();
    if (now - this.#yielded < 10) return;
    await new Promise<void>((resolve) => {
      // Where it exists, it costs a third of a message.
      if (typeof setImmediate === 'function') {
        setImmediate(resolve);
        return;
      }
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(null);
    });
    this.#yielded = performance.now();
  }

  #acquire(what: 'generate' | 'forward'): void {
    if (this.#disposed) throw this.#disposedError();
    if (this.#busy !== null)
      throw new DuobitError('MODEL_BUSY', `${what} was called while ${this.#busy} is running`, {
        source: this.name,
        remedy: 'Wait for it to end (or leave its loop), or load the model a second time',
      });
    this.#busy = what;
  }

  #disposedError(): DuobitError {
    return new DuobitError('MODEL_DISPOSED', 'the model was used after dispose()', {
      source: this.name,
      remedy: 'Load it again',
    });
  }
}
