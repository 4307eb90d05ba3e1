// The way into this folder for the rest: what it needs is loaded when a run or a worker uses a queue, and not before.
import type { QueueWorkerOptions } from './worker.ts';

export type { QueueWorkerOptions } from './worker.ts';

/** Of a run whose blocks are trained by workers. */
export interface QueueOptions {
  /** `redis://[user:password@]host[:port][/database][/name]`, or `rediss://`. */
  readonly url: string;
  /** One line when no worker comes. */
  readonly onNotice?: (line: string) => void;
}

/**
 * Trains blocks for runs with `DistillationOptions.queue` until the signal comes; then the block in work goes back to the queue.
 * @returns how many blocks it has trained
 * @throws DuobitError `QUEUE_ADDRESS`, `QUEUE_ABSENT`, `QUEUE_CONNECTION`, `QUEUE_MISMATCH`
 */
export async function runQueueWorker(options: QueueWorkerOptions): Promise<number> {
  const { work } = await import('./worker.ts');
  return work(options);
}
