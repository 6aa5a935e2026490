/** How the tests run: against one real Postgres and one real Redis, which `test/support/global-setup.ts` starts. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // Each file runs servers and workers of its own: more at once than there are cores makes time-outs, not speed.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
})
