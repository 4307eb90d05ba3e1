// One vitest run over all packages, on their sources (condition @duobit/source), so no build is needed first.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['@duobit/source'] },
  ssr: { resolve: { conditions: ['@duobit/source'], externalConditions: ['@duobit/source'] } },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts'],
    testTimeout: 60_000,
    pool: 'forks',
  },
});
