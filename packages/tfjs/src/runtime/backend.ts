// The tfjs backend: plans on TensorFlow.js tensors, for whatever device TensorFlow.js has. Made to be right everywhere, and not fast:
// weights stay packed on the device and are expanded for every product.
import {
  type Backend,
  checkPlan,
  checkPrepareOptions,
  type KvPrecision,
  listPlanWeights,
  type WeightReader,
} from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { type Device, type Engine, openEngine } from '../engine.ts';
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

/**
 * Opens TensorFlow.js and makes a backend of it.
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
  return createTfjsBackend(await openEngine({ device, among: RUNTIME_DEVICES, onNotice }), { kv });
}

/**
 * A backend on an open engine, which stays the caller's. It puts that engine in force whenever it works: TensorFlow.js has one at a
 * time for the whole process, so do not train on another meanwhile.
 * @throws DuobitError `BACKEND_OPTION`
 */
export function createTfjsBackend(engine: Engine, options: TfjsBackendOptions = {}): Backend {
  checkKv(options.kv);
  const programs = new Set<TfjsProgram>();
  let disposed = false;
  return {
    name: 'tfjs',
    threads: 1,
    kv: 'f32',
    instructionSet: engine.name,
    refinements: REFINEMENTS,
    async prepare(plan, read, prepareOptions) {
      if (disposed)
        throw new DuobitError('BACKEND_DISPOSED', 'the backend was used after dispose()', {
          remedy: 'Create a new one',
        });
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
      disposed = true;
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
