// The routes that answer: a request goes to the API of @duobit/core as it came, the answer back as JSON or as events.
import { DuobitError } from '@duobit/format';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { endEvents, writeEvents } from './event-stream.ts';
import { describeFailure } from './failure.ts';
import type { LiveRequest } from './live-request.ts';

/** Of a request's body an answer, or an iteration over its pieces. */
export type Answer = (body: never, options: { readonly signal: AbortSignal }) => Promise<object>;

export interface AnswerLimits {
  readonly maxTokens: number;
  readonly readSeconds: number;
}

/** @throws DuobitError what `answer` throws before there is anything to send; `SERVER_CLOSING`, `SERVER_TIMEOUT` */
export async function sendAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  live: LiveRequest,
  answer: Answer,
  limits: AnswerLimits,
): Promise<unknown> {
  const { signal } = live;
  checkTokens(request.body, limits.maxTokens);
  try {
    // Core checks all of it.
    const answered = await answer(request.body as never, { signal });
    if (!isIterable(answered)) {
      live.limitReading(limits.readSeconds);
      return answered;
    }
    return await streamAnswer(request, reply, live, answered, limits.readSeconds);
  } catch (error) {
    throw live.ended ?? error;
  }
}

async function streamAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  live: LiveRequest,
  pieces: AsyncIterable<unknown>,
  readSeconds: number,
): Promise<unknown> {
  const iterator = pieces[Symbol.asyncIterator]();
  try {
    // What goes wrong before there is a first piece has a status of its own.
    const first = await iterator.next();
    if (first.done || live.ended) throw new DuobitError('ABORTED', 'the answer was stopped before it began');
    reply.hijack();
    const isRead = await writePieces(request, reply, live, startWith(first.value, iterator));
    if (isRead) live.limitReading(readSeconds);
    return reply;
  } finally {
    // Gives the model's turn back, however far this came.
    await iterator.return?.();
  }
}

/** @returns whether there is a client who reads */
async function writePieces(
  { log }: FastifyRequest,
  reply: FastifyReply,
  live: LiveRequest,
  pieces: AsyncIterable<unknown>,
): Promise<boolean> {
  const response = reply.raw;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) response.setHeader(name, value);
  // The last one keeps nginx from holding pieces back.
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  });
  try {
    if (!(await writeEvents(response, pieces))) return false;
    endEvents(response, live.ended ? describeFailure(live.ended).body : undefined);
  } catch (error) {
    log.error(error);
    endEvents(response, describeFailure(error).body);
  }
  return true;
}

async function* startWith(
  first: unknown,
  rest: AsyncIterator<unknown>,
): AsyncGenerator<unknown, void, undefined> {
  yield first;
  yield* { [Symbol.asyncIterator]: () => rest };
}

/** A limit that the request does not name is kept to in silence. */
function checkTokens(body: unknown, most: number): void {
  if (typeof body !== 'object' || body === null) return;
  for (const [name, value] of Object.entries(body))
    if (
      (name === 'max_completion_tokens' || name === 'max_tokens') &&
      typeof value === 'number' &&
      value > most
    )
      throw new DuobitError(
        'CHAT_REQUEST',
        `${name} is ${value}; this server writes at most ${most} tokens`,
        {
          where: name,
          remedy: 'Ask for fewer, or leave it out',
        },
      );
}

function isIterable(value: object): value is AsyncIterable<unknown> {
  return Symbol.asyncIterator in value;
}
