// Log-probabilities of tokens in the shape of OpenAI's API.
import type { TokenLogprob, TokenLogprobs } from '../generation.ts';
import type { ChatTokenLogprob, ChatTopLogprob } from './types.ts';

/** The least number that JSON takes for what cannot come: OpenAI's API gives it, too. */
const LEAST = -9999;

export function writeLogprobs(logprobs: TokenLogprobs): ChatTokenLogprob {
  return { ...writeLogprob(logprobs), top_logprobs: logprobs.top.map(writeLogprob) };
}

function writeLogprob({ bytes, logprob }: TokenLogprob): ChatTopLogprob {
  return {
    token: new TextDecoder().decode(bytes),
    bytes: Array.from(bytes),
    logprob: Math.max(logprob, LEAST),
  };
}
