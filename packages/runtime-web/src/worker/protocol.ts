// What a page and a worker say to each other about a model. A `LoadMessage` goes to the worker itself and carries a port; all else
// about that model goes through the port, so models of one worker do not meet, nor other messages of the page.
import type { GenerateOptions, GenerationEvent, Prompt } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type { LoadProgress } from '../cache/chunk-download.ts';
import type { LoadOptions } from '../load-model.ts';
import type { WorkerModel } from '../web-model.ts';

/** Options of `loadModel` that can be copied into a worker. */
export type CopiedOptions = Omit<
  LoadOptions,
  'backend' | 'cache' | 'gpu' | 'quantizers' | 'grammars' | 'signal' | 'onProgress' | 'onNotice'
> & {
  readonly backend?: 'auto' | 'webgpu' | 'wasm' | undefined;
  readonly cache?: 'opfs' | 'none' | undefined;
};

/** As of `loadModel`, but for what cannot go into a worker: open backends and caches, functions other than these two. */
export type WorkerLoadOptions = CopiedOptions & Pick<LoadOptions, 'signal' | 'onProgress' | 'onNotice'>;

export interface LoadMessage {
  readonly duobit: 'load';
  /** An absolute URL, or a file. */
  readonly from: string | Blob;
  readonly options: CopiedOptions;
}

export type ModelFacts = Omit<WorkerModel, 'generate' | 'dispose' | 'chat'> & {
  /** Whether the worker makes constraints of grammars. */
  readonly hasGrammars: boolean;
};

/** From the page. */
export type Call =
  | { readonly kind: 'stop loading' }
  | {
      readonly kind: 'generate';
      /** Chosen by the page; names this generation in all that follows. */
      readonly stream: number;
      readonly prompt: Prompt;
      readonly options: Omit<GenerateOptions, 'signal' | 'grammars'>;
      /** Aborted before it began. */
      readonly isAborted: boolean;
    }
  /** The page has taken so many events since it last said so. */
  | { readonly kind: 'taken'; readonly stream: number; readonly count: number }
  /** Generation is to end with reason 'aborted'. */
  | { readonly kind: 'abort'; readonly stream: number }
  /** The page wants no more events. */
  | { readonly kind: 'leave'; readonly stream: number }
  | { readonly kind: 'dispose' };

/** From the worker. */
export type Answer =
  /** The script runs; as long as it does, it holds this Web Lock, where there are such. */
  | { readonly kind: 'alive'; readonly lock: string | null }
  | { readonly kind: 'progress'; readonly progress: LoadProgress }
  | { readonly kind: 'notice'; readonly line: string }
  | { readonly kind: 'loaded'; readonly facts: ModelFacts }
  /** The last of a model that could not be loaded. */
  | { readonly kind: 'not loaded'; readonly error: ErrorForm }
  | { readonly kind: 'event'; readonly stream: number; readonly event: GenerationEvent }
  /** The last of a generation: the model is free. */
  | { readonly kind: 'end'; readonly stream: number; readonly error: ErrorForm | null }
  /** The last of a model. */
  | { readonly kind: 'disposed'; readonly error: ErrorForm | null };

/** Events that a worker sends ahead of what the page has taken; then it waits. */
export const MOST_AHEAD = 32;

/** An error as plain fields: a copy of an error keeps neither its class nor what is not in Error. */
export interface ErrorForm {
  readonly name: string;
  readonly message: string;
  /** Null for what is no `DuobitError`. */
  readonly code: string | null;
  readonly source?: string | undefined;
  readonly where?: string | undefined;
  readonly remedy?: string | undefined;
  readonly stack?: string | undefined;
  readonly cause?: ErrorForm | undefined;
}

export function toErrorForm(error: unknown): ErrorForm {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), code: null };
  const { name, message, stack, cause } = error;
  const form = { name, message, stack, ...(cause !== undefined && { cause: toErrorForm(cause) }) };
  if (!(error instanceof DuobitError)) return { ...form, code: null };
  const { code, source, where, remedy } = error;
  return { ...form, code, source, where, remedy };
}

export function fromErrorForm(form: ErrorForm): Error {
  const { name, message, code, source, where, remedy, stack } = form;
  const cause = form.cause && fromErrorForm(form.cause);
  const error =
    code === null
      ? Object.assign(new Error(message, cause && { cause }), { name })
      : new DuobitError(code, message, { source, where, remedy, cause });
  if (stack !== undefined) error.stack = stack;
  return error;
}

export function disposedError(source?: string): DuobitError {
  return new DuobitError('MODEL_DISPOSED', 'the model was used after dispose()', {
    source,
    remedy: 'Load it again',
  });
}
