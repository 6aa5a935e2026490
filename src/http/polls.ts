/** Asking the provider now, about one message or about all that match. */
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { endPause } from '../core/account-health.ts'
import { LastwordError } from '../core/errors.ts'
import { findHealth, moveHealth } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { listMessages } from '../db/list.ts'
import type { MessageRow } from '../db/messages.ts'
import { pollNow } from '../db/moves.ts'
import { findQuestions } from '../db/status-queries.ts'
import type { Queues } from '../jobs/queues.ts'
import type { Learner } from '../learner.ts'
import type { Accounts } from '../tracking.ts'
import { describePause } from './accounts.ts'
import { record } from './acts.ts'
import { describeAsking, type FindBlocks, toBlock, whyNeverAsked } from './blocks.ts'
import { filterSchema, readFilter } from './list-query.ts'
import { findOne, messagePathSchema, recipientQuerySchema, toMessage } from './messages.ts'
import { polledMessageSchema, polledSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

export interface PollRoutesOptions {
  db: Db
  accounts: Accounts
  learner: Learner
  queues: Queues
  findBlocks: FindBlocks
}

/** One request makes about so many messages due; the next goes on where it ended. */
const MOST_POLLED = 100_000
const MESSAGES_A_STEP = 1_000

const POLL_ALL: RouteDoc = {
  operationId: 'pollMessages',
  tag: 'Messages',
  summary: 'Ask the provider now about all that match',
  description:
    'Makes every outstanding message due that matches, and ends the pauses of their accounts. The filters are those of the list; without any, all outstanding messages match. About 100,000 become due by one request; with a `nextCursor`, send it again with that as `cursor`.',
  body: filterSchema,
  response: { 202: polledSchema.describe('They are due.') },
  problems: ['invalidBody', 'notJson'],
}

const POLL_ONE: RouteDoc = {
  operationId: 'pollMessage',
  tag: 'Messages',
  summary: 'Ask the provider now',
  description:
    'Makes the message due at once instead of at its `nextPollAt`. Where the account is paused the pause ends, and this message is asked about first. The answer of the provider arrives later, like every other: look at the message again, or follow the changes.',
  params: messagePathSchema,
  querystring: recipientQuerySchema,
  response: { 202: polledMessageSchema.describe('It is asked about next.') },
  problems: ['invalidQuery', 'unknownMessage', 'notAskedAbout'],
}

export function registerPollRoutes(
  server: FastifyInstance,
  { db, accounts, learner, queues, findBlocks }: PollRoutesOptions,
): void {
  server.post('/v1/messages/poll', { config: { doc: POLL_ALL, act: 'poll' } }, async (request, reply) => {
    const { filter, after: begin, cursorOf } = readFilter(accounts, request.body)
    const asked = new Set<string>()
    let after = begin
    const polled = await record(db, request, { account: accounts.get(filter.account ?? '')?.name }, async () => {
      let sum = 0
      do {
        const page = await listMessages(db, { ...filter, outstanding: true, limit: MESSAGES_A_STEP, after })
        const askable = page.messages.filter(({ account }) => whyNeverAsked(accounts, account) === undefined)
        for (const { account } of askable) asked.add(account)
        sum += await pollNow(
          db,
          askable.map(({ id }) => id),
        )
        after = page.next
      } while (after && sum < MOST_POLLED)
      for (const account of asked) await endPauseOf(account)
      return sum
    })
    if (polled > 0) await wakeDispatcher(request.log)
    const blockedBy = await findAllBlocks(asked)
    return reply.code(202).send({ polled, nextCursor: after ? cursorOf(after) : null, blockedBy })
  })

  server.post(
    '/v1/messages/:account/:messageId/poll',
    { config: { doc: POLL_ONE, act: 'poll' } },
    async (request, reply) => {
      const row = await findOne(db, accounts, request)
      const paused = await pauseOf(row.account)
      const { account, messageId } = row
      await record(db, request, { account, messageId }, () => pollOne(row, paused !== undefined))
      await wakeDispatcher(request.log)
      const polled = await findOne(db, accounts, request)
      const asking = await describeAsking(db, polled, await findQuestions(db, polled))
      const blockedBy = await findAllBlocks([account])
      return reply.code(202).send({ ...toMessage(polled), ...asking, ...(paused ? { paused } : {}), blockedBy })
    },
  )

  /** Each cause once, also where it keeps back several accounts. */
  async function findAllBlocks(names: Iterable<string>) {
    const found = (await Promise.all([...names].map(findBlocks))).flat()
    return [...new Map(found.map((block) => [block.message, toBlock(block)])).values()]
  }

  /** Returns 1; throws CONFLICT. */
  async function pollOne(row: MessageRow, isPaused: boolean): Promise<number> {
    const whyNot = row.final ? undefined : whyNotPolled(accounts, row.account)
    if (whyNot) throw new LastwordError('CONFLICT', `The message cannot be asked about: its account ${whyNot}.`)
    if ((await pollNow(db, [row.id], { isFirst: isPaused })) === 0) {
      if (row.sentAt.getTime() > learner.now()) {
        throw new LastwordError(
          'CONFLICT',
          `The message is not asked about yet: it is sent at ${row.sentAt.toISOString()}.`,
        )
      }
      const why = row.final ? `it is ${row.status}` : 'its look-up window has closed'
      throw new LastwordError('CONFLICT', `The message is not asked about any more: ${why}.`)
    }
    if (isPaused) await endPauseOf(row.account)
    return 1
  }

  /** A person who asks ends every wait of an account. */
  async function endPauseOf(account: string): Promise<void> {
    await moveHealth(db, account, (health) => ({ health: endPause(health), events: [] }))
  }

  async function wakeDispatcher(log: FastifyBaseLogger): Promise<void> {
    await queues.dispatch
      .add('poll now', {}, { removeOnComplete: true, removeOnFail: true })
      .catch((error: unknown) => {
        // The message stands due in the database, so the next tick finds it without this job.
        log.warn({ err: error }, 'the dispatcher could not be woken')
      })
  }

  async function pauseOf(account: string) {
    const { health, now } = await findHealth(db, account)
    return describePause(health, now)
  }
}

/** Why nobody asks about an account's messages, in words; undefined where somebody does. */
function whyNotPolled(accounts: Accounts, name: string): string | undefined {
  const why = whyNeverAsked(accounts, name)
  return why && (why === 'query-off' ? `"${name}" is set to query "off"` : `"${name}" is not configured any more`)
}
