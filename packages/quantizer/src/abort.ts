// Cancellation: long loops ask here between steps, which also lets the event loop deliver the signal.
import { DuobitError } from '@duobit/format';

/**
 * Gives timers and signals a turn, then looks whether the work was cancelled.
 * @throws DuobitError `ABORTED`
 */
export async function pause(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  if (signal?.aborted) throw abortedError(signal);
}

export function abortedError(signal: AbortSignal): DuobitError {
  return new DuobitError('ABORTED', 'the operation was cancelled before it was done', {
    remedy: 'Run it again; nothing was written',
    cause: signal.reason,
  });
}
