// What both servers of the local hub share: requests are recorded and counted, and fail when a test says so.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface HubRequest {
  readonly host: 'hub' | 'storage';
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly authorization: string | null;
  readonly range: string | null;
  /** Bytes of bodies. */
  received: number;
  sent: number;
}

/** What happens to a request instead of an answer; null: nothing. */
export type HubFault =
  | { readonly reset: true }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly error?: string }
  /** The answer's body ends with a reset after so many bytes, or the request's after so many were taken. */
  | { readonly cutAfter: number }
  | null;

export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: HubRequest;
  readonly url: URL;
  /** Without a slash first. */
  readonly path: string;
  readonly #fault: HubFault;
  readonly #bytesPerSecond: number | null;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    record: HubRequest,
    fault: HubFault,
    bytesPerSecond: number | null,
  ) {
    this.request = request;
    this.response = response;
    this.record = record;
    this.url = new URL(record.path, 'http://local');
    this.path = decodeURI(this.url.pathname.slice(1));
    this.#fault = fault;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** @returns null when the connection was cut before all came */
  async body(): Promise<Uint8Array | null> {
    const pieces: Buffer[] = [];
    const most = this.#cutAfter();
    try {
      for await (const piece of this.request) {
        pieces.push(piece as Buffer);
        this.record.received += (piece as Buffer).length;
        if (this.#bytesPerSecond !== null) await sleep((1000 * piece.length) / this.#bytesPerSecond);
        if (this.record.received > most) {
          this.request.destroy();
          return null;
        }
      }
    } catch {
      return null;
    }
    return Buffer.concat(pieces);
  }

  json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): void {
    this.response
      .writeHead(status, { 'Content-Type': 'application/json', ...headers })
      .end(JSON.stringify(value));
  }

  fail(status: number, error: string, code?: string): void {
    this.json({ error }, status, { 'X-Error-Message': error, ...(code && { 'X-Error-Code': code }) });
  }

  /** Answers with bytes, or the range of them that was asked for. */
  async send(bytes: Uint8Array, headers: Readonly<Record<string, string>>): Promise<void> {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(this.record.range ?? '') ?? [];
    const start = Number(first ?? 0);
    const end = Math.min(last ? Number(last) : Number.POSITIVE_INFINITY, bytes.length - 1);
    const part = bytes.subarray(start, end + 1);
    this.response.writeHead(first === undefined ? 200 : 206, {
      ...headers,
      'Accept-Ranges': 'bytes',
      'Content-Length': part.length,
      ...(first !== undefined && { 'Content-Range': `bytes ${start}-${end}/${bytes.length}` }),
    });
    const most = this.#cutAfter();
    for (let at = 0; at < part.length && !this.response.destroyed; ) {
      const piece = part.subarray(at, at + Math.min(16 << 10, most - at));
      if (piece.length === 0) {
        this.response.destroy();
        return;
      }
      if (!this.response.write(piece)) await this.#drained();
      at += piece.length;
      this.record.sent += piece.length;
      if (this.#bytesPerSecond !== null) await sleep((1000 * piece.length) / this.#bytesPerSecond);
    }
    this.response.end();
  }

  #drained(): Promise<void> {
    const { response } = this;
    return new Promise((resolve) => {
      const done = (): void => {
        response.off('drain', done).off('close', done);
        resolve();
      };
      response.on('drain', done).on('close', done);
    });
  }

  #cutAfter(): number {
    return this.#fault && 'cutAfter' in this.#fault ? this.#fault.cutAfter : Number.POSITIVE_INFINITY;
  }
}
