// Opens whatever a command was pointed at - container, Hugging Face folder or GGUF - as a model on a backend.
import { type Backend, createModel, type Model, type ModelOptions, type Timings } from '@duobit/core';
import { DuobitError, type ModelSource, openContainer } from '@duobit/format';
import { openCheckpoint } from '@duobit/quantizer';
import { createBackend } from '@duobit/runtime-node';
import { type Context, note } from './context.ts';
import { countWeightBytes, detectModelKind, type ModelKind } from './files.ts';
import { openModelFile } from './models.ts';
import type { BackendOptions } from './options.ts';
import { createProgress } from './progress.ts';
import { plural } from './text.ts';

export interface Session {
  readonly kind: ModelKind;
  readonly source: ModelSource;
  readonly model: Model;
  /** What the inputs of linear layers are. */
  readonly activations: 'a4' | 'f16';
  /** What the backend's kernels were chosen for; null where it does not choose. */
  readonly instructionSet: string | null;
  /** Bytes of the model's files: a container with its data files, or all weights of a checkpoint. */
  readonly bytes: number;
  /** SHA-256 that identifies the model: of a container its header, of a checkpoint its weights. */
  hash(): Promise<{ readonly of: 'header' | 'weights'; readonly sha256: string }>;
  close(): Promise<void>;
}

export interface OpenedSource {
  readonly kind: ModelKind;
  readonly source: ModelSource;
  readonly bytes: number;
  readonly hash: Session['hash'];
}

/** Opens a model without preparing it for a backend. The caller closes `source`. */
export async function openSource(context: Context, path: string): Promise<OpenedSource> {
  if ((await detectModelKind(path)) === 'checkpoint') {
    const source = await openCheckpoint(path);
    return {
      kind: 'checkpoint',
      source,
      bytes: await countWeightBytes(path),
      hash: async () => ({ of: 'weights', sha256: await source.weightsSha256(context.signal) }),
    };
  }
  const file = await openModelFile(context, path);
  try {
    const source = await openContainer(file);
    const { fileLength, dataFiles } = source.manifest;
    return {
      kind: 'container',
      source,
      bytes: dataFiles.reduce((sum, { length }) => sum + length, fileLength),
      hash: async () => ({ of: 'header', sha256: source.manifest.headerSha256 }),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What `--activations a4` gives the inputs of a checkpoint, which has no quantizers of its own. */
const PLAIN_QUANTIZER = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } as const;

/** Further options of a model, by the backend that it is for. */
export type ChooseModelOptions = (
  backend: Backend,
  source: ModelSource,
) => Pick<ModelOptions, 'sequences' | 'chatTemplate' | 'reusePrefix'>;

/** `contextLength`: KV cache positions; absent takes the model's own, up to what core allows by default. */
export async function openSession(
  context: Context,
  path: string,
  options: BackendOptions,
  contextLength?: number,
  choose: ChooseModelOptions = () => ({}),
): Promise<Session> {
  const { kind, source, bytes, hash } = await openSource(context, path);
  const activations = options.activations ?? (kind === 'container' ? 'a4' : 'f16');
  const closers = [() => source.close()];
  const progress = createProgress(context.io, { lines: { load: 0 } });
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const backend = await createBackend(options.backend, {
      threads: options.threads,
      kv: options.kv,
      onNotice: (line) => note(context, line),
    });
    closers.push(() => backend.dispose());
    const model = await createModel(source, backend, {
      activations,
      ...(kind === 'checkpoint' ? { quantizers: () => PLAIN_QUANTIZER } : {}),
      signal: context.signal,
      onLoad: (loaded, total) => progress.update('load', loaded, total),
      ...(contextLength === undefined ? {} : { contextLength }),
      ...choose(backend, source),
    });
    closers.push(() => model.dispose());
    progress.stop();
    if (options.threads !== undefined && model.threads < options.threads) {
      note(
        context,
        `note: asked for ${plural(options.threads, 'thread')}; the ${model.backendName} backend runs ${plural(model.threads, 'thread')}`,
      );
    }
    if (options.kv !== undefined && model.kv !== options.kv)
      note(
        context,
        `note: asked for a KV cache of ${options.kv}; the ${model.backendName} backend keeps ${model.kv}`,
      );
    const instructionSet = backend.instructionSet ?? null;
    return { kind, source, model, activations, instructionSet, bytes, hash, close };
  } catch (error) {
    progress.stop();
    await close();
    throw error;
  }
}

/** Runs `work` on an opened model and closes everything, whatever happens. */
export async function withSession<T>(
  context: Context,
  path: string,
  options: BackendOptions,
  contextLength: number | undefined,
  work: (session: Session) => Promise<T>,
  choose?: ChooseModelOptions,
): Promise<T> {
  const session = await openSession(context, path, options, contextLength, choose);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

/** Fields of JSON results: what ran. */
export function describeRuntime({ model, activations }: Session): object {
  const { name, backendName, threads, kv, contextLength } = model;
  return { model: name, backend: backendName, threads, activations, kv, context: contextLength };
}

/** Fields of JSON results: tokens a second, 0 when none was run. */
export function describeSpeeds({ prefillTokens, prefillSeconds, decodeTokens, decodeSeconds }: Timings): {
  readonly prefill_tokens_per_second: number;
  readonly decode_tokens_per_second: number;
} {
  const rate = (count: number, seconds: number): number => (count > 0 && seconds > 0 ? count / seconds : 0);
  return {
    prefill_tokens_per_second: rate(prefillTokens, prefillSeconds),
    decode_tokens_per_second: rate(decodeTokens, decodeSeconds),
  };
}

/** @throws DuobitError `ABORTED` when the user has asked to stop. */
export function checkAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new DuobitError('ABORTED', 'stopped by the user');
}
