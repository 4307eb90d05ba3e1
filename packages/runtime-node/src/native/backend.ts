// The native backend: kernels in C++ chosen for the machine's instruction set, a pool of threads, a whole run in one call.
import { availableParallelism, totalmem } from 'node:os';
import {
  type Backend,
  checkLogitsRow,
  checkPlan,
  checkPrepareOptions,
  checkRun,
  checkSlot,
  checkTokens,
  checkWrite,
  disposed,
  type ExecutionPlan,
  KV_PRECISIONS,
  type KvPrecision,
  listPlanWeights,
  listSymmetricSums,
  mirrorUpper,
  notRun,
  type PrepareOptions,
  type Program,
  type RunRequest,
  readWeights,
  type WeightReader,
} from '@duobit/core';
import { DuobitError, type TensorData } from '@duobit/format';
import { type Addon, loadAddon, type PoolHandle, type ProgramHandle } from './addon.ts';
import { countBytes, flattenPlan } from './compile.ts';
import { addWeight } from './weights.ts';

/** 'neon' runs on 64-bit ARM, 'avx512' (with VNNI) and 'avx2' on x64, 'scalar' everywhere. */
export type InstructionSet = 'avx512' | 'avx2' | 'neon-dotprod' | 'neon' | 'scalar';

/** Sets that the addon has kernels for, the fastest first. */
export const INSTRUCTION_SETS: readonly InstructionSet[] = [
  'avx512',
  'avx2',
  'neon-dotprod',
  'neon',
  'scalar',
];

/** Options of `createNativeBackend`. */
export interface NativeBackendOptions {
  /** Default: as many as the machine runs at once, at most 8. */
  readonly threads?: number | undefined;
  /** Default: DUOBIT_ISA from the environment, else the fastest that the machine has. */
  readonly isa?: InstructionSet | undefined;
  /** Precision of the KV cache; docs/numerics.md has what each costs. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
}

/** The addon and what it can do here, or why it is not there. */
export type NativeSupport =
  | { readonly available: true; readonly path: string; readonly instructionSets: readonly string[] }
  | { readonly available: false; readonly reason: string };

/** Whether the addon is here and what it can do; never throws. */
export function nativeSupport(): NativeSupport {
  const found = loadAddon();
  return found.addon
    ? { available: true, path: found.path, instructionSets: found.addon.instructionSets() }
    : { available: false, reason: found.reason };
}

const MOST_THREADS = 1024;
/** Rows and sequences of a run whose units of attention fit the counters of native/dealer.h. */
const MOST_ROWS = 65_536;
const MOST_SEQUENCES = 1024;

/**
 * The fastest backend for CPUs.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without the addon or the instruction set; `BACKEND_OPTION` for bad options;
 * `BACKEND_OUT_OF_MEMORY` when threads cannot be started.
 */
export async function createNativeBackend(options: NativeBackendOptions = {}): Promise<Backend> {
  const found = loadAddon();
  if (!found.addon)
    throw new DuobitError('BACKEND_UNSUPPORTED', `the native addon cannot be used: ${found.reason}`, {
      where: 'native backend',
      remedy: 'Build it (npx duobit-build-native), or use the wasm backend',
    });
  const { addon } = found;
  const { threads = Math.min(8, availableParallelism()), kv = 'f16' } = options;
  checkThreads(threads);
  if (!KV_PRECISIONS.includes(kv))
    throw badOption('kv', `kv is "${String(kv)}"`, `Use one of: ${KV_PRECISIONS.join(', ')}`);
  const isa = chooseInstructionSet(addon, options.isa ?? process.env.DUOBIT_ISA);
  const pool = inMemory('threads', () => addon.createPool(threads));
  let isDisposed = false;
  return {
    name: 'native',
    threads,
    kv,
    instructionSet: isa,
    maxSequences: MOST_SEQUENCES,
    async prepare(plan, weights, prepareOptions) {
      if (isDisposed) throw disposed('backend');
      return prepareProgram({ addon, pool, isa, kv }, plan, weights, prepareOptions);
    },
    async dispose() {
      if (!isDisposed) addon.disposePool(pool);
      isDisposed = true;
    },
  };
}

/** @throws DuobitError `BACKEND_OPTION` */
export function checkThreads(threads: number): void {
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > MOST_THREADS)
    throw badOption('threads', `threads is ${threads}`, `Give a whole number, 1 to ${MOST_THREADS}`);
}

function badOption(where: string, message: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', message, { where, remedy });
}

/** @throws DuobitError `BACKEND_OPTION`, `BACKEND_UNSUPPORTED` */
export function chooseInstructionSet(addon: Addon, wanted: string | undefined): string {
  const present = addon.instructionSets();
  if (wanted === undefined || wanted === '') return present[0]!;
  if (!INSTRUCTION_SETS.some((name) => name === wanted))
    throw badOption(
      'isa',
      `there is no instruction set "${wanted}"`,
      `Use one of: ${INSTRUCTION_SETS.join(', ')}`,
    );
  if (!present.includes(wanted))
    throw new DuobitError('BACKEND_UNSUPPORTED', `this machine does not run "${wanted}"`, {
      where: 'isa',
      remedy: `Use one of: ${present.join(', ')}`,
    });
  return wanted;
}

function outOfMemory(what: string): DuobitError {
  return new DuobitError('BACKEND_OUT_OF_MEMORY', `no memory for ${what}`, {
    remedy: 'Use a shorter context or a smaller model',
  });
}

/** Runs a call that allocates. @throws DuobitError `BACKEND_OUT_OF_MEMORY` */
export function inMemory<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      (error.code === 'OUT_OF_MEMORY' || error.code === 'THREADS')
    )
      throw outOfMemory(`${what} (${error.message})`);
    throw error;
  }
}

interface Setting {
  readonly addon: Addon;
  readonly pool: PoolHandle;
  readonly isa: string;
  readonly kv: KvPrecision;
}

async function prepareProgram(
  { addon, pool, isa, kv }: Setting,
  plan: ExecutionPlan,
  weights: WeightReader,
  options: PrepareOptions,
): Promise<Program> {
  checkPrepareOptions(options, MOST_SEQUENCES);
  checkMemory(plan, options, kv);
  const handle = addon.createProgram(pool, isa);
  try {
    const facts = new Map<string, TensorData['info']>();
    const ids = new Map<string, number>();
    for await (const [name, data] of readWeights(listPlanWeights(plan), weights)) {
      facts.set(name, data.info);
      const id = inMemory(`tensor ${name}`, () => addWeight(addon, handle, data));
      if (id !== null) ids.set(name, id);
    }
    checkPlan(plan, (name) => facts.get(name)!);
    const flat = flattenPlan(plan, ids, options, kv);
    inMemory('slots and KV cache', () =>
      addon.build(handle, flat.slots, flat.operations, plan.ropeFrequencies, flat.geometry, flat.columns),
    );
    const vocabularies = new Map<string, number>();
    for (const operation of plan.operations)
      if (operation.op === 'embed') {
        const rows = facts.get(operation.weight)!.shape[0]!;
        vocabularies.set(operation.input, Math.min(rows, vocabularies.get(operation.input) ?? rows));
      }
    return new NativeProgram(addon, handle, plan, options, flat.slotIds, vocabularies);
  } catch (error) {
    addon.disposeProgram(handle);
    throw error;
  }
}

/**
 * Refuses what this machine cannot hold, before the operating system would end the process for it.
 * @throws DuobitError `BACKEND_OPTION`, `BACKEND_OUT_OF_MEMORY`
 */
function checkMemory(plan: ExecutionPlan, options: PrepareOptions, kv: KvPrecision): void {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(3)} GiB`;
  const { slots, cache } = countBytes(plan, options, kv);
  const most = totalmem();
  if (options.maxRows > MOST_ROWS)
    throw badOption('maxRows', `a run of ${options.maxRows} rows`, `Run at most ${MOST_ROWS} rows at once`);
  if (slots + cache > most || options.capacity > 2 ** 31 - 1)
    throw outOfMemory(
      `${gib(slots)} of slots for ${options.maxRows} rows and ${gib(cache)} of KV cache for ` +
        `${options.sequences ?? 1} x ${options.capacity} positions; ` +
        `this machine has ${gib(most)}`,
    );
}

class NativeProgram implements Program {
  readonly weightBytes: number;
  readonly #addon: Addon;
  readonly #plan: ExecutionPlan;
  readonly #options: PrepareOptions;
  readonly #slotIds: ReadonlyMap<string, number>;
  /** What token slots hold, to be checked against the size of the vocabulary that each is looked up in. */
  readonly #tokens: ReadonlyMap<string, { readonly values: Int32Array; readonly vocabulary: number }>;
  readonly #logitSlots: ReadonlySet<string>;
  readonly #symmetric: ReadonlyMap<string, number>;
  /** Null once disposed. */
  #handle: ProgramHandle | null;
  /** The latest run; null before the first and after one that failed. */
  #latest: { readonly rows: number; readonly logitRows: number } | null = null;

  constructor(
    addon: Addon,
    handle: ProgramHandle,
    plan: ExecutionPlan,
    options: PrepareOptions,
    slotIds: ReadonlyMap<string, number>,
    vocabularies: ReadonlyMap<string, number>,
  ) {
    this.#addon = addon;
    this.#handle = handle;
    this.#plan = plan;
    this.#options = { ...options };
    this.#slotIds = slotIds;
    this.#tokens = new Map(
      [...vocabularies].map(([slot, vocabulary]) => [
        slot,
        { values: new Int32Array(options.maxRows), vocabulary },
      ]),
    );
    const logits = plan.operations.flatMap((operation) => (operation.op === 'logits' ? [operation.out] : []));
    this.#logitSlots = new Set(logits);
    this.#symmetric = listSymmetricSums(plan);
    this.weightBytes = addon.weightBytes(handle);
  }

  async write(name: string, values: Float32Array | Int32Array): Promise<void> {
    const handle = this.#alive();
    checkWrite(this.#plan, name, values, this.#options);
    if (values instanceof Int32Array) this.#tokens.get(name)?.values.set(values);
    this.#addon.write(handle, this.#slotIds.get(name)!, values);
  }

  async run(request: RunRequest): Promise<void> {
    const handle = this.#alive();
    const { rows, logitRows, parts } = checkRun(request, this.#options);
    this.#latest = null;
    for (const { values, vocabulary } of this.#tokens.values())
      checkTokens(values.subarray(0, rows), vocabulary);
    const numbers = parts.flatMap((part) => [part.sequence, part.position, part.rows, part.logitRows]);
    this.#addon.run(handle, Int32Array.from(numbers));
    this.#latest = { rows, logitRows };
  }

  async read(name: string): Promise<Float32Array> {
    const handle = this.#alive();
    checkSlot(this.#plan, name);
    const slot = this.#slotIds.get(name)!;
    if (this.#plan.slots[name]!.kind === 'stat') {
      const sums = this.#addon.read(handle, slot, 0);
      mirrorUpper(sums, this.#symmetric.get(name) ?? 0);
      return sums;
    }
    if (this.#latest === null) throw notRun(name);
    const { rows, logitRows } = this.#latest;
    return this.#addon.read(handle, slot, this.#logitSlots.has(name) ? logitRows : rows);
  }

  async readBest(name: string, row = 0): Promise<{ index: number; value: number }> {
    const handle = this.#alive();
    const rows = this.#logitSlots.has(name) ? (this.#latest?.logitRows ?? 0) : 0;
    checkLogitsRow(name, row, rows);
    return this.#addon.readBest(handle, this.#slotIds.get(name)!, row);
  }

  async dispose(): Promise<void> {
    if (this.#handle) this.#addon.disposeProgram(this.#handle);
    this.#handle = null;
  }

  #alive(): ProgramHandle {
    if (!this.#handle) throw disposed('program');
    return this.#handle;
  }
}
