// How long a client may take to read the rest of its answer.
import { EventEmitter, once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { LiveRequest } from './live-request.ts';

function open(destroyed = false) {
  const socket = Object.assign(new EventEmitter(), { destroyed });
  const response = Object.assign(new EventEmitter(), { destroy: () => response.emit('close') });
  const live = new LiveRequest(
    { socket } as unknown as IncomingMessage,
    response as unknown as ServerResponse,
    60,
  );
  return { socket, response, live };
}

describe('a request', () => {
  it('is dropped when its client does not read what is left', async () => {
    const { response, live, socket } = open();
    const closed = once(response, 'close');
    live.limitReading(0.01);
    await closed;
    await live.closed;
    expect(live.isGone).toBe(true);
    expect(live.ended).toBe(null);
    expect(socket.listenerCount('close')).toBe(0);
  });

  it('ends with its connection, even when its response was never begun', async () => {
    const { socket, live } = open();
    socket.emit('close');
    await live.closed;
    expect(live.signal.aborted).toBe(true);
  });

  it('has ended when its connection was closed before', async () => {
    const { live } = open(true);
    await live.closed;
    expect(live.isGone).toBe(true);
  });
});
