// Stages 2 to 4 one after the other: each takes the blocks of the stage before from where they are kept, and keeps its own.
import type { Backend } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { embedWindows } from '../calibration/streams.ts';
import { hashWindows } from '../calibration/windows.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { RotationKind } from '../options.ts';
import type { QueuedStage } from '../queue/coordinator.ts';
import { type BlockLayers, type BlockStore, loadLayers } from '../stages/block-store.ts';
import type { BlockResult } from '../stages/stage1.ts';
import {
  type BlockOutcome,
  type BlockStageProgress,
  type BlockStageRun,
  runBlockStage,
} from './block-stages.ts';
import { trainEndToEnd } from './end-to-end.ts';
import { type BlockStageOptions, type DistillationOptions, resolveStages, SHARED } from './options.ts';
import type { TrainingRecord } from './retry.ts';
import { runTeacherForced } from './teacher-forced.ts';
import { measureSensitivities } from './whole-model.ts';

export interface DistillationRun {
  readonly checkpoint: Checkpoint;
  /** Runs the embedding. */
  readonly backend: Backend;
  readonly windows: readonly Int32Array[];
  /** What made the checkpoint of the one that was opened. */
  readonly rotation: RotationKind;
  /** What the blocks given depend on. */
  readonly identity: string;
  /** Of blocks that are done, unless `fit` is given. */
  readonly load: (block: number) => Promise<BlockLayers>;
  /**
   * Stage 1 not yet run, to go through with stage 2 block by block: each block is then fitted to inputs that stage 2 has improved.
   */
  readonly fit: AsyncGenerator<BlockResult, void, BlockLayers | undefined> | null;
  readonly openStore: (identity: string) => Promise<BlockStore>;
  readonly onProgress?: ((stage: number, progress: BlockStageProgress) => void) | undefined;
  readonly onBlock?: ((stage: number, outcome: BlockOutcome) => void) | undefined;
  /** Waited for at the end of every stage. @param load what it made of a block */
  readonly onStage: (
    stage: number,
    trainings: readonly TrainingRecord[],
    load: (block: number) => Promise<BlockLayers>,
  ) => Promise<void>;
  readonly signal?: AbortSignal | undefined;
}

export interface Distilled {
  readonly load: (block: number) => Promise<BlockLayers>;
  readonly stores: readonly BlockStore[];
}

/** @throws DuobitError `TEXT_TOO_SHORT` when no window could be held out, and those of `runBlockStage` */
export async function distill(options: DistillationOptions, run: DistillationRun): Promise<Distilled> {
  const { checkpoint, backend, windows, signal } = run;
  const { engine } = options;
  if (windows.length < 2)
    throw new DuobitError(
      'TEXT_TOO_SHORT',
      'the calibration gives one window to train on, none to judge by',
      {
        source: checkpoint.name,
        where: 'calibration',
        remedy: 'Give a longer text, more tokens to train on, or a shorter window',
      },
    );
  const { weights, activations, endToEnd } = resolveStages(options);
  let { load, identity } = run;
  const stores: BlockStore[] = [];
  const tokensSha256 = await hashWindows(windows);
  // By the first stage's options whichever stage needs them first: a run that goes on measures what it would have measured before.
  const { batch, seed } = weights ?? activations ?? endToEnd ?? SHARED;
  let sensitivities: Promise<readonly Float32Array[]> | undefined;
  for (const [stage, stageOptions] of [
    [2, weights],
    [3, activations],
  ] as const) {
    if (!stageOptions) continue;
    identity = JSON.stringify({ identity, stage, options: stageOptions, tokensSha256, engine: engine.name });
    const store = await run.openStore(identity);
    stores.push(store);
    const { windows: streams } = await embedWindows(checkpoint, backend, windows, signal);
    const stageRun: BlockStageRun = {
      engine,
      checkpoint,
      streams,
      before: stage === 2 && run.fit ? (_, previous) => nextBlock(run.fit!, previous) : load,
      store,
      sensitivities: () => {
        sensitivities ??= measureSensitivities(engine, checkpoint, streams, batch, seed, signal);
        return sensitivities;
      },
      signal,
      onProgress: (progress) => run.onProgress?.(stage, progress),
    };
    const runStage = await chooseRunner(options, stageOptions, {
      stage,
      identity,
      windows,
      tokensSha256,
      rotation: run.rotation,
    });
    const blocks = runStage(stageOptions, stageRun);
    const trainings: TrainingRecord[] = [];
    for await (const outcome of blocks) {
      trainings.push(outcome.training);
      run.onBlock?.(stage, outcome);
    }
    load = (block) => loadLayers(store, checkpoint, block);
    await run.onStage(stage, trainings, load);
  }
  if (endToEnd) {
    identity = JSON.stringify({
      identity,
      stage: 4,
      options: endToEnd,
      tokensSha256,
      engine: engine.name,
    });
    const store = await run.openStore(identity);
    stores.push(store);
    const { blockCount } = checkpoint.architecture;
    const kept = (block: number) => store.load(block, (name) => checkpoint.tensorInfo(name));
    // The last block is saved last, and the record with it: when it is there, all are.
    let training = (await kept(blockCount - 1))?.training;
    if (training) {
      const layers = await loadLayers(store, checkpoint, 0);
      run.onBlock?.(4, { block: 0, layers, training, resumed: true });
    } else {
      const before: BlockLayers[] = [];
      for (let block = 0; block < blockCount; block++) before.push(await load(block));
      const { windows: streams } = await embedWindows(checkpoint, backend, windows, signal);
      const { blocks, training: record } = await trainEndToEnd(endToEnd, {
        engine,
        checkpoint,
        streams,
        before,
        signal,
        onStep: (step, steps, loss) => run.onProgress?.(4, { block: 0, blocks: 1, step, steps, loss }),
      });
      for (const [block, layers] of blocks.entries())
        await store.save(block, { layers, training: block + 1 === blockCount ? record : null });
      run.onBlock?.(4, { block: 0, layers: blocks[0]!, training: record, resumed: false });
      training = record;
    }
    load = (block) => loadLayers(store, checkpoint, block);
    await run.onStage(4, [training], load);
  }
  return { load, stores };
}

/** By whose inputs blocks are trained, and where. */
async function chooseRunner(
  { queue }: DistillationOptions,
  { inputs }: BlockStageOptions,
  stage: Omit<QueuedStage, 'url' | 'onNotice'>,
): Promise<typeof runBlockStage> {
  if (inputs === 'student') return runBlockStage;
  if (!queue) return runTeacherForced;
  const { runQueuedStage } = await import('../queue/coordinator.ts');
  const { url, onNotice } = queue;
  return (options, run) => runQueuedStage(options, run, { ...stage, url, onNotice });
}

async function nextBlock(
  fit: NonNullable<DistillationRun['fit']>,
  previous: BlockLayers | undefined,
): Promise<BlockLayers> {
  const { value } = await (previous ? fit.next(previous) : fit.next());
  return value!.layers;
}
