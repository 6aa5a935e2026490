/**
 * graphile-worker, one job a message, with its local queue and with jobs completed in batches. A message that is
 * not final is added again under the same key, for later.
 */
import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker'
import pg from 'pg'
import { type Alternative, createAsker } from './alternative.ts'

const TASK = 'ask'
const CONCURRENT_JOBS = 50
const JOBS_FETCHED = 500
const LOOK_EVERY_MS = 100
const logger = new Logger(() => () => {})

export const graphileWorker: Alternative = {
  prepare: ({ databaseUrl }) => runMigrations({ connectionString: databaseUrl, logger }),
  async openScheduler({ databaseUrl }) {
    const utils = await makeWorkerUtils({ connectionString: databaseUrl, logger })
    return {
      async add(messages) {
        await utils.addJobs(
          messages.map(({ messageId, dueAt }) => ({
            identifier: TASK,
            payload: { messageId },
            runAt: dueAt,
            jobKey: messageId,
          })),
        )
      },
      close: async () => utils.release(),
    }
  },
  async work(site) {
    const asker = createAsker(site)
    const pgPool = new pg.Pool({ connectionString: site.databaseUrl, max: CONCURRENT_JOBS + 2 })
    const runner = await run({
      pgPool,
      logger,
      noHandleSignals: true,
      pollInterval: LOOK_EVERY_MS,
      preset: {
        worker: {
          concurrentJobs: CONCURRENT_JOBS,
          localQueue: { size: JOBS_FETCHED },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
      taskList: {
        async [TASK](payload, { job, addJob }) {
          const { messageId, polls = 0 } = payload as { messageId: string; polls?: number }
          const runAt = await asker.ask(messageId, polls)
          if (runAt) await addJob(TASK, { messageId, polls: polls + 1 }, { runAt, jobKey: job.key ?? messageId })
        },
      },
    })
    return {
      async close() {
        await runner.stop()
        await pgPool.end()
        await asker.close()
      },
    }
  },
}
