// Everything the page shows, as one plain object.
import type { FinishReason, Timings } from '@duobit/core';
import type { LoadProgress, WorkerModel } from '@duobit/runtime-web';
import type { ModelCard } from './card.ts';
import type { Settings } from './settings.ts';
import type { ModelPlace } from './start.ts';
import type { Failure } from './text.ts';

export const PANELS = ['chat', 'model', 'sampling', 'bits', 'storage'] as const;
export type Panel = (typeof PANELS)[number];

export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly text: string;
  /** Of an answer that has ended. */
  readonly outcome?: Outcome;
}

export interface Outcome {
  readonly reason: FinishReason | 'failed';
  readonly tokens: number;
  readonly seed: number;
  readonly timings: Timings | null;
}

export interface Loading {
  readonly progress: LoadProgress | null;
  /** `performance.now()` of its begin. */
  readonly since: number;
}

/** What an answer under way has come to, for the instruments. */
export interface Speed {
  /** Tokens a second, null before anything was measured. */
  readonly prefill: number | null;
  readonly decode: number | null;
}

export interface Notice {
  readonly line: string;
  /** Put away by the reader; the panel about the run still has it. */
  readonly dismissed: boolean;
}

export interface State {
  /** Of the model that is there or being loaded; null when there is neither. */
  readonly card: ModelCard | null;
  /** What was last asked for. */
  readonly asked: ModelPlace | null;
  readonly loading: Loading | null;
  readonly model: WorkerModel | null;
  /** The latest failure to load or to answer, until something else is done. */
  readonly failure: (Failure & { readonly during: 'load' | 'answer' }) | null;
  readonly turns: readonly Turn[];
  readonly answering: boolean;
  readonly speed: Speed;
  /** What was said while this model was loaded and used. */
  readonly notices: readonly Notice[];
  readonly settings: Settings;
  readonly prompts: readonly string[];
  readonly panel: Panel;
}
