// The tfjs backend: plans on TensorFlow.js tensors, for whatever device TensorFlow.js has. Made to be right everywhere, and not fast:
// weights stay packed on the device and are expanded for every product.
import {
  type Backend,
  checkPlan,
  checkPrepareOptions,
  disposed,
  type KvPrecision,
  listPlanWeights,
  type WeightReader,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import { type Device, type Engine, loadTensorFlow, openEngine } from '../engine.ts';
import { putInForce, TfjsProgram } from './program.ts';
import { type HeldWeight, holdWeight } from './weights.ts';

/** TensorFlow.js backends that inference runs on, as 'auto' tries them. */
export const RUNTIME_DEVICES = ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const satisfies readonly Device[];
/** A backend of TensorFlow.js that the tfjs backend can run on. */
export type RuntimeDevice = (typeof RUNTIME_DEVICES)[number];

/** Options of `createTfjsBackend`. */
export interface TfjsBackendOptions {
  /** Precision of the KV cache: 'f32', the only one and the default. */
  readonly kv?: KvPrecision | undefined;
}

/** Options of `openTfjsBackend`. */
export interface OpenTfjsOptions extends TfjsBackendOptions {
  /** 'auto', the default, takes the first of `RUNTIME_DEVICES` that loads. */
  readonly device?: RuntimeDevice | 'auto' | undefined;
  /** One line about devices that 'auto' passed over, and why. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** For each open backend of `openTfjsBackend`, in order, what TensorFlow.js ran on before it; undefined: on nothing yet. */
const opened: { before: string | undefined }[] = [];

/** Puts in force again what was before a backend, or leaves that to the one that was opened after it. */
async function leave(tf: typeof TensorFlow, entry: (typeof opened)[number]): Promise<void> {
  const index = opened.indexOf(entry);
  if (index < 0) return;
  opened.splice(index, 1);
  const next = opened[index];
  if (next) next.before = entry.before;
  else if (entry.before && tf.getBackend() !== entry.before) await tf.setBackend(entry.before);
}

/**
 * Opens TensorFlow.js and makes a backend of it. Once disposed of, it leaves in force what was before it.
 * @throws DuobitError `ENGINE_ABSENT` when the device that was asked for, or any, cannot be opened; `BACKEND_OPTION`
 */
export async function openTfjsBackend(options: OpenTfjsOptions = {}): Promise<Backend> {
  const { device = 'auto', kv, onNotice } = options;
  checkKv(kv);
  if (device !== 'auto' && !RUNTIME_DEVICES.includes(device))
    throw badOption(
      'device',
      `device is "${String(device)}"`,
      `Use one of: auto, ${RUNTIME_DEVICES.join(', ')}`,
    );
  // cuBLAS reads it when it starts; products of 11 bits are none of f32.
  process.env.NVIDIA_TF32_OVERRIDE ??= '0';
  const tf = await loadTensorFlow();
  const entry = { before: tf.getBackend() };
  opened.push(entry);
  try {
    const engine = await openEngine({ device, among: RUNTIME_DEVICES, onNotice });
    const backend = createTfjsBackend(engine, { kv });
    return {
      ...backend,
      async dispose() {
        await backend.dispose();
        await leave(tf, entry);
      },
    };
  } catch (error) {
    await leave(tf, entry);
    throw error;
  }
}

/**
 * A backend on an open engine, which stays the caller's. It puts that engine in force whenever it works: TensorFlow.js has one at a
 * time for the whole process, so do not train on another meanwhile.
 * @throws DuobitError `BACKEND_OPTION`
 */
export function createTfjsBackend(engine: Engine, options: TfjsBackendOptions = {}): Backend {
  checkKv(options.kv);
  const programs = new Set<TfjsProgram>();
  let isDisposed = false;
  return {
    name: 'tfjs',
    threads: 1,
    kv: 'f32',
    instructionSet: engine.name,
    refinements: REFINEMENTS,
    async prepare(plan, read, prepareOptions) {
      if (isDisposed) throw disposed('backend');
      checkPrepareOptions(prepareOptions);
      const held = new Map<string, HeldWeight>();
      try {
        const facts = new Map<string, Awaited<ReturnType<WeightReader>>['info']>();
        for (const name of listPlanWeights(plan)) {
          const data = await read(name);
          facts.set(name, data.info);
          await putInForce(engine);
          if (HELD.has(data.info.encoding.kind)) held.set(name, holdWeight(engine.tf, data));
        }
        checkPlan(plan, (name) => facts.get(name)!, REFINEMENTS);
        await putInForce(engine);
        const program = new TfjsProgram(engine, plan, held, prepareOptions);
        programs.add(program);
        return program;
      } catch (error) {
        for (const weight of held.values()) weight.dispose();
        throw error;
      }
    },
    async dispose() {
      isDisposed = true;
      for (const program of programs) await program.dispose();
      programs.clear();
    },
  };
}

const REFINEMENTS = ['knee'] as const;
/** Encodings that a plan's weights may have; `checkPlan` says which others it met. */
const HELD: ReadonlySet<string> = new Set(['w11', 'int8', 'int4', 'f32', 'f16', 'bf16']);

function checkKv(kv: KvPrecision | undefined): void {
  if (kv !== undefined && kv !== 'f32')
    throw badOption(
      'kv',
      `kv is "${String(kv)}"; the tfjs backend keeps keys and values in f32`,
      'Leave kv out, or use f32',
    );
}

function badOption(where: string, message: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', message, { where, remedy });
}
