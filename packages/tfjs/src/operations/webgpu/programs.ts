// Runs kernels of ours in the queue of TensorFlow.js's backend `webgpu`, on its buffers: they are ordered with its own operations,
// and it keeps a buffer until what reads it has run.
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { DataType, Tensor, TensorInfo } from '@tensorflow/tfjs-core';
import { SHADERS } from './generated/shaders.ts';

export type Kernel = keyof typeof SHADERS;

/** A program as the backend wants it; it brings `pipeline` and a complete `shaderKey` itself. */
interface Program {
  readonly outputShape: number[];
  readonly variableNames: string[];
  readonly workgroupSize: [number, number, number];
  readonly dispatchLayout: { readonly x: number[] };
  /** Made two- or three-dimensional by the backend where one dimension does not hold it. */
  dispatch: [number, number, number];
  shaderKey: string;
  readonly uniforms: string;
  getUserCode(): string;
}

interface Uniform {
  readonly type: 'uint32' | 'float32';
  readonly data: number[];
}

/** Of TensorFlow.js's WebGPUBackend what is used here; its package may be absent, so its types are not imported. */
interface Backend {
  readonly tensorMap: { get(dataId: object): { values: unknown } };
  makeTensorInfo(shape: number[], dtype: DataType): TensorInfo;
  runWebGPUProgram(
    program: Program,
    inputs: TensorInfo[],
    dtype: DataType,
    uniforms: Uniform[],
    output: TensorInfo,
  ): TensorInfo;
}

export interface Launch {
  /** By the names that the kernel has for them; it uses all. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** In a workgroup, a power of two. */
  readonly threads: number;
  readonly workgroups: number;
  /** Uniforms of type u32. */
  readonly whole?: Readonly<Record<string, number>>;
  /** Uniforms of type f32. */
  readonly real?: Readonly<Record<string, number>>;
  /** u32 that the kernel is compiled with. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** Of kernels that compute value by value. */
const THREADS = 256;

/**
 * What the backend is told of every tensor. It would compile a kernel anew for other ranks and ways of broadcasting, which ours have
 * nothing of: they index flat buffers, of whose true sizes the backend knows.
 */
const FLAT = [1];

export class Programs {
  readonly #tf: typeof TensorFlow;

  constructor(tf: typeof TensorFlow) {
    this.#tf = tf;
  }

  get #backend(): Backend {
    return this.#tf.backend() as unknown as Backend;
  }

  /** A new tensor, with whatever values. */
  make<T extends Tensor>(shape: readonly number[]): T {
    const made = this.#backend.makeTensorInfo([...shape], 'float32');
    return this.#tf.engine().makeTensorFromTensorInfo(made) as T;
  }

  /** A new tensor, which the kernel fills. */
  run<T extends Tensor>(kernel: Kernel, shape: readonly number[], launch: Launch): T {
    const made = this.make<T>(shape);
    this.#launch(kernel, made, launch);
    return made;
  }

  /** Changes a tensor, and all that share its data. */
  runInPlace(kernel: Kernel, changed: Tensor, launch: Launch): void {
    this.#launch(kernel, changed, launch);
    // What has been read of it is kept beside the buffer and is no longer true.
    this.#backend.tensorMap.get(changed.dataId).values = null;
  }

  #launch(
    kernel: Kernel,
    { dataId, dtype }: TensorInfo,
    { inputs, threads, workgroups, whole = {}, real = {}, constants = {} }: Launch,
  ): void {
    const fixed = Object.entries({ THREADS: threads, ...constants });
    const wholes = Object.entries({ zero: 0, ...whole });
    const reals = Object.entries(real);
    const program: Program = {
      outputShape: FLAT,
      variableNames: Object.keys(inputs),
      workgroupSize: [threads, 1, 1],
      dispatchLayout: { x: [0] },
      dispatch: [workgroups, 1, 1],
      shaderKey: `duobit ${kernel} ${fixed.join(' ')}`,
      uniforms: [
        ...wholes.map(([name]) => `${name} : u32, `),
        ...reals.map(([name]) => `${name} : f32, `),
      ].join(''),
      getUserCode: () =>
        [...fixed.map(([name, value]) => `const ${name}: u32 = ${value}u;`), SHADERS[kernel]].join('\n'),
    };
    this.#backend.runWebGPUProgram(
      program,
      Object.values(inputs).map((tensor) => ({ dataId: tensor.dataId, shape: FLAT, dtype: tensor.dtype })),
      dtype,
      [
        ...wholes.map(([, value]): Uniform => ({ type: 'uint32', data: [value] })),
        ...reals.map(([, value]): Uniform => ({ type: 'float32', data: [value] })),
      ],
      { dataId, shape: FLAT, dtype },
    );
  }
}

/** A thread for each of `count` values, which the kernel knows as `uniforms.count`. */
export function eachValue(
  count: number,
  inputs: Launch['inputs'],
  { whole, real }: Pick<Launch, 'whole' | 'real'> = {},
): Launch {
  return {
    inputs,
    threads: THREADS,
    workgroups: Math.ceil(count / THREADS),
    whole: { count, ...whole },
    ...(real ? { real } : {}),
  };
}

/** A workgroup for each row of a matrix, which the kernel knows as `uniforms.rows` and `uniforms.width`. */
export function eachRow(
  [rows, width]: readonly [number, number],
  inputs: Launch['inputs'],
  real: Launch['real'] = {},
): Launch {
  return { inputs, threads: threadsFor(width), workgroups: rows, whole: { rows, width }, real };
}

/** Some values a thread, and no more threads than any device has in a workgroup. */
export function threadsFor(width: number): number {
  return width > 2048 ? 256 : width > 256 ? 128 : 64;
}
