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
import { type ChatMessage, checkChatTemplate, type TemplateTool } from './chat-template.ts';
import { adviseShorter, checkGenerateOptions, checkPrompt, checkPromptKind } from './generate-options.ts';
import { type GenerateOptions, type GenerationEvent, generateTokens } from './generation.ts';
import { checkSignal, isObject, optionInvalid, showValue } from './option-checks.ts';
import { readOutlierColumns, splitOutliers, tensorOf } from './outliers.ts';
import type { DistantLogits } from './partial-sampler.ts';
import type { ExecutionPlan } from './plan.ts';
import { type LogitsSearch, Scheduler, type Sequence } from './scheduler.ts';
import { SLOTS } from './slots.ts';
import type { GrammarVocabulary, TokenConstraint } from './token-constraint.ts';
import type { StepReader } from './token-step.ts';
import { createTokenizer, type EncodeOptions, missingTokenizer, type Tokenizer } from './tokenizer.ts';

/** Options of `createModel`. */
export interface ModelOptions {
  /** KV cache positions, of each sequence. Default: the model's context length, at most 2048. */
  readonly contextLength?: number | undefined;
  /** 'a4' (default): quantized activations where the model has quantizers; 'f16': none. See `PlanOptions`. */
  readonly activations?: 'a4' | 'f16' | undefined;
  /** Replaces the quantizers of the model's linear weights. See `PlanOptions`. */
  readonly quantizers?: ((weight: string) => ActivationQuantizer | null) | undefined;
  /** Tokens run at once, of a prompt or of several sequences together. Default 64. */
  readonly maxRows?: number | undefined;
  /** How many calls of `generate` may run at the same time, each with a KV cache of its own. Default 1. */
  readonly sequences?: number | undefined;
  /** How many more may wait until one of them has ended. Default 0. */
  readonly queue?: number | undefined;
  /**
   * Whether a prompt that begins like what a free KV cache holds is only run from there on. Which cache that is, and so how many rows
   * are run together, shows in the last bits of logits on backends that docs/numerics.md "Rows beside each other" names. Default: where
   * there are several sequences.
   */
  readonly reusePrefix?: boolean | undefined;
  /**
   * false leaves the model's tokenizer out, which for a vocabulary of 50,000 takes some 80 MB: prompts are then token
   * ids. Default true.
   */
  readonly tokenizer?: boolean | undefined;
  /** Jinja text of a chat template, in the place of the model's own or where it has none. */
  readonly chatTemplate?: string | undefined;
  /** Ends loading with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each tensor. */
  readonly onLoad?: ((loaded: number, total: number) => void) | undefined;
}

/** Options of `Model.forward`. */
export interface ForwardOptions {
  /** KV cache position of the first token; earlier positions must have been run. Default 0. */
  readonly position?: number | undefined;
  /** Which tokens' logits to return. Default 'last'. */
  readonly logits?: 'none' | 'last' | 'all' | undefined;
}

/** A text, a conversation (goes through the chat template), maybe with tools, or token ids as they are. */
export type Prompt =
  | string
  | readonly ChatMessage[]
  | { readonly messages: readonly ChatMessage[]; readonly tools?: readonly TemplateTool[] | undefined }
  | { readonly tokens: readonly number[] };

/**
 * A loaded model. It does so many things at a time as it was loaded with `sequences`: one more `generate`, and `forward` beside
 * anything, throws `MODEL_BUSY`. An iteration over `generate` counts as running until it has ended, was aborted or was left (`break` in
 * `for await` leaves it).
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
  /** Calls of `generate` that run at the same time. */
  readonly sequences: number;
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
   * Generates after a prompt, as from an empty cache. What runs beside it shows in nothing but time, and on some backends in the last
   * bits of logits (docs/numerics.md "Rows beside each other"). An error of one does not disturb the others; but when a run fails
   * on the device, all end with that error. Errors surface on the first step of the iteration, those about options at once.
   * @throws DuobitError `MODEL_OPTION`, `SAMPLER_OPTION`, `SAMPLER_LOGITS_INVALID`, `PROMPT_EMPTY`, `PROMPT_TOKEN`, `CONTEXT_TOO_LONG`,
   * `GRAMMAR_INVALID`, `GRAMMAR_STUCK`, `TOKENIZER_MISSING`, `CHAT_TEMPLATE_MISSING`, `CHAT_TEMPLATE_FAILED`, `MODEL_BUSY`, `MODEL_DISPOSED`
   */
  generate(prompt: Prompt, options?: GenerateOptions): AsyncIterable<GenerationEvent>;
  /**
   * Runs tokens and returns their logits: [tokens, vocabulary] for 'all', [1, vocabulary] for 'last', none for 'none'. Has the model to
   * itself.
   * @throws DuobitError `MODEL_OPTION`, `CONTEXT_TOO_LONG`, `PROMPT_EMPTY`, `MODEL_BUSY`, `MODEL_DISPOSED`, `RUN_INVALID` for what is no token
   */
  forward(tokens: ArrayLike<number>, options?: ForwardOptions): Promise<Float32Array>;
  /** Frees what the model holds on the backend. Backend and source belong to the caller. */
  dispose(): Promise<void>;
}

const ACTIVATIONS: readonly ModelOptions['activations'][] = ['a4', 'f16'];
const DEFAULT_CONTEXT = 2048;
const DEFAULT_ROWS = 64;
const LOGITS: readonly NonNullable<ForwardOptions['logits']>[] = ['none', 'last', 'all'];

/**
 * Loads a model onto a backend, one tensor at a time.
 * @throws DuobitError `MODEL_OPTION`, `ABORTED`, `TOKENIZER_INVALID`, `OUTLIER_INDEX`; `CHAT_TEMPLATE_INVALID` for a chat template among the
 * options, while a model's own is parsed when it is used; what `buildPlan`, the source and the backend throw.
 */
export async function createModel(
  source: ModelSource,
  backend: Backend,
  options: ModelOptions = {},
): Promise<Model> {
  const { signal, onLoad, activations, quantizers, chatTemplate } = options;
  checkSignal(signal);
  if (activations !== undefined && !ACTIVATIONS.includes(activations))
    throw optionInvalid(
      'activations',
      `activations is ${showValue(activations)}; there are '${ACTIVATIONS.join("' and '")}'`,
      'Choose one of these, or leave it out',
    );
  if (chatTemplate !== undefined) checkChatTemplate(chatTemplate, source.name);
  const longest = source.architecture.contextLength;
  const capacity = options.contextLength ?? Math.min(longest, DEFAULT_CONTEXT);
  checkCount('contextLength', capacity, 1, longest);
  const { sequences = 1, queue = 0, reusePrefix = sequences > 1 } = options;
  checkCount('sequences', sequences, 1, Number.POSITIVE_INFINITY);
  checkCount('queue', queue, 0, Number.POSITIVE_INFINITY);
  const { maxSequences = 1 } = backend;
  if (sequences > maxSequences)
    throw optionInvalid(
      'sequences',
      `${sequences} sequences were asked for; the ${backend.name} backend has ${maxSequences}`,
      'Load with fewer sequences, or on another backend',
    );
  const maxRows = Math.min(options.maxRows ?? DEFAULT_ROWS, sequences * capacity);
  checkCount('maxRows', maxRows, 1, sequences * capacity);

  const outliers = await readOutlierColumns(source);
  const plan = buildPlan(source, { activations, quantizers, outliers, refinements: backend.refinements });
  const hasTokenizer = options.tokenizer !== false && (await source.readAsset('tokenizer')) !== null;
  const tokenizer = hasTokenizer ? await createTokenizer(source, options) : null;
  const total = new Set(listPlanWeights(plan).map(tensorOf)).size;
  // By name, as a backend that lost its device reads them again.
  const loaded = new Set<string>();
  const program = await backend.prepare(
    plan,
    splitOutliers(async (name, allocate) => {
      if (signal?.aborted)
        throw new DuobitError('ABORTED', `loading was stopped after ${loaded.size} of ${total} tensors`, {
          source: source.name,
          remedy: 'Load the model again',
        });
      const data = await source.readTensor(name, allocate);
      if (!loaded.has(name)) onLoad?.(loaded.add(name).size, total);
      return data;
    }),
    { capacity, maxRows, sequences },
  );
  const { vocabularySize } = source.architecture;
  const scheduling = { name: source.name, vocabularySize, maxRows, sequences, queue, reusePrefix };
  const scheduler = new Scheduler(program, scheduling);
  return new LoadedModel(source, backend, program, plan, tokenizer, capacity, scheduler, sequences);
}

function checkCount(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const range = most === Number.POSITIVE_INFINITY ? `${least} or more` : `from ${least} to ${most}`;
  throw optionInvalid(
    name,
    `${name} is ${showValue(value)}; it must be a whole number ${range}`,
    'Choose a value the model allows',
  );
}

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
  readonly sequences: number;
  readonly #program: Program;
  readonly #tokenizer: Tokenizer | null;
  readonly #scheduler: Scheduler;
  #vocabulary: GrammarVocabulary | null = null;
  #disposed = false;

  constructor(
    source: ModelSource,
    backend: Backend,
    program: Program,
    plan: ExecutionPlan,
    tokenizer: Tokenizer | null,
    contextLength: number,
    scheduler: Scheduler,
    sequences: number,
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
    this.#scheduler = scheduler;
    this.sequences = sequences;
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
    checkGenerateOptions(options, this);
    return this.#generate(prompt, options);
  }

  async *#generate(
    prompt: Prompt,
    options: GenerateOptions,
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    const tokens = this.#encode(prompt);
    checkPrompt(tokens, this.contextLength, this.architecture);
    const constraint = await this.#constrain(options);
    let sequence: Sequence | null = null;
    try {
      sequence = await this.#scheduler.open(tokens, options.signal);
      yield* generateTokens(
        {
          ...readSteps(this.#program, sequence, this.architecture.vocabularySize),
          cached: sequence?.cached ?? 0,
          contextLength: this.contextLength,
          specialTokens: this.specialTokens,
          // An answer begins a text of its own; what continues a text goes on in it.
          stream: this.#tokenizer?.createStreamDecoder({}, typeof prompt === 'string' ? tokens : []) ?? null,
          bytesOf: (token) => this.#tokenizer?.tokenBytes(token) ?? new Uint8Array(0),
          constraint,
        },
        tokens,
        options,
      );
    } finally {
      sequence?.close();
      constraint?.dispose();
    }
  }

  async forward(tokens: ArrayLike<number>, options: ForwardOptions = {}): Promise<Float32Array> {
    const { position = 0, logits = 'last' } = options;
    if (!LOGITS.includes(logits))
      throw optionInvalid(
        'logits',
        `logits is ${showValue(logits)}; there are '${LOGITS.join("', '")}'`,
        'Choose one of these, or leave it out',
      );
    if (!isObject(tokens) || !Number.isInteger(tokens.length))
      throw optionInvalid('tokens', `forward was given ${showValue(tokens)}`, 'Give a list of token ids');
    const sequence = this.#scheduler.openAlone();
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
            remedy: adviseShorter('the text', this.contextLength, this.architecture.contextLength),
          },
        );
      return (await sequence.run<Float32Array>({ tokens, position, logits }))!;
    } finally {
      sequence.close();
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#scheduler.dispose();
    await this.#program.dispose();
  }

  async #constrain({ grammar, grammars }: GenerateOptions): Promise<TokenConstraint | null> {
    if (!grammar || !grammars) return null;
    const { tokenizer } = this;
    this.#vocabulary ??= {
      size: this.architecture.vocabularySize,
      eos: this.specialTokens.eos,
      bytesOf: (token) => (tokenizer.isSilent(token) ? null : tokenizer.tokenBytes(token)),
    };
    return grammars.createConstraint(grammar, this.#vocabulary);
  }

  #encode(prompt: Prompt): readonly number[] {
    checkPromptKind(prompt);
    if (typeof prompt === 'string') return this.#encodeText(prompt);
    if ('tokens' in prompt) return prompt.tokens;
    const { messages, tools } = 'messages' in prompt ? prompt : { messages: prompt, tools: undefined };
    // The template writes BOS itself where the model wants one.
    return this.#encodeText(this.tokenizer.applyChatTemplate(messages, { tools }), { bos: false });
  }

  #encodeText(text: string, options?: EncodeOptions): readonly number[] {
    const { tokenizer, contextLength, architecture } = this;
    // Tokenizing holds up everything else, for seconds where a text has a million characters.
    const most = contextLength * tokenizer.longestToken;
    if (text.length > most)
      throw new DuobitError(
        'CONTEXT_TOO_LONG',
        `the prompt has ${text.length} characters; no ${contextLength} tokens, which the context holds, have more than ${most}`,
        { where: 'prompt', remedy: adviseShorter('the prompt', contextLength, architecture.contextLength) },
      );
    return tokenizer.encode(text, options);
  }
}

/** Steps of a text; one that was aborted before it began has no sequence. */
function readSteps(program: Program, sequence: Sequence | null, vocabularySize: number): StepReader {
  const run = <T>(
    tokens: readonly number[],
    position: number,
    search?: LogitsSearch<T>,
  ): Promise<T | null> =>
    sequence ? sequence.run({ tokens, position, logits: 'last', search }) : Promise.resolve(null);
  const { logits } = SLOTS;
  const distant = (row: number): DistantLogits => ({
    vocabularySize,
    best: () => program.readBest!(logits, row),
    top: (count) => program.readTop!(logits, count, row),
    sums: (temperature) => program.readSums!(logits, temperature, row),
    part: (first, count) => program.readPart!(logits, first, count, row),
    all: async () =>
      program.readPart
        ? program.readPart(logits, 0, vocabularySize, row)
        : (await program.read(logits)).subarray(row * vocabularySize, (row + 1) * vocabularySize),
  });
  return {
    step: (tokens, position) => run<Float32Array>(tokens, position),
    search:
      program.readBest && program.readTop
        ? (find) => (tokens, position) => run(tokens, position, (row) => find(distant(row)))
        : null,
    hasSums: program.readSums !== undefined,
    vocabularySize,
  };
}
