// Threads of the wasm backend: the same bits on any number of them, programs that take turns, and what happens where memory
// cannot be shared, workers cannot start, or one dies.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Backend, buildPlan, type Program, SLOTS } from '@duobit/core';
import { makeTinyModel, type TinyModelOptions } from '@duobit/testkit';
import { build } from 'tsup';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createWasmBackend } from './backend.ts';

const OPTIONS = { capacity: 80, maxRows: 70 };
const TOKENS = Int32Array.from({ length: 70 }, (_, i) => (i * 37) % 250);

function prepare(backend: Backend, options: TinyModelOptions): Promise<Program> {
  const source = makeTinyModel(options);
  return backend.prepare(buildPlan(source), (name) => source.readTensor(name), OPTIONS);
}

/** Logits of a long run (more rows than one band of a product), of some rows and of one. */
async function runTiny(program: Program): Promise<Float32Array[]> {
  const results: Float32Array[] = [];
  for (const [position, rows] of [
    [0, 70],
    [70, 3],
    [73, 1],
  ] as const) {
    await program.write(SLOTS.tokens, TOKENS.slice(0, rows));
    await program.run({ rows, position, logits: 'all' });
    results.push(await program.read(SLOTS.logits));
  }
  return results;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe('threads', () => {
  const models: TinyModelOptions[] = [
    { linear: 'w11', embedding: 'int8' },
    { linear: 'int4', embedding: 'int4' },
    { linear: 'f32', architecture: { headCount: 6, kvHeadCount: 3 } },
  ];
  it.each(models)(
    'any number gives the same bits, more than the machine has among them: %o',
    async (model) => {
      const results = [];
      for (const threads of [1, 2, 5]) {
        const backend = await createWasmBackend({ threads });
        expect(backend.threads).toBe(threads);
        const program = await prepare(backend, model);
        for (let round = 0; round < 3; round++) results.push(await runTiny(program));
        await backend.dispose();
      }
      for (const result of results) expect(result).toEqual(results[0]);
    },
  );

  it('serve several programs in turn', async () => {
    const backend = await createWasmBackend({ threads: 3 });
    const programs = [await prepare(backend, { seed: 1 }), await prepare(backend, { seed: 2 })];
    const first = [await runTiny(programs[0]!), await runTiny(programs[1]!)];
    for (let round = 0; round < 4; round++)
      for (const [i, program] of programs.entries()) expect(await runTiny(program)).toEqual(first[i]);
    await programs[0]!.dispose();
    expect(await runTiny(programs[1]!)).toEqual(first[1]);
    await backend.dispose();
  });

  it('are one where memory cannot be shared', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    const backend = await createWasmBackend({ threads: 4 });
    expect(backend.threads).toBe(1);
    expect((await runTiny(await prepare(backend, {})))[2]!.every(Number.isFinite)).toBe(true);
  });

  it('are one in a page that is not isolated', async () => {
    vi.stubGlobal('crossOriginIsolated', false);
    expect((await createWasmBackend({ threads: 4 })).threads).toBe(1);
  });

  it('are one where workers cannot start', async () => {
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    const stopped: unknown[] = [];
    vi.stubGlobal(
      'Worker',
      class {
        onerror: (() => void) | null = null;
        constructor() {
          setTimeout(() => this.onerror?.());
        }
        terminate() {
          stopped.push(this);
        }
      },
    );
    const backend = await createWasmBackend({ threads: 3 });
    expect(backend.threads).toBe(1);
    expect(stopped).toHaveLength(2);
    expect((await runTiny(await prepare(backend, {})))[2]!.every(Number.isFinite)).toBe(true);
  });

  it('that stop between runs are done without', async () => {
    const workers: { terminate(): unknown }[] = [];
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue({
      Worker: class extends Worker {
        constructor(...parameters: ConstructorParameters<typeof Worker>) {
          super(...parameters);
          workers.push(this);
        }
      },
    });
    const backend = await createWasmBackend({ threads: 3 });
    const program = await prepare(backend, {});
    const before = await runTiny(program);
    for (const worker of workers) await worker.terminate();
    expect(backend.threads).toBe(1);
    expect(await runTiny(program)).toEqual(before);
  });

  it('that die in a run are an error, not a hang, and the next run does without them', async () => {
    vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    let memory: WebAssembly.Memory | undefined;
    vi.stubGlobal(
      'Worker',
      class {
        onmessage: (() => void) | null = null;
        constructor() {
          setTimeout(() => this.onmessage?.());
        }
        postMessage(message: { readonly memory: WebAssembly.Memory }) {
          memory = message.memory;
          // As if it had taken the first unit of run 1 and died: assembly/layout.ts, Control.phases and Phase.next.
          const phases = new Uint32Array(memory.buffer)[64 / 4]!;
          new BigUint64Array(memory.buffer)[(phases + 64) / 8] = (1n << 24n) | 1n;
        }
        terminate() {}
      },
    );
    const backend = await createWasmBackend({ threads: 2 });
    expect(backend.threads).toBe(2);
    const program = await prepare(backend, {});
    await program.write(SLOTS.tokens, TOKENS.slice(0, 1));
    const sleep = vi.spyOn(Atomics, 'wait').mockReturnValue('timed-out');
    const request = { rows: 1, position: 0, logits: 'last' } as const;
    await expect(program.run(request)).rejects.toMatchObject({ code: 'BACKEND_THREAD_LOST' });
    expect(memory).toBeDefined();
    expect(sleep).toHaveBeenCalledTimes(1);
    expect(backend.threads).toBe(1);
    await program.run(request);
    expect((await program.read(SLOTS.logits)).every(Number.isFinite)).toBe(true);
  });

  it('let the process end without dispose', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'duobit-threads-'));
    await build({
      config: false,
      entry: { backend: join(import.meta.dirname, 'backend.ts') },
      outDir: folder,
      format: ['esm'],
      platform: 'node',
      noExternal: [/./],
      outExtension: () => ({ js: '.mjs' }),
      silent: true,
      esbuildOptions: (options) => {
        options.conditions = ['@duobit/source'];
      },
    });
    const script = `
      import { createWasmBackend } from ${JSON.stringify(pathToFileURL(join(folder, 'backend.mjs')).href)};
      const { threads } = await createWasmBackend({ threads: 3 });
      console.log(threads);`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
    expect(stdout.trim()).toBe('3');
    await rm(folder, { recursive: true });
  });
});
