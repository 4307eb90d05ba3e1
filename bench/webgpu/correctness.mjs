// The conformance suite on a variant, and greedy text of real models against the reference backend.
import { createModel, createReferenceBackend } from '@duobit/core';
import { openContainer } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { conformanceCases, makeTinyModel } from '@duobit/testkit';
import { open } from './open.mjs';

export const CONFORMANCE = {
  all: {},
  dot: { tuning: { product: 'dot' } },
  'no-subgroups': { variant: { subgroups: false } },
  bits: { variant: { packedDot: false } },
  'one-stream': { tuning: { streams: 1 } },
  plain: { variant: { packedDot: false, subgroups: false, f16: false } },
  tiles: { tuning: { tileFrom: 1 } },
  'tiles-bits': { tuning: { tileFrom: 1 }, variant: { packedDot: false } },
  'rows-4': { tuning: { rows: 4, workgroup: 256, streams: 0 } },
  'kv-f16': { kv: 'f16' },
  'kv-int8': { kv: 'int8' },
  'kv-int4': { kv: 'int4' },
};

/** @param until milliseconds after which cases are left out, and said to be */
export async function runConformance(name, record, { until, filter = '' }) {
  const options = { kv: 'f32', ...CONFORMANCE[name] };
  const backend = await open(options);
  const started = performance.now();
  const cases = conformanceCases(options.kv).filter((one) => one.name.includes(filter));
  const failures = [];
  let passed = 0;
  let left = 0;
  for (const one of cases) {
    if (performance.now() - started > until) {
      left += 1;
      continue;
    }
    try {
      await one.run(backend);
      passed += 1;
    } catch (error) {
      failures.push(`${one.name}: ${error.message}`);
    }
  }
  const seconds = (performance.now() - started) / 1000;
  const summary = `conformance ${name} (${backend.instructionSet}): ${passed} of ${cases.length} pass${left > 0 ? `, ${left} not run in time` : ''}, ${seconds.toFixed(1)} s, ${backend.pipelines} pipelines`;
  console.log(summary);
  for (const failure of failures.slice(0, 6)) console.log(`  FAIL ${failure.slice(0, 700)}`);
  record('conformance', {
    name,
    variant: backend.instructionSet,
    passed,
    total: cases.length,
    left,
    failures,
  });
  await backend.dispose();
}

async function continueGreedily(model, prompt, count) {
  const tokens = [];
  for await (const event of model.generate(prompt, { maxTokens: count, ignoreEos: true, temperature: 0 }))
    if (event.kind === 'token') tokens.push(event.token);
  return tokens;
}

/** @param files .duo models; small ones, as the reference backend is slow */
export async function runGreedy(record, { files, count = 64 }) {
  const sources = [
    ...(await Promise.all(
      files.map(async (file) => [
        file.split('/').at(-1),
        await openContainer(await createFileSource(file)),
        'Once upon a time',
      ]),
    )),
    [
      'tiny W(1+1)A4',
      makeTinyModel({ seed: 5, linear: 'w11', embedding: 'int8', architecture: { contextLength: 96 } }),
      'Once',
    ],
    [
      'tiny W(1+1)A4 rotated, outliers',
      makeTinyModel({
        seed: 6,
        linear: 'w11-outlier',
        rotated: () => true,
        architecture: { contextLength: 96 },
      }),
      'Once',
    ],
  ];
  for (const [name, source, prompt] of sources) {
    const reference = createReferenceBackend();
    const expected = await createModel(source, reference, {});
    const wanted = await continueGreedily(expected, prompt, count);
    for (const variant of [{}, { packedDot: false, subgroups: false, f16: false }]) {
      let line = '';
      try {
        const backend = await open({ kv: 'f32', variant });
        const model = await createModel(source, backend, {});
        const found = await continueGreedily(model, prompt, count);
        const same = found.findIndex((token, i) => token !== wanted[i]);
        const equal = same === -1 && found.length === wanted.length;
        line = `greedy ${name} (${backend.instructionSet}): ${equal ? `${found.length} tokens equal` : `DIFFERS at token ${same}: ${found.slice(same, same + 4)} for ${wanted.slice(same, same + 4)}`}`;
        record('greedy', { name, variant: backend.instructionSet, equal, tokens: found.length, first: same });
        await model.dispose();
        await backend.dispose();
      } catch (error) {
        line = `greedy ${name}: ${error.message}`;
        record('greedy', { name, error: error.message });
      }
      console.log(line);
    }
  }
}
