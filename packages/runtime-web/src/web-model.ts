// What `loadModel` gives, and the part of it that `loadModelInWorker` gives as well.
import type { ChatCompletions, Model } from '@duobit/core';

/** A model wherever it runs, on this thread or in a worker. */
export interface WorkerModel
  extends Pick<
    Model,
    | 'name'
    | 'architecture'
    | 'specialTokens'
    | 'contextLength'
    | 'backendName'
    | 'instructionSet'
    | 'threads'
    | 'kv'
    | 'weightBytes'
    | 'hasTokenizer'
    | 'hasChatTemplate'
    | 'generate'
    | 'dispose'
  > {
  /** Chat completions as in OpenAI's API; see `createChatCompletions`. */
  readonly chat: ChatCompletions;
}

export interface WebModel extends Model, WorkerModel {}
