// W(1+1) on several threads: a layer's rows are fitted independently of each other, so each thread takes some. The results are
// those of one thread, bit for bit.

import type { Worker } from 'node:worker_threads';
import type { PlaneRole } from '@duobit/format';
import type { Workspace } from '../linalg/index.ts';
import type { LayerMethod, LayerProblem, LayerResult } from './layer-method.ts';
import type { W11LayerOptions } from './w11-layer-method.ts';

export interface FitRequest {
  readonly options: W11LayerOptions;
  readonly problem: LayerProblem;
}

export interface FitAnswer {
  /** Null when it failed. */
  readonly result: LayerResult | null;
}

/** Fewer weights are not worth the way to a thread. */
const LEAST_WEIGHTS = 1 << 13;

/** Quantizes layers, by rows where the method allows it. */
export class RowWorkers {
  readonly #workers: readonly Worker[];

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers;
  }

  /**
   * @param threads that fit at a time; 1 stays on the caller's, and so does source code that has not been built
   */
  static async start(threads: number): Promise<RowWorkers> {
    if (threads < 2 || import.meta.url.endsWith('.ts')) return new RowWorkers([]);
    const { Worker } = await import('node:worker_threads');
    const file = new URL('./fit-worker.js', import.meta.url);
    const workers = Array.from({ length: threads }, () => new Worker(file, { execArgv: [] }));
    // One that is lost is told from its thread id; without a listener its error would end the process.
    for (const worker of workers) worker.on('error', () => {});
    return new RowWorkers(workers);
  }

  get threads(): number {
    return Math.max(1, this.#workers.length);
  }

  /** @throws what `method.quantize` throws */
  async quantize(method: LayerMethod, problem: LayerProblem, space: Workspace): Promise<LayerResult> {
    const { rows, columns } = problem;
    const options = method.rowOptions;
    if (!options || this.#workers.length === 0 || rows * columns < LEAST_WEIGHTS)
      return method.quantize(problem, space);
    const shared = new Float32Array(new SharedArrayBuffer(problem.hessian.byteLength));
    shared.set(problem.hessian);
    const share = Math.ceil(rows / this.#workers.length);
    const results = await Promise.all(
      this.#workers.slice(0, Math.ceil(rows / share)).map((worker, i) => {
        const end = Math.min(rows, (i + 1) * share);
        const weights = problem.weights.slice(i * share * columns, end * columns);
        return ask(worker, {
          options,
          problem: { ...problem, rows: end - i * share, weights, hessian: shared },
        });
      }),
    );
    const whole = results.filter((result) => result !== null);
    return whole.length === results.length ? join(whole) : method.quantize(problem, space);
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** The worker's result; null when it failed or is gone. */
function ask(worker: Worker, request: FitRequest): Promise<LayerResult | null> {
  return new Promise((resolve) => {
    const settle = (result: LayerResult | null): void => {
      worker.off('message', answered).off('error', failed).off('exit', failed);
      resolve(result);
    };
    const answered = ({ result }: FitAnswer): void => settle(result);
    const failed = (): void => settle(null);
    if (worker.threadId === -1) return resolve(null);
    worker.on('message', answered).on('error', failed).on('exit', failed);
    worker.postMessage(request);
  });
}

/** Rows below each other: all planes are in order of rows. */
function join(parts: readonly LayerResult[]): LayerResult {
  const packed = parts.map((part) => part.packed!);
  const planes: Partial<Record<PlaneRole, Uint8Array<ArrayBuffer>>> = {};
  for (const role of Object.keys(packed[0]!.planes) as PlaneRole[])
    planes[role] = concatenate(
      Uint8Array,
      packed.map((part) => part.planes[role]!),
    );
  return {
    approximation: concatenate(
      Float32Array,
      parts.map(({ approximation }) => approximation),
    ),
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    packed: { encoding: packed[0]!.encoding, planes },
  };
}

function concatenate<T extends Uint8Array | Float32Array>(
  make: new (length: number) => T,
  parts: readonly ArrayLike<number>[],
): T {
  const whole = new make(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
