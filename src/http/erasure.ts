/** Erasing one message, and everything of one phone number. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import type { Db } from '../db/client.ts'
import { eraseMessages, findByNumber, noteForgotten } from '../db/erasure.ts'
import type { Queues } from '../jobs/queues.ts'
import { parseInput } from '../parse-input.ts'
import type { Accounts } from '../tracking.ts'
import { record } from './acts.ts'
import { numbersOf, recipientSchema } from './list-query.ts'
import { findOne, messagePathSchema, recipientQuerySchema } from './messages.ts'
import { erasedSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

const MESSAGES_A_STEP = 1_000

const numberPathSchema = z.object({ number: recipientSchema.describe('The phone number, in any form.') })

const ERASE_MESSAGE: RouteDoc = {
  operationId: 'eraseMessage',
  tag: 'Messages',
  summary: 'Erase one message',
  description:
    'Erases the message with its reports, changes and callbacks, and what queues hold of it. Reports of it that come later are dropped.',
  params: messagePathSchema,
  querystring: recipientQuerySchema,
  response: { 204: { description: 'It is gone.' } },
  problems: ['invalidQuery', 'unknownMessage', 'severalRecipients'],
}

const ERASE_RECIPIENT: RouteDoc = {
  operationId: 'eraseRecipient',
  tag: 'Messages',
  summary: 'Erase everything of one phone number',
  description: 'Erases every message to this number, as if one by one.',
  params: numberPathSchema,
  response: { 200: erasedSchema.describe('They are gone.') },
  problems: ['invalidQuery', 'unknownNumber'],
}

export interface ErasureRoutesOptions {
  db: Db
  accounts: Accounts
  queues: Queues
}

export function registerErasureRoutes(server: FastifyInstance, { db, accounts, queues }: ErasureRoutesOptions): void {
  server.delete(
    '/v1/messages/:account/:messageId',
    { config: { doc: ERASE_MESSAGE, act: 'erase' } },
    async (request, reply) => {
      const row = await findOne(db, accounts, request)
      await record(db, request, { account: row.account }, () => erase([row.id]))
      return reply.code(204).send()
    },
  )

  server.delete('/v1/recipients/:number', { config: { doc: ERASE_RECIPIENT, act: 'erase' } }, async (request) => {
    const { number } = parseInput(numberPathSchema, request.params, 'path')
    const numbers = numbersOf(accounts, number)
    const erased = await record(db, request, {}, async () => {
      let sum = 0
      for (let last = MESSAGES_A_STEP; last === MESSAGES_A_STEP; sum += last) {
        last = await erase(await findByNumber(db, numbers, MESSAGES_A_STEP), numbers)
      }
      return sum
    })
    if (erased > 0) return { erased }
    // A repeat of a request that failed on the way: the number may stand in jobs that no message leads to.
    await queues.forget({ messages: [], isErasedNumber: isOneOf(numbers) })
    throw new LastwordError('NOT_FOUND', 'No message to this number is known; check that it has its country code.')
  })

  async function erase(ids: readonly number[], numbers: readonly string[] = []): Promise<number> {
    if (ids.length === 0) return 0
    const messages = await eraseMessages(db, ids)
    await queues.forget({ messages, isErasedNumber: isOneOf(numbers) })
    await noteForgotten(db, messages)
    return messages.length
  }

  function isOneOf(numbers: readonly string[]): (recipient: string) => boolean {
    if (numbers.length === 0) return () => false
    return (recipient) => numbersOf(accounts, recipient).some((form) => numbers.includes(form))
  }
}
