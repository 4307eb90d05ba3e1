// Conformance of decoding: what a run gives does not depend on what was searched for or read before it, nor on whether its tokens are those
// that a text would go on with. Backends may prepare for what comes next; here it does not always come.
import {
  type Backend,
  buildPlan,
  type ExecutionPlan,
  MOST_TOP,
  type Program,
  readOutlierColumns,
  SLOTS,
  splitOutliers,
} from '@duobit/core';
import { demandBits } from './compare.ts';
import type { ConformanceCase } from './conformance.ts';
import { createRandom, drawInteger, type Random } from './random-values.ts';
import { demandSums } from './search-cases.ts';
import { makeTinyModel, type TinyModel, type TinyModelOptions } from './tiny-model.ts';

/** What is looked at after a run. */
type Look = 'best' | 'few' | 'many' | 'sums' | 'warm sums' | 'part' | 'logits' | 'slots' | 'tokens';
const LOOKS: readonly Look[] = [
  'best',
  'few',
  'many',
  'sums',
  'warm sums',
  'part',
  'logits',
  'slots',
  'tokens',
];
const [FEW, MANY] = [3, 40];
const CAPACITY = 40;
/** It is run some two hundred times, on emulators too. */
const SMALL = { blockCount: 1, intermediateSize: 64 };

const MODELS: readonly (readonly [
  string,
  TinyModelOptions,
  change?: (plan: ExecutionPlan) => ExecutionPlan,
])[] = [
  [
    'W(1+1)A4 with int8 embedding',
    { linear: 'w11', embedding: 'int8', architecture: { intermediateSize: 64 } },
  ],
  ['dense f32 without tied head', { architecture: { ...SMALL, tiedHead: false } }],
  ['outlier columns', { linear: 'w11-outlier', groupSize: 128, architecture: SMALL }],
  ['products right behind the embedding', { architecture: SMALL }, withoutNorms],
];

export function decodingCases(): ConformanceCase[] {
  return MODELS.map(([name, options, change], index) => ({
    name: `decoding, read in any order: ${name}`,
    run: async (backend) => {
      const source = makeTinyModel({ seed: 170 + index, ...options });
      const plan = buildPlan(source, { outliers: await readOutlierColumns(source) });
      await decode(backend, source, change?.(plan) ?? plan, createRandom(180 + index));
    },
  }));
}

/** Kernels of norms wait for what is before them, which others may not. */
function withoutNorms(plan: ExecutionPlan): ExecutionPlan {
  const operations = plan.operations.flatMap((operation) => {
    if (operation.op === 'rmsNorm') return [];
    const reads = 'input' in operation && [SLOTS.normed, SLOTS.mlpNormed].includes(operation.input as never);
    return [reads ? { ...operation, input: SLOTS.residual } : operation];
  });
  return { ...plan, operations };
}

async function decode(backend: Backend, source: TinyModel, plan: ExecutionPlan, draw: Random): Promise<void> {
  const sequences = Math.min(3, backend.maxSequences ?? 1);
  const prepare = () =>
    backend.prepare(
      plan,
      splitOutliers((name) => source.readTensor(name)),
      { capacity: CAPACITY, maxRows: 8, sequences },
    );
  // The second is looked at in one way only.
  const [program, plain] = [await prepare(), await prepare()];
  const seen = Object.keys(plan.slots).filter((name) => name !== SLOTS.tokens && name !== SLOTS.logits);
  const { vocabularySize } = source.architecture;
  const token = () => drawInteger(draw, 0, vocabularySize - 1);
  /** Of each sequence: where it is, and the token that it would go on with. */
  const texts = Array.from({ length: sequences }, () => ({ position: 0, next: token() }));

  /** Runs one row of each of some sequences, or a few of one, and compares what is looked at. */
  const run = async (chosen: readonly number[], rows: number, looks: readonly Look[]): Promise<void> => {
    const parts = chosen.map((sequence) => ({
      sequence,
      position: texts[sequence]!.position,
      rows,
      logits: 'last' as const,
    }));
    const tokens = Int32Array.from(
      chosen.flatMap((sequence) =>
        Array.from({ length: rows }, (_, i) => (i === 0 ? texts[sequence]!.next : token())),
      ),
    );
    for (const each of [plain, program]) {
      await each.write(SLOTS.tokens, tokens);
      await each.run({ ...parts[0]!, others: parts.slice(1) });
    }
    const label = `${rows} rows at ${parts.map(({ sequence, position }) => `${position} of ${sequence}`).join(', ')}`;
    const all = new Map<string, Float32Array>();
    for (const name of [...seen, SLOTS.logits]) all.set(name, await plain.read(name));
    const logits = all.get(SLOTS.logits)!;
    for (const look of looks)
      if (look === 'slots')
        for (const name of seen) demandBits(`${label}: ${name}`, await program.read(name), all.get(name)!);
      else if (look === 'logits') demandBits(`${label}: logits`, await program.read(SLOTS.logits), logits);
      else if (look === 'tokens') demandBits(`${label}: tokens`, await program.read(SLOTS.tokens), tokens);
      else
        for (const row of chosen.keys()) {
          const own = logits.subarray(row * vocabularySize, (row + 1) * vocabularySize);
          await demandSearch(program, look, row, own, label);
        }
    for (const [row, sequence] of chosen.entries()) {
      const own = logits.subarray(row * vocabularySize, (row + 1) * vocabularySize);
      texts[sequence] = { position: texts[sequence]!.position + rows, next: rankAll(own)[0]! };
    }
  };

  const anyLooks = () => LOOKS.filter(() => draw() < 0.4).sort(() => draw() - 0.5);
  const goOn = async (chosen: readonly number[]) => {
    for (let i = 0; i < 4; i++) await run(chosen, 1, ['best']);
  };
  for (const turn of [
    'looks',
    'token',
    'back',
    'prompt',
    'nothing',
    'few',
    'many',
    'sums',
    'several',
    'several sums',
    'looks',
    'end',
  ] as const) {
    const sequence = drawInteger(draw, 0, sequences - 1);
    const text = texts[sequence]!;
    // There is room for what comes.
    if (text.position > CAPACITY - 20) text.position = 0;
    await goOn([sequence]);
    const now = texts[sequence]!;
    if (turn === 'looks') {
      for (const look of LOOKS) await run([sequence], 1, ['best', look, 'best', ...anyLooks()]);
    } else if (turn === 'token') {
      now.next = (now.next + 1) % vocabularySize;
      await run([sequence], 1, ['best', 'slots']);
    } else if (turn === 'back') {
      now.position -= 2;
      await run([sequence], 1, ['slots', 'best']);
    } else if (turn === 'prompt') {
      await run([sequence], 5, ['best', 'slots', 'many']);
      await run([sequence], 1, ['best']);
    } else if (turn === 'nothing') {
      for (let i = 0; i < 3; i++) await run([sequence], 1, []);
      await run([sequence], 1, ['slots', 'best']);
    } else if (turn === 'few' || turn === 'many' || turn === 'sums') {
      for (let i = 0; i < 3; i++) await run([sequence], 1, [turn, ...(i === 1 ? anyLooks() : [])]);
    } else if (turn === 'several sums') {
      for (const each of texts) if (each.position > CAPACITY - 20) each.position = 0;
      // As texts sample: sums, then a part. They do not always come in the same order.
      for (let i = 0; i < 5; i++)
        await run(i < 3 ? [...texts.keys()] : [...texts.keys()].reverse(), 1, ['sums', 'part']);
      await run([...texts.keys()], 1, ['warm sums', 'sums', 'few', 'sums']);
    } else if (turn === 'several') {
      const chosen = [...texts.keys()].reverse();
      for (const { position } of texts)
        if (position > CAPACITY - 20) for (const each of texts) each.position = 0;
      await goOn(chosen);
      await run(chosen, 1, ['few', 'slots']);
      await run(chosen, 1, ['best', 'few', 'logits']);
      await run(chosen, 2, ['best']);
    } else {
      while (texts[sequence]!.position < CAPACITY) await run([sequence], 1, ['best']);
    }
  }
  await program.dispose();
  await plain.dispose();
}

/** Places, the largest first, of equal ones the first. */
function rankAll(logits: Float32Array): number[] {
  return [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
}

async function demandSearch(
  program: Program,
  look: 'best' | 'few' | 'many' | 'sums' | 'warm sums' | 'part',
  row: number,
  logits: Float32Array,
  label: string,
): Promise<void> {
  if (look === 'part') {
    const [first, count] = [5, logits.length - 9];
    const part = await program.readPart?.(SLOTS.logits, first, count, row);
    if (part) demandBits(`${label}: a part of row ${row}`, part, logits.subarray(first, first + count));
    return;
  }
  if (look === 'sums' || look === 'warm sums') {
    // Each row's own, so that one taken for another's is seen.
    const temperature = (look === 'sums' ? 0.7 : 1.5) + row / 8;
    const sums = await program.readSums?.(SLOTS.logits, temperature, row);
    if (sums) demandSums(sums, [...logits], temperature);
    return;
  }
  const places = rankAll(logits);
  if (look === 'best') {
    const best = await program.readBest?.(SLOTS.logits, row);
    if (best)
      demandBits(`${label}: best of row ${row}`, [best.index, best.value], [places[0]!, logits[places[0]!]!]);
    return;
  }
  const count = Math.min(look === 'few' ? FEW : MANY, logits.length, MOST_TOP);
  const top = await program.readTop?.(SLOTS.logits, count, row);
  if (!top) return;
  const wanted = places.slice(0, count);
  demandBits(`${label}: best ${count} of row ${row}`, top.indices, wanted);
  demandBits(
    `${label}: values of row ${row}`,
    top.values,
    wanted.map((place) => logits[place]!),
  );
}
