// What is particular to the native backend: how its addon is found and done without, its options, threads, caches.
// What all backends share is in conformance.test.ts.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  buildPlan,
  type ExecutionPlan,
  KV_PRECISIONS,
  type Program,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import { createRandom, demandRowInvariance, makeDense, makeTinyModel } from '@duobit/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { createBackend } from '../backends.ts';
import { INTERFACE } from './addon.ts';
import { createNativeBackend, type InstructionSet, nativeSupport } from './backend.ts';
import { benchNativeMatvec } from './bench.ts';

const support = nativeSupport();
const { available } = support;
/** Where plain C++ is all there is, 'auto' prefers wasm. */
const fast = support.available && support.instructionSets.some((name) => name !== 'scalar');
const folder = mkdtempSync(join(tmpdir(), 'duobit-native-'));

afterEach(() => {
  delete process.env.DUOBIT_NATIVE;
  delete process.env.DUOBIT_ISA;
});

describe('an addon that cannot be used', () => {
  const cases = [
    ['a file of junk', 'junk.node', () => Buffer.from('not a shared library')],
    ['an addon for another processor', 'alien.node', () => alienLibrary()],
    ['a module of another kind', 'other.cjs', () => Buffer.from('module.exports = { interface: 1 };')],
    ['an addon of another version', 'old.cjs', () => fakeAddon(INTERFACE + 1, ['avx2'])],
    ['an addon without kernels for the machine', 'none.cjs', () => fakeAddon(INTERFACE, [])],
  ] as const;
  it.each(cases)('%s: auto runs wasm with one line of notice, native says why', async (_, name, content) => {
    const path = join(folder, name);
    writeFileSync(path, content());
    process.env.DUOBIT_NATIVE = path;
    const lines: string[] = [];
    const backend = await createBackend('auto', { onNotice: (line) => lines.push(line) });
    expect(backend.name).toBe('wasm');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(path);
    expect(lines[0]).not.toContain('\n');
    expect((await runTiny(backend)).every(Number.isFinite)).toBe(true);
    await expect(createBackend('native')).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
  });

  it('one with plain C++ only is there when asked for, but auto prefers wasm and says so', async () => {
    process.env.DUOBIT_NATIVE = join(folder, 'plain.cjs');
    writeFileSync(process.env.DUOBIT_NATIVE, fakeAddon(INTERFACE, ['scalar']));
    const lines: string[] = [];
    const open = () => createBackend('auto', { threads: 1, onNotice: (line) => lines.push(line) });
    const backend = await open();
    expect(backend.name).toBe('wasm');
    expect(lines).toEqual([expect.stringContaining('plain C++')]);
    await backend.dispose();
    expect((await createBackend('native', { threads: 1 })).name).toBe('native');
    process.env.DUOBIT_ISA = 'scalar';
    expect((await open()).name).toBe('native');
    expect(lines).toHaveLength(1);
    process.env.DUOBIT_ISA = 'sse9';
    expect((await open()).name).toBe('wasm');
    expect(lines[1]).toContain('DUOBIT_ISA');
  });

  it('a missing file is no different', async () => {
    process.env.DUOBIT_NATIVE = join(folder, 'absent.node');
    const lines: string[] = [];
    expect((await createBackend('auto', { onNotice: (line) => lines.push(line) })).name).toBe('wasm');
    expect(lines).toHaveLength(1);
  });

  it('switched off, wasm runs without a word', async () => {
    process.env.DUOBIT_NATIVE = 'off';
    const lines: string[] = [];
    expect((await createBackend('auto', { onNotice: (line) => lines.push(line) })).name).toBe('wasm');
    expect(lines).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});

describe.skipIf(!available)('options', () => {
  it('is what auto takes', async () => {
    const backend = await createBackend('auto', { threads: 3, onNotice: () => {} });
    expect(backend).toMatchObject(fast ? { name: 'native', threads: 3 } : { name: 'wasm' });
    await backend.dispose();
  });

  it('refuses threads, instruction sets and caches that there are not', async () => {
    for (const threads of [0, -1, 1.5, Number.NaN, 5000])
      await expect(createNativeBackend({ threads })).rejects.toMatchObject({ code: 'BACKEND_OPTION' });
    for (const create of [createNativeBackend, (options: object) => createBackend('auto', options)])
      await expect(create({ kv: 'int3' as 'int4' })).rejects.toMatchObject({
        code: 'BACKEND_OPTION',
        where: 'kv',
      });
    process.env.DUOBIT_ISA = 'mmx';
    await expect(createNativeBackend()).rejects.toMatchObject({ code: 'BACKEND_OPTION', where: 'isa' });
    process.env.DUOBIT_ISA = process.arch === 'x64' ? 'neon' : 'avx2';
    await expect(createNativeBackend()).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED', where: 'isa' });
  });

  it('prepares nothing after dispose, and a cache larger than the machine or endless runs at no time', async () => {
    const backend = await createNativeBackend({ threads: 1 });
    const source = makeTinyModel();
    const prepare = (capacity: number, maxRows = 1) =>
      backend.prepare(buildPlan(source), (name) => source.readTensor(name), { capacity, maxRows });
    await expect(prepare(2 ** 40)).rejects.toMatchObject({ code: 'BACKEND_OUT_OF_MEMORY' });
    await expect(prepare(8, 65_537)).rejects.toMatchObject({ code: 'BACKEND_OPTION', where: 'maxRows' });
    await backend.dispose();
    await backend.dispose();
    await expect(prepare(1)).rejects.toMatchObject({ code: 'BACKEND_DISPOSED' });
  });

  it('measures its kernel', async () => {
    const report = await benchNativeMatvec({ rows: 65, columns: 100, groupSize: 32, seconds: 0.01 });
    expect(report).toMatchObject({ rows: 65, columns: 100, groupSize: 32 });
    expect(report.calls).toBeGreaterThan(0);
    expect(report.gweightsPerSecond).toBeGreaterThan(0);
    await expect(benchNativeMatvec({ rows: 0, columns: 1, groupSize: 32 })).rejects.toMatchObject({
      code: 'BACKEND_OPTION',
    });
  });
});

describe.skipIf(!available)('runs', () => {
  it('give the same bits on any number of threads, more than the machine has among them', async () => {
    const results = [];
    for (const threads of [1, 2, 3, 7]) results.push(await runTiny(await createNativeBackend({ threads })));
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('give the same bits on any number of threads where each rotates and quantizes for itself', async () => {
    const source = makeTinyModel({ seed: 8, linear: 'w11', rotated: () => true });
    const results = [];
    for (const threads of [1, 2, 3, 7])
      results.push(await runTiny(await createNativeBackend({ threads }), source));
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('give the same bits on any number of threads where outlier columns are taken out', async () => {
    const source = makeTinyModel({
      seed: 9,
      linear: 'w11-outlier',
      rotated: (weight) => !/o_proj/.test(weight),
    });
    const results = [];
    for (const threads of [1, 2, 3, 7])
      results.push(await runTiny(await createNativeBackend({ threads }), source));
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it('give a row the same bits whatever rows are beside it, on every instruction set and cache', async () => {
    const sets = support.available ? support.instructionSets : [];
    for (const [i, isa] of sets.entries())
      for (const [j, kv] of KV_PRECISIONS.entries()) {
        // Many threads share the positions of few rows.
        const backend = await createNativeBackend({
          isa: isa as InstructionSet,
          kv,
          threads: [1, 2, 16][(i + j) % 3]!,
        });
        const window = j % 2 === 0 ? {} : { architecture: { slidingWindow: 150 } };
        await demandRowInvariance(backend, { seed: 10, linear: 'w11', embedding: 'int8', ...window });
        await demandRowInvariance(backend, { seed: 11, linear: 'int4', embedding: 'int4' });
        await backend.dispose();
      }
  });

  it('find the most likely token themselves: the first of equal ones, one that is not a number before all', async () => {
    const sets = support.available ? support.instructionSets : [];
    const { POSITIVE_INFINITY: infinite, NEGATIVE_INFINITY: none, NaN: broken } = Number;
    // At the borders of vectors, and of what is looked at together.
    const rows = 1100;
    const cases: [number, number[]][] = [
      [700, [700, 3, 1099, 3]],
      [0, [0, 1, 1099, 1]],
      [1099, [1099, 2]],
      [513, [513, 5, 514, 5]],
      [511, [511, infinite, 900, infinite]],
      [1098, [2, infinite, 1098, broken]],
      [1, [0, none]],
    ];
    for (const isa of sets) {
      const backend = await createNativeBackend({ isa: isa as InstructionSet, threads: 1 });
      for (const [index, values] of cases) {
        const weights = new Float32Array(rows).fill(-1);
        for (let i = 0; i < values.length; i += 2) weights[values[i]!] = values[i + 1]!;
        if (values[1] === none) weights[1] = 0;
        const { data } = makeDense('w', [rows, 1], 'f32', createRandom(1));
        const planes = { dense: new Uint8Array(weights.buffer) };
        const plan: ExecutionPlan = {
          slots: { x: { kind: 'f32', width: 1 }, y: { kind: 'f32', width: rows } },
          operations: [{ op: 'logits', input: 'x', weight: 'w', out: 'y' }],
          cacheLayers: 0,
          heads: { headCount: 1, kvHeadCount: 1, headSize: 2 },
          ropeFrequencies: new Float64Array(1),
        };
        const program = await backend.prepare(plan, async () => ({ ...data, planes }), {
          capacity: 2,
          maxRows: 2,
        });
        await program.write('x', Float32Array.of(0, 1));
        await program.run({ rows: 2, position: 0, logits: 'all' });
        expect(await program.readBest!('y', 1)).toEqual({ index, value: weights[index] });
        await program.run({ rows: 2, position: 0, logits: 'none' });
        await expect(program.readBest!('y')).rejects.toMatchObject({ code: 'RUN_INVALID' });
        await program.dispose();
      }
      await backend.dispose();
    }
  });

  it('keep f16 unless told otherwise; each precision further from f32 than the one before', async () => {
    expect((await createBackend('native')).kv).toBe('f16');
    expect((await createBackend('wasm', { kv: 'int4' })).kv).toBe('f32');
    const results = new Map<string, number[]>();
    for (const kv of KV_PRECISIONS)
      results.set(kv, await runTiny(await createNativeBackend({ threads: 2, kv })));
    const exact = results.get('f32')!;
    const squares = (values: number[]) => values.reduce((sum, value) => sum + value * value, 0);
    const [, f16, int8, int4] = KV_PRECISIONS.map((kv) =>
      Math.sqrt(squares(results.get(kv)!.map((value, i) => value - exact[i]!)) / squares(exact)),
    );
    // How far each may lie is judged operation by operation in conformance.test.ts.
    expect(f16).toBeGreaterThan(0);
    expect(int8).toBeGreaterThan(f16!);
    expect(int4).toBeGreaterThan(int8!);
    expect(int4).toBeLessThan(0.5);
  });
});

/** Logits of a prompt and three single steps of a tiny model, by default a dense one, on a backend that is then disposed of. */
async function runTiny(
  backend: Awaited<ReturnType<typeof createBackend>>,
  source = makeTinyModel({ seed: 7 }),
): Promise<number[]> {
  const plan = buildPlan(source, { outliers: await readOutlierColumns(source) });
  const read = splitOutliers((name) => source.readTensor(name));
  const program: Program = await backend.prepare(plan, read, { capacity: 40, maxRows: 32 });
  const logits: number[] = [];
  const run = async (tokens: Int32Array, position: number) => {
    await program.write(SLOTS.tokens, tokens);
    await program.run({ rows: tokens.length, position, logits: 'all' });
    logits.push(...(await program.read(SLOTS.logits)));
  };
  await run(
    Int32Array.from({ length: 32 }, (_, i) => i * 7),
    0,
  );
  for (let position = 32; position < 35; position++) await run(Int32Array.of(position), position);
  await program.dispose();
  await backend.dispose();
  return logits;
}

/** The head of an ELF file for 64-bit ARM, or on such a machine for x64. */
function alienLibrary(): Buffer {
  const head = Buffer.alloc(4096);
  head.write('\x7fELF\x02\x01\x01', 'latin1');
  head.writeUInt16LE(3, 16);
  head.writeUInt16LE(process.arch === 'arm64' ? 62 : 183, 18);
  head.writeUInt32LE(1, 20);
  return head;
}

/** A module with the functions of the addon, which do nothing. */
function fakeAddon(version: number, instructionSets: string[]): Buffer {
  return Buffer.from(
    `const f = () => ({}); module.exports = { interface: ${version},
     instructionSets: () => ${JSON.stringify(instructionSets)}, createPool: f, disposePool: f, createProgram: f,
     build: f, write: f, run: f, read: f };`,
  );
}
