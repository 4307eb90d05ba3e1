// What is no HTTP request, or takes too long to become one.
import type { Socket } from 'node:net';
import type { ConnectionError } from 'fastify';

const STATUSES = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
]);

/** Answers on a connection that has no request yet, and closes it. */
export function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  if (socket.writable) {
    const status = STATUSES.get(error.code) ?? '400 Bad Request';
    const body = JSON.stringify({
      error: { message: status.slice(4), type: 'invalid_request_error', param: null, code: error.code },
    });
    socket.write(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
  socket.destroySoon();
}
