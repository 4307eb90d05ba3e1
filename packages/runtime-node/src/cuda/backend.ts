// The cuda backend: kernels of this package on an NVIDIA GPU, through the driver alone.
import {
  type Backend,
  checkPlan,
  checkPrepareOptions,
  disposed,
  type ExecutionPlan,
  KV_PRECISIONS,
  type KvPrecision,
  listPlanWeights,
  type PrepareOptions,
  readWeights,
  type WeightReader,
} from '@duobit/core';
import { DuobitError, type TensorData } from '@duobit/format';
import { Arena } from './arena.ts';
import { Device, type DeviceFacts } from './device.ts';
import { CudaError } from './driver.ts';
import { CudaProgram, guard } from './program.ts';
import { allocateCache, allocateSlots } from './slots.ts';
import { compileSteps, makeRopeTable } from './steps.ts';
import { addWeight, type DeviceWeight, type W11Weight } from './weights.ts';

/** Options of `createCudaBackend`. */
export interface CudaBackendOptions {
  /** Precision of the KV cache; docs/numerics.md has what each costs. Default 'f16'. */
  readonly kv?: KvPrecision | undefined;
  /** The driver's library. Default: DUOBIT_CUDA from the environment, else the system's. */
  readonly library?: string | undefined;
}

/** The GPU that the `cuda` backend would use, or why there is none. */
export type CudaSupport =
  | { readonly available: true; readonly facts: DeviceFacts; readonly image: string }
  | { readonly available: false; readonly reason: string };

/** Whether there is a GPU that the backend can use; never throws. */
export function cudaSupport(library?: string): CudaSupport {
  let device: Device | undefined;
  try {
    device = new Device(library);
    return { available: true, facts: device.facts, image: device.image };
  } catch (error) {
    return { available: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    device?.dispose();
  }
}

/** Rows of a run: as many blocks as a grid has in y. */
const MOST_ROWS = 65_535;
/** Dimensions of a head: kernels/attention.cuh. */
const MOST_HEAD = 512;

/**
 * Runs plans on the first NVIDIA GPU.
 * @throws DuobitError `BACKEND_UNSUPPORTED` without driver or GPU; `BACKEND_OPTION` for bad options and settings of the environment;
 *   `BACKEND_OUT_OF_MEMORY`, `BACKEND_DEVICE_LOST`
 */
export async function createCudaBackend(options: CudaBackendOptions = {}): Promise<Backend> {
  const { kv = 'f16', library } = options;
  if (!KV_PRECISIONS.includes(kv))
    throw badOption('kv', `kv is "${String(kv)}"`, `Use one of: ${KV_PRECISIONS.join(', ')}`);
  const device = guard(() => new Device(library));
  let isDisposed = false;
  /** What is prepared, or is being: it goes before the device does. */
  const programs = new Set<Promise<CudaProgram>>();
  return {
    name: 'cuda',
    threads: 1,
    kv,
    instructionSet: `sm_${device.facts.capability}`,
    maxSequences: Number.POSITIVE_INFINITY,
    async prepare(plan, weights, prepareOptions) {
      if (isDisposed) throw disposed('backend');
      const program = prepareProgram(device, kv, plan, weights, prepareOptions, () =>
        programs.delete(program),
      );
      programs.add(program);
      program.catch(() => programs.delete(program));
      return program;
    },
    async dispose() {
      isDisposed = true;
      try {
        for (const prepared of await Promise.allSettled(programs))
          if (prepared.status === 'fulfilled') await prepared.value.dispose();
      } finally {
        guard(() => device.dispose());
      }
    },
  };
}

function badOption(where: string, message: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', message, { where, remedy });
}

async function prepareProgram(
  device: Device,
  kv: KvPrecision,
  plan: ExecutionPlan,
  read: WeightReader,
  options: PrepareOptions,
  onDispose: () => void,
): Promise<CudaProgram> {
  checkPrepareOptions(options, Number.POSITIVE_INFINITY);
  if (options.maxRows > MOST_ROWS)
    throw badOption('maxRows', `a run of ${options.maxRows} rows`, `Run at most ${MOST_ROWS} rows at once`);
  // Before weights go up, which takes a while.
  if (plan.cacheLayers > 0 && plan.heads.headSize > MOST_HEAD)
    throw new DuobitError('BACKEND_UNSUPPORTED', `heads of ${plan.heads.headSize} dimensions`, {
      where: 'cuda backend',
      remedy: `Use another backend; this one has heads of at most ${MOST_HEAD}`,
    });
  const arena = new Arena(device);
  try {
    const facts = new Map<string, TensorData['info']>();
    const weights = new Map<string, DeviceWeight>();
    for await (const [name, data] of readWeights(listPlanWeights(plan), read)) {
      facts.set(name, data.info);
      const weight = guard(() => addWeight(device, arena, data));
      if (weight !== null) weights.set(name, weight);
    }
    const weightBytes = arena.used;
    checkPlan(plan, (name) => facts.get(name)!);
    return guard(() => {
      arena.freeScratch();
      const w11 = new Map(
        [...weights].filter((entry): entry is [string, W11Weight] => entry[1].kind === 'w11'),
      );
      const slots = allocateSlots(plan, w11, options, arena);
      const cache = allocateCache(plan, options, kv, arena);
      const state = arena.allocateZeroed(8, 'state');
      const places = arena.allocateZeroed(8 * options.maxRows, 'places of rows');
      const table = makeRopeTable(device, arena, plan, options);
      const setting = { device, plan, options, slots, weights, cache, arena, state, places, table };
      const steps = compileSteps(setting);
      // What goes wrong while weights are packed is to be told here.
      device.synchronize();
      const vocabularies = new Map<string, number>();
      for (const operation of plan.operations)
        if (operation.op === 'embed') {
          const rows = facts.get(operation.weight)!.shape[0]!;
          vocabularies.set(operation.input, Math.min(rows, vocabularies.get(operation.input) ?? rows));
        }
      return new CudaProgram({
        device,
        plan,
        options: { ...options },
        arena,
        slots,
        steps,
        state,
        places,
        weightBytes,
        vocabularies,
        onDispose,
      });
    });
  } catch (error) {
    try {
      arena.dispose();
    } catch (again) {
      // After a fault of the GPU this fails too; what is to be told is why.
      if (!(again instanceof CudaError)) throw again;
    }
    throw error;
  }
}
