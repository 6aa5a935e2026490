/** How the tests run: against one real Postgres and one real Redis, which `test/support/global-setup.ts` starts. */
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // Each file runs servers and workers of its own, and waits for them most of the time; many at once make time-outs.
    maxWorkers: 4,
    // Loading everything anew for each file costs minutes. What a file changes for its process it restores at its end.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
})
