// A stage whose blocks are trained by workers: jobs go onto the queue, what comes back goes into the block store as it would have
// gone without a queue. Only this side writes files, so a run that is killed anywhere goes on from its store.
import { randomUUID } from 'node:crypto';
import { DuobitError } from '@duobit/format';
import type { Job, Queue } from 'bullmq';
import { pause } from '../abort.ts';
import type { BlockOutcome, BlockStageRun } from '../distillation/block-stages.ts';
import type { BlockStageOptions } from '../distillation/options.ts';
import { type RotationKind, VERSION } from '../options.ts';
import { packBlock, unpackBlock } from '../stages/block-store.ts';
import { openQueue, type QueueConnection, speaking } from './connection.ts';
import {
  type BlockJob,
  blobKey,
  claimRun,
  endRun,
  getBlob,
  lostError,
  PREFIX,
  packNumbers,
  putBlob,
  queueNameOf,
  RUN_LIMIT,
  type RunInfo,
  readRun,
  renewRun,
  rest,
} from './messages.ts';

/** Milliseconds between looks at the queue. */
const POLL = 250;
/** Times that a job which failed is given out, and milliseconds in between. */
const ATTEMPTS = 3;
const BACKOFF = 1_000;
/** Milliseconds without a worker after which that is said. */
const PATIENCE = 10_000;

export interface QueuedStage {
  readonly url: string;
  readonly onNotice: ((line: string) => void) | undefined;
  readonly stage: number;
  /** All that the blocks depend on. */
  readonly identity: string;
  readonly windows: readonly Int32Array[];
  readonly tokensSha256: string;
  readonly rotation: RotationKind;
}

/**
 * The blocks of a stage with the teacher's inputs, in order.
 * @throws DuobitError `QUEUE_ADDRESS`, `QUEUE_ABSENT`, `QUEUE_CONNECTION`, `QUEUE_BUSY`, `QUEUE_LOST`, `QUEUE_JOB_FAILED`, `ABORTED`, and
 * those of checkpoint and store
 */
export async function* runQueuedStage(
  options: BlockStageOptions,
  run: BlockStageRun,
  queued: QueuedStage,
): AsyncGenerator<BlockOutcome> {
  const { checkpoint, store } = run;
  const { blockCount } = checkpoint.architecture;
  const load = (block: number) => store.load(block, (name) => checkpoint.tensorInfo(name));
  const missing: number[] = [];
  for (let block = 0; block < blockCount; block++) if (!(await load(block))?.training) missing.push(block);
  const open = new Set(missing);
  let next = 0;
  const tell = async function* (): AsyncGenerator<BlockOutcome> {
    for (; next < blockCount && !open.has(next); next++) {
      const { layers, training } = (await load(next))!;
      yield { block: next, layers, training: training!, resumed: !missing.includes(next) };
    }
  };
  yield* tell();
  if (missing.length === 0) return;
  // Measured once, here: it takes the whole model, and what workers get is small.
  const sensitivities = options.channels === 'sensitivity' ? await run.sensitivities() : null;
  const connection = await openQueue(queued.url);
  try {
    for await (const block of distribute(options, run, queued, missing, sensitivities, connection)) {
      open.delete(block);
      yield* tell();
    }
  } finally {
    connection.close();
  }
}

/** Gives each block that is missing to a worker; blocks as they come back and are kept. */
async function* distribute(
  options: BlockStageOptions,
  run: BlockStageRun,
  queued: QueuedStage,
  missing: readonly number[],
  sensitivities: readonly Float32Array[] | null,
  connection: QueueConnection,
): AsyncGenerator<number> {
  const { address, bullmq } = connection;
  const name = await queueNameOf(address.name, queued.identity);
  const info: RunInfo = {
    version: VERSION,
    checkpoint: await run.checkpoint.weightsSha256(run.signal),
    engine: run.engine.name,
    queue: name,
    token: randomUUID(),
  };
  await speaking(address, () => claim(connection, info, run.signal));
  const queue: Queue = new bullmq.Queue(name, {
    prefix: PREFIX,
    connection: { ...connection.options, maxRetriesPerRequest: 5 },
  });
  // Commands throw what this event says; without a listener it would end the process.
  queue.on('error', () => {});
  const tokensKey = blobKey(name, 'tokens');
  const sensitivitiesKey = sensitivities && blobKey(name, 'sensitivities');
  const keysOf = (block: number) => ({
    beforeKey: blobKey(name, `before-${block}`),
    resultKey: blobKey(name, `result-${block}`),
  });
  const renew = async (): Promise<void> => {
    if (!(await renewRun(connection, info))) throw lostError(address.shown, 'the record of this run is gone');
  };
  try {
    await speaking(address, async () => {
      // Jobs of a coordinator that was killed. A worker may still be at one: it leaves its result under the same key.
      await queue.obliterate({ force: true });
      await putBlob(connection, tokensKey, packNumbers(queued.windows), 'given');
      if (sensitivitiesKey) await putBlob(connection, sensitivitiesKey, packNumbers(sensitivities), 'given');
      for (const block of missing) {
        await pause(run.signal);
        await renew();
        const layers = await run.before(block, undefined);
        const keys = keysOf(block);
        await putBlob(connection, keys.beforeKey, await packBlock({ layers, training: null }), 'given');
        const job: BlockJob = {
          stage: queued.stage,
          block,
          options,
          rotation: queued.rotation,
          context: queued.windows[0]!.length,
          tokensSha256: queued.tokensSha256,
          tokensKey,
          sensitivitiesKey,
          ...keys,
        };
        const backoff = { type: 'fixed', delay: BACKOFF };
        await queue.add(`block ${block}`, job, { jobId: `block-${block}`, attempts: ATTEMPTS, backoff });
      }
    });
    yield* collect(run, queued, missing, connection, queue, renew);
  } finally {
    // Best effort: a coordinator that cannot reach Redis any more leaves keys that go by themselves.
    await queue.obliterate({ force: true }).catch(() => {});
    await queue.close().catch(() => {});
    const blobs = missing.flatMap((block) => Object.values(keysOf(block)));
    await connection.redis
      .del(tokensKey, blobKey(name, 'sensitivities'), `${PREFIX}:${name}:meta`, ...blobs)
      .catch(() => {});
    await endRun(connection, info).catch(() => {});
  }
}

async function* collect(
  { checkpoint, store, signal, onProgress }: BlockStageRun,
  { onNotice }: QueuedStage,
  missing: readonly number[],
  connection: QueueConnection,
  queue: Queue,
  renew: () => Promise<void>,
): AsyncGenerator<number> {
  const { address } = connection;
  const { blockCount: blocks } = checkpoint.architecture;
  const waiting = new Set(missing);
  const started = Date.now();
  let silent = true;
  const look = () =>
    speaking(address, async () => {
      await renew();
      return { ended: await queue.getJobs(['completed', 'failed']), active: await queue.getActiveCount() };
    });
  while (waiting.size > 0) {
    await rest(POLL, signal);
    await pause(signal);
    const { ended, active } = await look();
    if (silent && (active > 0 || ended.length > 0)) silent = false;
    else if (silent && Date.now() - started > PATIENCE) {
      onNotice?.(`no worker has taken a block yet from ${address.shown}: start some with duobit worker`);
      silent = false;
    }
    for (const job of ended as Job<BlockJob>[]) {
      const { block, resultKey, beforeKey } = job.data;
      if (job.failedReason) throw jobError(address.shown, block, job.failedReason);
      const bytes = await speaking(address, () => getBlob(connection, resultKey));
      const kept = await unpackBlock(bytes, (name) => checkpoint.tensorInfo(name));
      if (!kept?.training) throw lostError(address.shown, `what came of block ${block} is damaged`);
      await store.save(block, kept);
      await speaking(address, async () => {
        await job.remove();
        await connection.redis.del(resultKey, beforeKey);
      });
      waiting.delete(block);
      // Blocks come back in any order, so progress counts them.
      const done = blocks - waiting.size;
      onProgress?.({ block: done - 1, blocks, step: 1, steps: 1, loss: kept.training.losses.at(-1) ?? 0 });
      yield block;
    }
  }
}

/** Takes the name, or waits until a run that was killed counts as gone. @throws DuobitError `QUEUE_BUSY`, `ABORTED` */
async function claim(
  connection: QueueConnection,
  info: RunInfo,
  signal: AbortSignal | undefined,
): Promise<void> {
  const holder = await readRun(connection);
  const limit = Date.now() + RUN_LIMIT + 5_000;
  while (!(await claimRun(connection, info))) {
    await pause(signal);
    const now = await readRun(connection);
    if (Date.now() > limit || (holder && now && now.token !== holder.token)) {
      throw new DuobitError('QUEUE_BUSY', 'another run is on this queue', {
        source: connection.address.shown,
        where: 'queue',
        remedy:
          'Wait until it is done, or give this run and its workers a queue of another name: redis://host:port/name',
      });
    }
    await rest(500, signal);
  }
}

function jobError(source: string, block: number, reason: string): DuobitError {
  return new DuobitError('QUEUE_JOB_FAILED', `workers cannot train block ${block}: ${reason}`, {
    source,
    where: 'queue',
    remedy: 'See what the workers say, correct it, and run again: blocks that are done are kept',
  });
}
