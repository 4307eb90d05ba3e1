// A request for an answer from its arrival until its connection is through with it: what can end it early, and what it came to.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DuobitError } from '@duobit/format';

/** Reason of an abort for which nobody is there any more. */
const GONE = Symbol('the client has left');

export class LiveRequest {
  readonly #controller = new AbortController();
  readonly #response: ServerResponse;
  /** Resolves when nothing more will be sent. */
  readonly closed: Promise<void>;
  readonly arrived = performance.now();
  /** Answers of this request whose turn has come. */
  begun = 0;
  promptTokens = 0;
  reusedTokens = 0;
  generatedTokens = 0;
  firstTokenSeconds: number | null = null;
  #readTimer: NodeJS.Timeout | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, timeoutSeconds: number) {
    this.#response = response;
    const { socket } = request;
    const timer = setTimeout(() => this.end(timedOut(timeoutSeconds)), timeoutSeconds * 1000);
    this.closed = new Promise((resolve) => {
      const close = (): void => {
        clearTimeout(timer);
        clearTimeout(this.#readTimer);
        socket.off('close', close);
        // Without effect where the answer has ended.
        this.#controller.abort(GONE);
        resolve();
      };
      response.once('close', close);
      // A response that waits behind another one on its connection is not told.
      socket.once('close', close);
      if (socket.destroyed) close();
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isGone(): boolean {
    return this.signal.reason === GONE;
  }

  /** @param took seconds since the last one, or since the request came */
  noteToken(took: number): void {
    this.generatedTokens++;
    this.firstTokenSeconds ??= took;
  }

  notePrompt(tokens: number, reused: number): void {
    this.promptTokens += tokens;
    this.reusedTokens += reused;
  }

  /** Ends the answer before it is complete. */
  end(reason: DuobitError): void {
    this.#controller.abort(reason);
  }

  /** Why the answer was ended early; null where it was not, or nobody is there to be told. */
  get ended(): DuobitError | null {
    const reason: unknown = this.signal.reason;
    return reason instanceof DuobitError ? reason : null;
  }

  /** The answer is complete: the client has so long to read what is left of it. */
  limitReading(seconds: number): void {
    this.#readTimer = setTimeout(() => this.#response.destroy(), seconds * 1000);
    // The connection keeps the process alive, not this.
    this.#readTimer.unref();
  }
}

function timedOut(seconds: number): DuobitError {
  return new DuobitError('SERVER_TIMEOUT', `the answer was not complete after ${seconds} seconds`, {
    remedy: 'Ask for fewer tokens, or again when the server has less to do',
  });
}
