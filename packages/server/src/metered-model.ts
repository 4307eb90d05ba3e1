// The model as one request sees it: what it writes is counted, and is no longer than this server allows.
import type { ChatModel, FinishReason, GenerateOptions, GenerationEvent, Prompt } from '@duobit/core';
import type { LiveRequest } from './live-request.ts';
import type { Metrics } from './metrics.ts';

export interface MeterOptions {
  /** Of the model, in answers. */
  readonly name: string;
  readonly maxTokens: number;
}

export function meterModel(
  model: ChatModel,
  live: LiveRequest,
  metrics: Metrics,
  { name, maxTokens: most }: MeterOptions,
): ChatModel {
  const { contextLength, sequences, hasGrammars } = model;
  async function* generate(
    prompt: Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<GenerationEvent, void, undefined> {
    live.begun++;
    const bounded = { ...options, maxTokens: Math.min(options.maxTokens ?? contextLength, most) };
    let before = live.arrived;
    let tokens = 0;
    // One that is left has no last event.
    let reason: FinishReason | 'error' = 'aborted';
    try {
      for await (const event of model.generate(prompt, bounded)) {
        if (event.kind === 'token') {
          const now = performance.now();
          const took = (now - before) / 1000;
          before = now;
          metrics.noteToken(took, tokens++ === 0);
          live.noteToken(took);
        } else {
          const { promptTokens, cachedTokens } = event;
          reason = event.reason;
          metrics.notePrompt(promptTokens, cachedTokens);
          live.notePrompt(promptTokens, cachedTokens);
        }
        yield event;
      }
    } catch (error) {
      reason = 'error';
      throw error;
    } finally {
      metrics.noteEnd(reason);
    }
  }
  return { name, contextLength, sequences, hasGrammars, generate };
}
