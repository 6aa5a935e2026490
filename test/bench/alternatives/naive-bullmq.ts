/**
 * Naive BullMQ: one delayed job a message. The job asks about its one ID, writes one row, and goes back to delayed until
 * the status is final; then it is removed.
 */
import { DelayedError, type Job, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { type Alternative, createAsker, REQUESTS_AT_ONCE, type Scheduled } from './alternative.ts'

const QUEUE = 'messages'
const PREFIX = '{bench}'

export const naiveBullmq: Alternative = {
  async openScheduler({ redisUrl }) {
    const connection = new Redis(redisUrl, { maxRetriesPerRequest: null })
    const queue = new Queue(QUEUE, { connection, prefix: PREFIX })
    return {
      add: async (messages) => void (await queue.addBulk(jobsOf(messages))),
      async close() {
        await queue.close()
        connection.disconnect()
      },
    }
  },
  async work(site) {
    const connection = new Redis(site.redisUrl, { maxRetriesPerRequest: null })
    const asker = createAsker(site)
    const askAgain = async (job: Job, token?: string) => {
      const next = await asker.ask(job.data.messageId, job.attemptsStarted - 1)
      if (!next) return
      await job.moveToDelayed(next.getTime(), token)
      throw new DelayedError()
    }
    const worker = new Worker(QUEUE, askAgain, { connection, prefix: PREFIX, concurrency: REQUESTS_AT_ONCE })
    await worker.waitUntilReady()
    return {
      async close() {
        await worker.close()
        connection.disconnect()
        await asker.close()
      },
    }
  },
}

/** The ID of the job is the message's, so that one added twice is there once. */
function jobsOf(messages: readonly Scheduled[]) {
  const now = Date.now()
  return messages.map(({ messageId, dueAt }) => ({
    name: 'ask',
    data: { messageId },
    opts: { jobId: `m${messageId}`, delay: Math.max(0, dueAt.getTime() - now), removeOnComplete: true },
  }))
}
