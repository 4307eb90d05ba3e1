// A worker: takes blocks from the queue and trains them on its own copy of the checkpoint, until it is told to stop.
import { createWasmBackend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type { Engine } from '@duobit/tfjs';
import type { Job } from 'bullmq';
import { embedWindows } from '../calibration/streams.ts';
import { hashWindows } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { prepareCheckpoint } from '../checkpoint/prepared-checkpoint.ts';
import { TeacherForcedStage } from '../distillation/teacher-forced.ts';
import { VERSION } from '../options.ts';
import { packBlock, unpackBlock } from '../stages/block-store.ts';
import { openQueue, type QueueConnection, speaking } from './connection.ts';
import {
  type BlockJob,
  getBlob,
  lostError,
  PREFIX,
  putBlob,
  type RunInfo,
  readRun,
  rest,
  unpackFloats,
  unpackTokens,
} from './messages.ts';

/** Milliseconds between looks for a run. */
const POLL = 500;
/** How often a job may lose its worker before it counts as failed: a block that ends every worker has to come to light. */
const LOST_WORKERS = 10;

export const DEFAULT_LEASE = 120;

/** Options of a worker. */
export interface QueueWorkerOptions {
  /** With the weights that the run has; stays the caller's. */
  readonly checkpoint: Checkpoint;
  /** Opened with `openEngine`; stays the caller's. */
  readonly engine: Engine;
  /** As the run has it. */
  readonly url: string;
  /** Seconds without a sign of life after which another worker gets this one's block. Must be above a training step's. Default 120. */
  readonly lease?: number;
  /** Told to stop: the block in work goes back to the queue. */
  readonly signal?: AbortSignal | undefined;
  /** Told in one line what the worker begins and ends. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/**
 * Works until the signal comes.
 * @returns how many blocks it has trained
 * @throws DuobitError `QUEUE_ADDRESS`, `QUEUE_ABSENT`, `QUEUE_CONNECTION`; `QUEUE_MISMATCH` when a run's checkpoint, engine or version is not
 * this worker's, since the bytes would differ
 */
export async function work(options: QueueWorkerOptions): Promise<number> {
  const { checkpoint, engine, url, lease = DEFAULT_LEASE, signal, onNotice } = options;
  if (!(lease > 0)) throw new RangeError(`lease is ${lease}, not above 0`);
  const connection = await openQueue(url);
  const { address } = connection;
  try {
    const own = { version: VERSION, checkpoint: await checkpoint.weightsSha256(signal), engine: engine.name };
    const trainer = new Trainer(options, connection);
    onNotice?.(`ready on ${engine.name}, waiting at ${address.shown}`);
    try {
      while (!signal?.aborted) {
        const info = await speaking(address, () => readRun(connection));
        if (info) {
          refuseOther(info, own, address.shown);
          await serve(info, connection, trainer, lease, signal);
        } else await rest(POLL, signal);
      }
    } finally {
      trainer.dispose();
    }
    return trainer.trained;
  } finally {
    connection.close();
  }
}

/** Takes blocks of a run for as long as it is there. */
async function serve(
  { queue }: RunInfo,
  connection: QueueConnection,
  trainer: Trainer,
  lease: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { bullmq, options, address } = connection;
  const worker = new bullmq.Worker<BlockJob>(queue, (job, token) => trainer.handle(job, token), {
    prefix: PREFIX,
    connection: { ...options, maxRetriesPerRequest: null },
    concurrency: 1,
    lockDuration: lease * 1000,
    stalledInterval: lease * 500,
    maxStalledCount: LOST_WORKERS,
    drainDelay: 1,
  });
  // Lost connections, which it makes again, and jobs that were taken from it; without a listener they would end the process.
  worker.on('error', () => {});
  try {
    const isOn = async () => (await speaking(address, () => readRun(connection)))?.queue === queue;
    while (!signal?.aborted && (await isOn())) await rest(POLL, signal);
    await worker.close();
    // BullMQ may have written it again after the coordinator had removed it.
    if (!(await isOn())) await speaking(address, () => connection.redis.del(`${PREFIX}:${queue}:meta`));
  } catch (error) {
    await worker.close(true).catch(() => {});
    throw error;
  }
}

/** @throws DuobitError `QUEUE_MISMATCH` */
function refuseOther(
  run: RunInfo,
  own: Pick<RunInfo, 'version' | 'checkpoint' | 'engine'>,
  source: string,
): void {
  const refuse = (what: string, theirs: string, ours: string, remedy: string): void => {
    if (theirs === ours) return;
    throw new DuobitError(
      'QUEUE_MISMATCH',
      `the run has ${what} ${theirs}, this worker ${ours}: the bytes would differ`,
      { source, where: 'queue', remedy },
    );
  };
  refuse(
    'a checkpoint with the SHA-256',
    run.checkpoint,
    own.checkpoint,
    "Give a copy of the run's checkpoint",
  );
  refuse('the training device', run.engine, own.engine, 'Give --device as the run has it, on such a machine');
  refuse('version', run.version, own.version, 'Install the same version of Duobit');
}

/** Trains one block after the other; what blocks of a stage have in common is made once. */
class Trainer {
  trained = 0;
  readonly #options: QueueWorkerOptions;
  readonly #connection: QueueConnection;
  #stage: { readonly key: string; readonly value: TeacherForcedStage } | null = null;

  constructor(options: QueueWorkerOptions, connection: QueueConnection) {
    this.#options = options;
    this.#connection = connection;
  }

  async handle(job: Job<BlockJob>, token: string | undefined): Promise<void> {
    const { signal, onNotice } = this.#options;
    const { stage, block } = job.data;
    try {
      await this.#train(job.data);
      onNotice?.(`stage ${stage}, block ${block}: done`);
    } catch (error) {
      // A block that failed may have left the stream anywhere.
      this.dispose();
      if (signal?.aborted) {
        await job.moveToWait(token);
        onNotice?.(`stage ${stage}, block ${block}: given back`);
        throw new this.#connection.bullmq.WaitingError();
      }
      const fact = error instanceof DuobitError ? error.describe() : (error as Error).message;
      onNotice?.(`stage ${stage}, block ${block}: failed: ${fact}`);
      throw new Error(fact, { cause: error });
    }
  }

  dispose(): void {
    this.#stage?.value.dispose();
    this.#stage = null;
  }

  async #train(job: BlockJob): Promise<void> {
    const { checkpoint, onNotice } = this.#options;
    const connection = this.#connection;
    const { stage, block, beforeKey, resultKey } = job;
    // Whoever lost this job may have been through with it.
    if ((await connection.redis.exists(resultKey)) === 1) return;
    onNotice?.(`stage ${stage}, block ${block} of ${checkpoint.architecture.blockCount}: begins`);
    const trainer = await this.#open(job);
    const bytes = await getBlob(connection, beforeKey);
    const before = await unpackBlock(bytes, (name) => checkpoint.tensorInfo(name));
    if (!before) throw lostError(connection.address.shown, `${beforeKey} is damaged`);
    const outcome = await trainer.train(block, before.layers);
    await putBlob(connection, resultKey, await packBlock(outcome), 'result');
    this.trained += 1;
  }

  async #open(job: BlockJob): Promise<TeacherForcedStage> {
    const { engine, signal } = this.#options;
    const { stage, options, rotation, context, tokensSha256, tokensKey, sensitivitiesKey } = job;
    // The tokens' key names the run.
    const key = JSON.stringify([tokensKey, stage]);
    if (this.#stage?.key === key) return this.#stage.value;
    this.dispose();
    const connection = this.#connection;
    const { checkpoint } = await prepareCheckpoint(this.#options.checkpoint, rotation);
    const windows = unpackTokens(await getBlob(connection, tokensKey), context);
    if ((await hashWindows(windows)) !== tokensSha256)
      throw lostError(connection.address.shown, `${tokensKey} is damaged`);
    const { blockCount } = checkpoint.architecture;
    const sensitivities = sensitivitiesKey
      ? unpackFloats(await getBlob(connection, sensitivitiesKey), blockCount)
      : [];
    // An embedding copies rows of the checkpoint, so it does not matter which backend runs it.
    const backend = await createWasmBackend();
    let streams: readonly Float32Array[];
    try {
      streams = (await embedWindows(checkpoint, backend, windows, signal)).windows;
    } finally {
      await backend.dispose();
    }
    const run = { engine, checkpoint, streams, sensitivities: async () => sensitivities, signal };
    this.#stage = { key, value: new TeacherForcedStage(options, run) };
    return this.#stage.value;
  }
}
