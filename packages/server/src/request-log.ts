// The line of a request in the log.
import type { FastifyRequest } from 'fastify';
import type { LiveRequest } from './live-request.ts';

/**
 * @param remote address of the client
 * @param took seconds
 */
export function describeRequest(
  request: FastifyRequest,
  remote: string,
  status: number,
  took: number,
  live: LiveRequest | undefined,
  withPrompts: boolean,
): object {
  const { method, url } = request;
  return {
    method,
    path: url.split('?')[0],
    status,
    remote,
    ms: milliseconds(took),
    ...(live && {
      prompt_tokens: live.promptTokens,
      reused_tokens: live.reusedTokens,
      generated_tokens: live.generatedTokens,
      first_token_ms: live.firstTokenSeconds === null ? null : milliseconds(live.firstTokenSeconds),
      // Of a streamed answer the status says nothing about its end.
      ended: live.ended?.code ?? null,
      ...(withPrompts && { body: request.body }),
    }),
  };
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 10_000) / 10;
}
