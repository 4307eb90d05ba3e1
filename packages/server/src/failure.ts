// From anything thrown to what a client of OpenAI's API reads: a status and `{error: {message, type, param, code}}`.
import { DuobitError } from '@duobit/format';

export interface Failure {
  readonly status: number;
  /** Whether and when to ask again, in headers. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: ErrorBody };
}

export interface ErrorBody {
  readonly message: string;
  readonly type: 'invalid_request_error' | 'authentication_error' | 'server_error';
  readonly param: string | null;
  readonly code: string;
}

/** Errors that are the client's, under the names that OpenAI has for them, if it has one. */
const REQUEST_CODES = new Map<string, string>([
  ...[
    ...[
      'CHAT_REQUEST',
      'SAMPLER_OPTION',
      'MODEL_OPTION',
      'PROMPT_EMPTY',
      'PROMPT_TOKEN',
      'GRAMMAR_INVALID',
      'GRAMMAR_STUCK',
    ],
    ...['CHAT_TEMPLATE_FAILED', 'CHAT_TEMPLATE_MISSING', 'TOKENIZER_MISSING'],
  ].map((code): [string, string] => [code, code]),
  ['CONTEXT_TOO_LONG', 'context_length_exceeded'],
]);
/** What may pass by itself, or on another server; and how long to wait for that. */
const PASSING = new Set(['MODEL_BUSY', 'MODEL_DISPOSED', 'SERVER_CLOSING']);
const AGAIN = { 'retry-after': '1' };
/** Clients of OpenAI ask again after any 5xx but with this header. An answer that took too long would only take as long again. */
const NEVER_AGAIN = { 'x-should-retry': 'false' };

export function describeFailure(thrown: unknown): Failure {
  if (thrown instanceof DuobitError) return describeDuobit(thrown);
  const { statusCode, code, message } = readHttpError(thrown);
  // What curl sends where it is told nothing.
  if (statusCode === 415)
    return fail(415, 'invalid_request_error', `${message}. Send JSON, as application/json`, null, code);
  if (statusCode >= 400 && statusCode < 500)
    return fail(statusCode, 'invalid_request_error', message, null, code);
  // Its message is for the log: it may tell of the machine.
  return fail(500, 'server_error', 'the server failed; its log says how', null, 'INTERNAL');
}

function describeDuobit(error: DuobitError): Failure {
  const message = error.remedy === undefined ? error.message : `${error.message}. ${error.remedy}`;
  const param = error.where ?? null;
  const code = REQUEST_CODES.get(error.code);
  if (code !== undefined) return fail(400, 'invalid_request_error', message, param, code);
  if (error.code === 'SERVER_KEY') return fail(401, 'authentication_error', message, null, 'invalid_api_key');
  if (error.code === 'SERVER_NOT_FOUND')
    return fail(
      404,
      'invalid_request_error',
      message,
      param,
      param === 'model' ? 'model_not_found' : error.code,
    );
  if (PASSING.has(error.code)) return fail(503, 'server_error', message, null, error.code, AGAIN);
  if (error.code === 'SERVER_TIMEOUT')
    return fail(503, 'server_error', message, null, error.code, NEVER_AGAIN);
  return fail(500, 'server_error', error.message, null, error.code);
}

function fail(
  status: number,
  type: ErrorBody['type'],
  message: string,
  param: string | null,
  code: string,
  headers: Failure['headers'] = {},
): Failure {
  return { status, headers, body: { error: { message, type, param, code } } };
}

/** Errors of fastify and its plugins have a status and a code. */
function readHttpError(thrown: unknown): { statusCode: number; code: string; message: string } {
  const fields: { statusCode?: unknown; code?: unknown; message?: unknown } =
    typeof thrown === 'object' && thrown !== null ? thrown : {};
  return {
    statusCode: typeof fields.statusCode === 'number' ? fields.statusCode : 500,
    code: typeof fields.code === 'string' ? fields.code : 'bad_request',
    message: String(fields.message),
  };
}
