// Operations that run as one must leave every slot as they do one by one, to the bit; and what a step costs is counted.
import { buildPlan, createRandom, readOutlierColumns, SLOTS, splitOutliers } from '@duobit/core';
import { makeTinyModel } from '@duobit/testkit';

const QUANTIZED = { seed: 90, linear: 'w11', embedding: 'int8' };
const MODELS = [
  ['W(1+1)A4', QUANTIZED],
  [
    'W(1+1)A4 without offsets, odd sizes',
    {
      ...QUANTIZED,
      offsets: false,
      groupSize: 32,
      architecture: { hiddenSize: 36, intermediateSize: 91, headCount: 3, kvHeadCount: 1, headSize: 12 },
    },
  ],
  ['W(1+1)A4 on rotated inputs with outliers', { ...QUANTIZED, linear: 'w11-outlier', rotated: () => true }],
];

/** Every f32 slot and the codes after a prompt, a step and a step back. */
async function readAll(backend, source, plan) {
  const program = await backend.prepare(
    plan,
    splitOutliers((name) => source.readTensor(name)),
    { capacity: 140, maxRows: 130 },
  );
  const random = createRandom(3);
  const found = [];
  try {
    for (const [position, rows] of [
      [0, 7],
      [7, 1],
      [8, 130],
      [138, 1],
      [4, 2],
    ]) {
      await program.write(
        SLOTS.tokens,
        Int32Array.from({ length: rows }, () => Math.floor(random() * 256)),
      );
      await program.run({ rows, position, logits: 'last' });
      for (const name of Object.keys(plan.slots))
        found.push([`${name} at ${position}`, await program.read(name)]);
    }
    return { found, counters: program.counters };
  } finally {
    await program.dispose();
  }
}

/** @throws Error that names the first value that differs */
export async function checkFusion(openWith) {
  const [fused, single] = [await openWith({}), await openWith({ fuse: false })];
  try {
    for (const [name, options] of MODELS) {
      const source = makeTinyModel(options);
      const plan = buildPlan(
        { ...source, architecture: { ...source.architecture, contextLength: 140 } },
        { outliers: await readOutlierColumns(source) },
      );
      const [a, b] = [await readAll(fused, source, plan), await readAll(single, source, plan)];
      for (const [i, [label, values]] of a.found.entries())
        for (const [at, value] of values.entries())
          if (!Object.is(value, b.found[i][1][at]))
            throw new Error(
              `${name}: ${label}, value ${at} is ${value} fused, ${b.found[i][1][at]} one by one`,
            );
    }
  } finally {
    await Promise.all([fused.dispose(), single.dispose()]);
  }
}
