// A connection on which a test writes what no client would.
import { connect, type Socket } from 'node:net';

export interface RawConnection {
  readonly socket: Socket;
  readonly received: () => string;
  /** What came until the other end closed it, even with a reset. */
  readonly closed: Promise<string>;
}

export function openRaw(port: number): RawConnection {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (piece) => {
    text += piece.toString('latin1');
  });
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(text)));
  return { socket, received: () => text, closed };
}

/** Of a POST to chat completions; the body is the caller's. */
export const rawHead = (...lines: readonly string[]): string =>
  `${['POST /v1/chat/completions HTTP/1.1', 'Host: x', 'Content-Type: application/json', ...lines].join('\r\n')}\r\n\r\n`;
