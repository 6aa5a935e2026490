/** How the tests run: against one real Postgres and one real Redis, which `test/support/global-setup.ts` starts. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // Each file runs servers and workers of its own, and waits for them most of the time; many at once make time-outs.
    maxWorkers: 4,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
})
