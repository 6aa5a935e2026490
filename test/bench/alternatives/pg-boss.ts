/**
 * pg-boss, one job a message, fetched and completed in batches by two loops at its shortest interval. A message that
 * is not final is sent again, for later.
 */
import PgBoss from 'pg-boss'
import { type Alternative, createAsker, type Site } from './alternative.ts'

const QUEUE = 'messages'
const JOBS_FETCHED = 1000
const LOOPS = 2
const LOOK_EVERY_S = 0.5

interface Payload {
  messageId: string
  polls?: number
}

export const pgBoss: Alternative = {
  async prepare(site) {
    const boss = await open(site)
    await boss.createQueue(QUEUE)
    await boss.stop({ graceful: false })
  },
  async openScheduler(site) {
    const boss = await open(site)
    return {
      add: (messages) =>
        boss.insert(messages.map(({ messageId, dueAt }) => ({ name: QUEUE, data: { messageId }, startAfter: dueAt }))),
      close: () => boss.stop({ graceful: false }),
    }
  },
  async work(site) {
    const asker = createAsker(site)
    const boss = await open(site)
    const askOne = async ({ messageId, polls = 0 }: Payload) => {
      const startAfter = await asker.ask(messageId, polls)
      if (startAfter) await boss.send(QUEUE, { messageId, polls: polls + 1 }, { startAfter })
    }
    const options = { batchSize: JOBS_FETCHED, pollingIntervalSeconds: LOOK_EVERY_S }
    for (let loop = 0; loop < LOOPS; loop += 1) {
      await boss.work<Payload>(QUEUE, options, (jobs) => Promise.all(jobs.map(({ data }) => askOne(data))))
    }
    return {
      async close() {
        await boss.stop()
        await asker.close()
      },
    }
  },
}

async function open({ databaseUrl }: Site): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: databaseUrl, schedule: false })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  return boss
}
