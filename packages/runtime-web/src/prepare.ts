// Makes a plan ready on a device: weights into buffers, slots and cache allocated, kernels compiled, everything bound.
/// <reference types="@webgpu/types" />
import {
  checkPlan,
  checkPrepareOptions,
  decodedSlots,
  type ExecutionPlan,
  type KvPrecision,
  listPlanWeights,
  type PrepareOptions,
  type WeightReader,
} from '@duobit/core';
import { DuobitError, type TensorData } from '@duobit/format';
import { BufferPool } from './buffers.ts';
import { compileSteps } from './compile.ts';
import { USAGE } from './constants.ts';
import {
  type Arenas,
  type Context,
  cacheBytes,
  chooseConstants,
  chooseImports,
  type LoadedWeights,
  partBytes,
  tabulateColumns,
} from './context.ts';
import { outOfMemory, type WebGpuDevice } from './device.ts';
import { listJoinable } from './fuse.ts';
import { compileSearches, placeSearches, type Searches } from './logits.ts';
import type { Pipelines } from './pipelines.ts';
import { layOutSlots } from './slots.ts';
import { type RunShape, type Step, StepBuilder } from './steps.ts';
import { chooseProduct, type Tuning } from './tuning.ts';
import { Uploader } from './upload.ts';
import {
  canJoin,
  checkPlanes,
  type DenseWeight,
  isDenseEncoding,
  loadDense,
  loadVector,
  loadW11,
  type VectorWeight,
  type W11Weight,
} from './weights.ts';

/** What programs of one backend share. */
export interface Engine {
  readonly open: WebGpuDevice;
  readonly pipelines: Pipelines;
  readonly kv: KvPrecision;
  readonly tuning: Tuning;
}

/** A prepared plan. */
export interface Prepared {
  readonly context: Context;
  readonly pool: BufferPool;
  readonly steps: readonly Step[];
  /** Of each slot of logits. */
  readonly searches: ReadonlyMap<string, Searches>;
  readonly run: GPUBuffer;
  readonly weightBytes: number;
  /** Of slots of tokens that are looked up: the size of the vocabulary. */
  readonly vocabularies: ReadonlyMap<string, number>;
  /** Slots of a plan that is a model's text; else null. */
  readonly decoded: ReturnType<typeof decodedSlots>;
}

export const RUN_BYTES = 32;
const SUM_LANES = 8;
const SUM_WORKGROUP = 64;

export async function preparePlan(
  engine: Engine,
  plan: ExecutionPlan,
  read: WeightReader,
  options: PrepareOptions,
): Promise<Prepared> {
  checkPrepareOptions(options);
  const { device } = engine.open;
  // Rows are what kernels have workgroups down for.
  const most = device.limits.maxComputeWorkgroupsPerDimension;
  if (options.maxRows > most)
    throw new DuobitError('BACKEND_OPTION', `a run of ${options.maxRows} rows`, {
      where: 'maxRows',
      remedy: `Run at most ${most} rows at once`,
    });
  const pool = new BufferPool(engine.open);
  device.pushErrorScope('validation');
  device.pushErrorScope('out-of-memory');
  let prepared: Prepared | null = null;
  let failure: unknown = null;
  try {
    prepared = await prepareIn(engine, pool, plan, read, options);
  } catch (error) {
    failure = error;
  }
  const noMemory = await device.popErrorScope();
  const invalid = await device.popErrorScope();
  try {
    // On a lost device little is refused, and nothing has an effect.
    engine.open.check();
  } catch (error) {
    failure = error;
  }
  if (prepared && failure === null && !noMemory && !invalid) return prepared;
  pool.destroy();
  if (noMemory) throw outOfMemory(noMemory.message);
  if (failure !== null) throw failure;
  engine.open.check();
  throw new DuobitError('BACKEND_FAILED', `WebGPU refuses the plan: ${invalid?.message}`, {
    where: 'webgpu backend',
    remedy: 'Report this as a bug, with the name of the GPU',
  });
}

async function prepareIn(
  engine: Engine,
  pool: BufferPool,
  plan: ExecutionPlan,
  read: WeightReader,
  options: PrepareOptions,
): Promise<Prepared> {
  const { open, pipelines, kv, tuning } = engine;
  const { device, variant } = open;
  const { weights, facts } = await loadWeights(device, pool, plan, read, tuning.fuse !== false);
  const weightBytes = pool.bytes;
  checkPlan(plan, (name) => facts.get(name)!);
  const products = {
    rows: chooseProduct(variant.packedDot, open.adapter.vendor, tuning),
    tiles: variant.packedDot ? ('dot' as const) : ('bits' as const),
  };
  const layout = layOutSlots(plan, options, products.tiles === 'dot' ? 'dot' : products.rows);
  const tables = tabulateColumns(plan);
  const run = pool.allocate(RUN_BYTES, USAGE.uniform | USAGE.copyTarget, 'run');
  // Behind the slots in the arena of codes.
  const { places, end } = placeSearches(plan, layout.codes);
  const { maxRows } = options;
  const arenas: Arenas = {
    floats: pool.storage(layout.floats * 4, 'f32 slots'),
    codes: pool.storage(end * 4, 'slots of codes'),
    stats: pool.storage(layout.stats * 8, 'statistics'),
    angles: pool.storage(maxRows * plan.heads.headSize * 4, 'rotary angles'),
    tables: pool.storage(tables.words.byteLength, 'tables of columns'),
    parts: pool.storage(partBytes(plan), 'parts of attention'),
    caches: Array.from({ length: plan.cacheLayers }, (_, layer) =>
      pool.storage(cacheBytes(plan, options, kv), `KV cache of layer ${layer}`),
    ),
  };
  if (tables.words.length > 0) device.queue.writeBuffer(arenas.tables, 0, tables.words);
  const builder = new StepBuilder(device, pipelines, run);
  const context: Context = {
    plan,
    options,
    kv,
    tuning,
    variant,
    subgroupSize: open.subgroupSize,
    products,
    imports: chooseImports(variant),
    constants: chooseConstants(open),
    layout,
    arenas,
    weights,
    builder,
    mostThreads: 2 ** Math.floor(Math.log2(device.limits.maxComputeInvocationsPerWorkgroup)),
    mostWorkgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
    tableOffsets: tables.offsets,
  };
  const sums = [...new Set(weights.w11.values())].map((weight) => sumStep(context, weight));
  const steps = compileSteps(context);
  const vocabularies = listVocabularies(plan, facts);
  const decoded = decodedSlots(plan, vocabularies);
  const searches = compileSearches(context, places, decoded);
  await builder.finish(pool);
  if (sums.length > 0) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const step of sums) encodeStep(pass, step, { rows: 1, logitRows: 0, position: 0 });
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
  }
  return { context, pool, steps, searches, run, weightBytes, vocabularies, decoded };
}

/** @returns whether there was something to encode */
export function encodeStep(pass: GPUComputePassEncoder, step: Step, shape: RunShape): boolean {
  const dispatch = step.dispatch(shape);
  if (!dispatch) return false;
  pass.setPipeline(dispatch.pipeline);
  pass.setBindGroup(0, dispatch.group);
  pass.dispatchWorkgroups(dispatch.x, dispatch.y, dispatch.z ?? 1);
  return true;
}

/** Fills in the sums of rows of W(1+1) weights. */
function sumStep(context: Context, weight: W11Weight): Step {
  const { rows, chunks, groups, columns, groupWords, offsets } = weight;
  const kernel = context.builder.add(
    {
      name: 'w11-sums',
      bindings: 'uuw-rr',
      imports: { ...context.imports, 'w11-levels': offsets ? 'w11-levels-pairs' : 'w11-levels-symmetric' },
      constants: {
        ...context.constants,
        WORKGROUP: SUM_WORKGROUP,
        LANES: SUM_LANES,
        GROUP_WORDS: groupWords,
      },
    },
    [rows, chunks, groups, rows * chunks, columns],
    [weight.rowSums, null, weight.bits, weight.levels],
  );
  const count = Math.ceil(rows / (SUM_WORKGROUP / SUM_LANES));
  return { label: 'row sums', weightBytes: 0, dispatch: () => ({ ...kernel(), x: count, y: 1 }) };
}

function listVocabularies(
  plan: ExecutionPlan,
  facts: ReadonlyMap<string, TensorData['info']>,
): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const operation of plan.operations) {
    if (operation.op !== 'embed') continue;
    const rows = facts.get(operation.weight)!.shape[0]!;
    sizes.set(operation.input, Math.min(rows, sizes.get(operation.input) ?? rows));
  }
  return sizes;
}

/** Reads weights one at a time, those that are to be held as one matrix together. */
async function loadWeights(
  device: GPUDevice,
  pool: BufferPool,
  plan: ExecutionPlan,
  read: WeightReader,
  join: boolean,
): Promise<{ weights: LoadedWeights; facts: Map<string, TensorData['info']> }> {
  const uploader = new Uploader(device);
  const facts = new Map<string, TensorData['info']>();
  const vectors = new Map<string, VectorWeight>();
  const dense = new Map<string, DenseWeight>();
  const w11 = new Map<string, W11Weight>();
  const joined = new Set<string>();
  const joinable = join ? listJoinable(plan) : [];
  const groupOf = new Map(joinable.flatMap((names) => names.map((name) => [name, names] as const)));

  const loadOne = async (data: TensorData): Promise<void> => {
    const { encoding, shape, name } = data.info;
    // What no kernel can hold is left out here and refused, by name, by checkPlan.
    if (encoding.kind === 'w11' && shape.length === 2) {
      checkPlanes(data);
      w11.set(name, await loadW11(pool, uploader, [data]));
    } else if (isDenseEncoding(encoding.kind) && (shape.length === 1 || shape.length === 2)) {
      checkPlanes(data);
      if (shape.length === 1) vectors.set(name, await loadVector(pool, uploader, data));
      else dense.set(name, await loadDense(pool, uploader, data, encoding.kind));
    }
  };
  for (const name of listPlanWeights(plan)) {
    if (facts.has(name)) continue;
    const parts: TensorData[] = [];
    for (const part of groupOf.get(name) ?? [name]) {
      const data = await read(part);
      facts.set(part, data.info);
      parts.push(data);
    }
    if (parts.length > 1 && canJoin(parts)) {
      for (const part of parts) checkPlanes(part);
      w11.set(name, await loadW11(pool, uploader, parts));
      joined.add(parts.map(({ info }) => info.name).join(' '));
    } else for (const part of parts) await loadOne(part);
  }
  await uploader.flush();
  return { weights: { vectors, dense, w11, joined }, facts };
}
