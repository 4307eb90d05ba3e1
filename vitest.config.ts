// One vitest run over all packages, on their sources (condition @duobit/source), so no build is needed first.
import { defineConfig } from 'vitest/config';

/** Where CI wants the results as JSON; it takes its last line from them. */
const results = process.env.DUOBIT_TEST_RESULTS;

export default defineConfig({
  resolve: { conditions: ['@duobit/source'] },
  ssr: { resolve: { conditions: ['@duobit/source'], externalConditions: ['@duobit/source'] } },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts', 'bench/**/*.test.mjs'],
    testTimeout: 60_000,
    pool: 'forks',
    ...(results === undefined ? {} : { reporters: ['default', 'json'], outputFile: { json: results } }),
  },
});
