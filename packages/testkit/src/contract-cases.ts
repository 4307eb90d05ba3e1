// What every backend owes its callers beside right numbers: clear refusals, a program that goes on after them, sums kept
// over runs, the same bits for the same run.
import { type Backend, buildPlan, type Program, SLOTS } from '@duobit/core';
import type { PlaneRole } from '@duobit/format';
import { compareValues, exactly } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { demand, demandCode } from './demand.ts';
import { f32, matMulPlan, operationPlan, runOf } from './operation-plans.ts';
import { createRandom, drawActivations } from './random-values.ts';
import { makeDense, makeInteger, makeW11 } from './tensors.ts';
import { makeTinyModel } from './tiny-model.ts';

async function withTiny<T>(backend: Backend, use: (program: Program) => Promise<T>): Promise<T> {
  const source = makeTinyModel({ seed: 80, linear: 'w11', embedding: 'int8' });
  const program = await backend.prepare(buildPlan(source), (name) => source.readTensor(name), {
    capacity: 12,
    maxRows: 4,
  });
  try {
    return await use(program);
  } finally {
    await program.dispose();
  }
}

export function contractCases(): ConformanceCase[] {
  return [
    {
      name: 'plans that do not fit are refused when prepared',
      run: async (backend) => {
        const draw = createRandom(81);
        const dense = makeDense('w', [3, 5], 'f32', draw);
        const w11 = makeW11('w', 3, 5, { groupSize: 32, offsets: true }, draw);
        const prepare = (plan: Parameters<Backend['prepare']>[0], tensor = dense, maxRows = 1) =>
          backend.prepare(plan, async () => tensor.data, { capacity: 1, maxRows });
        const slots = { x: f32(5), y: f32(3) };
        const multiply = (input: string, out: string) =>
          operationPlan(slots, [{ op: 'denseMatMul', input, weight: 'w', out }]);
        await demandCode('PLAN_INVALID', 'unknown slot', () => prepare(multiply('z', 'y')));
        await demandCode('PLAN_INVALID', 'inherited name', () => prepare(multiply('constructor', 'y')));
        await demandCode('PLAN_INVALID', 'swapped widths', () => prepare(multiply('y', 'x')));
        await demandCode('PLAN_INVALID', 'wrong encoding', () => prepare(multiply('x', 'y'), w11));
        await demandCode('PLAN_INVALID', 'dense weight in w11MatMul', () =>
          prepare(matMulPlan(dense, 'w11MatMul')),
        );
        await demandCode('BACKEND_OPTION', 'no rows', () => prepare(multiply('x', 'y'), dense, 0));
        await demandCode('PLAN_INVALID', 'wrong kind', () =>
          prepare(
            operationPlan({ x: f32(5), y: f32(25) }, [
              { op: 'accumulateGram', input: 'x', other: null, out: 'y' },
            ]),
          ),
        );
        const sums = { x: f32(5), y: f32(4), s: { kind: 'stat', width: 25 } } as const;
        const add = (other: string | null) =>
          ({ op: 'accumulateGram', input: 'x', other, out: 's' }) as const;
        await demandCode('PLAN_INVALID', 'sums of another width', () =>
          prepare(operationPlan({ ...sums, s: { kind: 'stat', width: 5 } }, [add(null)])),
        );
        await demandCode('PLAN_INVALID', 'another input of another width', () =>
          prepare(operationPlan(sums, [add('y')])),
        );
        await demandCode('PLAN_INVALID', 'two operations on the same sums', () =>
          prepare(operationPlan(sums, [add(null), add('x')])),
        );
      },
    },
    {
      name: 'tensors with missing or short planes are refused when prepared',
      run: async (backend) => {
        const draw = createRandom(83);
        const made = [
          makeDense('w', [3, 40], 'f16', draw),
          makeInteger('w', 3, 40, 'int8', 32, draw),
          makeInteger('w', 3, 40, 'int4', 32, draw),
          makeW11('w', 3, 40, { groupSize: 32, offsets: true }, draw),
        ];
        for (const tensor of made) {
          const { kind } = tensor.data.info.encoding;
          const plan = matMulPlan(tensor, kind === 'w11' ? 'w11MatMul' : 'denseMatMul');
          const { planes } = tensor.data;
          for (const role of Object.keys(planes)) {
            const prepareWith = (plane: Uint8Array<ArrayBuffer> | undefined) =>
              backend.prepare(plan, async () => ({ ...tensor.data, planes: { ...planes, [role]: plane } }), {
                capacity: 1,
                maxRows: 1,
              });
            const plane = planes[role as PlaneRole]!;
            await demandCode('PLANE_MISSING', `${kind} without ${role}`, () => prepareWith(undefined));
            await demandCode('PLANE_LENGTH', `${kind} with short ${role}`, () => prepareWith(plane.slice(1)));
          }
        }
      },
    },
    {
      name: 'runs that do not fit are refused, and the program goes on',
      run: (backend) =>
        withTiny(backend, async (program) => {
          const request = { rows: 2, position: 0, logits: 'last' } as const;
          await demandCode('RUN_INVALID', 'read before a run', () => program.read(SLOTS.logits));
          await program.write(SLOTS.tokens, Int32Array.of(5, 6));
          await program.run(request);
          const before = await program.read(SLOTS.logits);
          await demandCode('RUN_INVALID', 'no rows', () => program.run({ ...request, rows: 0 }));
          await demandCode('RUN_INVALID', 'too many rows', () => program.run({ ...request, rows: 5 }));
          await demandCode('RUN_INVALID', 'past the capacity', () =>
            program.run({ ...request, position: 11 }),
          );
          await demandCode('RUN_INVALID', 'negative position', () =>
            program.run({ ...request, position: -1 }),
          );
          await demandCode('RUN_INVALID', 'half a row', () =>
            program.write(SLOTS.residual, new Float32Array(7)),
          );
          await demandCode('RUN_INVALID', 'too many values', () =>
            program.write(SLOTS.tokens, new Int32Array(5)),
          );
          await demandCode('RUN_INVALID', 'wrong array', () =>
            program.write(SLOTS.tokens, new Float32Array(1)),
          );
          await demandCode('RUN_INVALID', 'unknown slot', () =>
            program.write('nowhere', new Float32Array(1)),
          );
          await demandCode('RUN_INVALID', 'unknown slot', () => program.read('nowhere'));
          for (const token of [-1, 260]) {
            await program.write(SLOTS.tokens, Int32Array.of(5, token));
            await demandCode('RUN_INVALID', `token ${token}`, () => program.run(request));
          }
          await program.write(SLOTS.tokens, Int32Array.of(5, 6));
          await program.run(request);
          compareValues('logits after refusals', await program.read(SLOTS.logits), exactly(before));
        }),
    },
    {
      name: 'the same run gives the same bits, and rows read are those of the run',
      run: (backend) =>
        withTiny(backend, async (program) => {
          demand(program.weightBytes > 0, 'weightBytes is not positive');
          await program.write(SLOTS.tokens, Int32Array.of(1, 2, 3, 4));
          await program.run({ rows: 4, position: 0, logits: 'all' });
          const all = await program.read(SLOTS.logits);
          demand(all.length === 4 * 260, `${all.length} logits for 4 rows of 260`);
          await program.run({ rows: 4, position: 0, logits: 'all' });
          compareValues('logits of the second run', await program.read(SLOTS.logits), exactly(all));
          await program.run({ rows: 4, position: 0, logits: 'last' });
          compareValues('last logits', await program.read(SLOTS.logits), exactly(all.subarray(3 * 260)));
          await program.run({ rows: 3, position: 0, logits: 'none' });
          demand((await program.read(SLOTS.logits)).length === 0, 'logits were read that no one asked for');
          demand((await program.read(SLOTS.residual)).length === 3 * 64, 'residual has not 3 rows');
        }),
    },
    {
      name: 'reading gives a copy, and two programs do not disturb each other',
      run: async (backend) => {
        const draw = createRandom(82);
        const tensors = [makeDense('w', [4, 8], 'f32', draw), makeDense('w', [4, 8], 'f32', draw)];
        const programs: Program[] = [];
        for (const tensor of tensors)
          programs.push(
            await backend.prepare(matMulPlan(tensor, 'denseMatMul'), async () => tensor.data, {
              capacity: 1,
              maxRows: 1,
            }),
          );
        const x = drawActivations(draw, 8);
        for (const program of programs) await program.write('x', x);
        await programs[0]!.run(runOf(1));
        const first = await programs[0]!.read('y');
        const kept = first.slice();
        await programs[1]!.run(runOf(1));
        first.fill(99);
        compareValues('the first program', await programs[0]!.read('y'), exactly(kept));
        await programs[1]!.dispose();
        await programs[0]!.run(runOf(1));
        compareValues('after disposing the second', await programs[0]!.read('y'), exactly(kept));
        await programs[0]!.dispose();
      },
    },
    {
      name: 'a disposed program refuses work, and disposing twice is harmless',
      run: (backend) =>
        withTiny(backend, async (program) => {
          await program.dispose();
          await program.dispose();
          await demandCode('BACKEND_DISPOSED', 'run', () =>
            program.run({ rows: 1, position: 0, logits: 'last' }),
          );
          await demandCode('BACKEND_DISPOSED', 'read', () => program.read(SLOTS.logits));
          await demandCode('BACKEND_DISPOSED', 'write', () => program.write(SLOTS.tokens, Int32Array.of(1)));
        }),
    },
  ];
}
