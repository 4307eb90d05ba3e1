// An answer as server-sent events, the way OpenAI's API streams: `data: {…}`, and `data: [DONE]` at the end.
import type { ServerResponse } from 'node:http';

/** Bytes that may wait for a client that does not read. The model never waits for one: its turn would be lost to others. */
const MOST_UNREAD = 256 * 1024;

/**
 * Writes events until the iteration ends.
 * @returns false when the client has left, or was dropped because it does not read
 * @throws what the iteration throws
 */
export async function writeEvents(
  response: ServerResponse,
  events: AsyncIterable<unknown>,
): Promise<boolean> {
  for await (const event of events) {
    if (response.destroyed) return false;
    response.write(frame(JSON.stringify(event)));
    if (response.writableLength <= MOST_UNREAD) continue;
    response.destroy();
    return false;
  }
  return !response.destroyed;
}

export function endEvents(response: ServerResponse, error?: object): void {
  response.end(frame(error === undefined ? '[DONE]' : JSON.stringify(error)));
}

function frame(data: string): string {
  return `data: ${data}\n\n`;
}
