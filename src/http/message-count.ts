/** How many messages match, before something is done to all of them. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Db } from '../db/client.ts'
import { findOutstanding } from '../db/counts.ts'
import { type ListFilter, type ListPlace, listMessages } from '../db/list.ts'
import type { Accounts } from '../tracking.ts'
import { countQuerySchema, readCountQuery } from './list-query.ts'
import { messageCountSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

const MOST_COUNTED = 10_000
const MESSAGES_A_STEP = 1_000
const PATIENCE_MS = 2_000

const COUNT: RouteDoc = {
  operationId: 'countMessages',
  tag: 'Messages',
  summary: 'How many messages match',
  description:
    'Counts the messages that a list with the same filters would have, up to 10,000 and for about two seconds. All that are outstanding, of one account or of all, are counted to the last one.',
  querystring: countQuerySchema.extend({
    'metadata.KEY': z.string().optional().describe('As in the list.'),
  }),
  response: { 200: messageCountSchema.describe('The number.') },
  problems: ['invalidQuery'],
}

export function registerMessageCount(server: FastifyInstance, { db, accounts }: { db: Db; accounts: Accounts }): void {
  server.get('/v1/messages/count', { config: { doc: COUNT } }, async (request) => {
    const filter = readCountQuery(accounts, request.query)
    return isAllOutstanding(filter) ? sumOutstanding(db, filter.account) : countMatching(db, filter)
  })
}

/** Nothing is asked for that the counts by the hour do not know. */
function isAllOutstanding({ account: _account, outstanding, ...others }: ListFilter): boolean {
  return outstanding === true && Object.values(others).every((criterion) => criterion === undefined)
}

async function sumOutstanding(db: Db, account: string | undefined) {
  const hours = [...(await findOutstanding(db, account)).values()].flat()
  return { messages: hours.reduce((sum, { messages }) => sum + messages, 0), isWhole: true }
}

async function countMatching(db: Db, filter: ListFilter) {
  const until = performance.now() + PATIENCE_MS
  let count = 0
  let after: ListPlace | undefined
  do {
    const page = await listMessages(db, { ...filter, limit: MESSAGES_A_STEP, after })
    count += page.messages.length
    after = page.next
  } while (after && count < MOST_COUNTED && performance.now() < until)
  return { messages: count, isWhole: after === undefined }
}
