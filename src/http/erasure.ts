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
import { isOfSeveralCountries, numbersOf, recipientSchema } from './list-query.ts'
import { findOne, messagePathSchema, recipientQuerySchema } from './messages.ts'
import { erasedSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'
import { PROBLEMS } from './openapi/problems.ts'

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
  problems: ['invalidQuery', 'unknownNumber', 'queueAway'],
}

export interface ErasureRoutesOptions {
  db: Db
  accounts: Accounts
  queues: Queues
}

/** One person's messages are not to be erased for another's. */
function ofSeveralCountries(): LastwordError {
  const message =
    'expected a number with + and its country code, because these digits are a number of several countries'
  const issues = [{ path: 'number', message }]
  return new LastwordError('INPUT_INVALID', `The path is not valid. number: ${message}.`, { issues })
}

export function registerErasureRoutes(server: FastifyInstance, { db, accounts, queues }: ErasureRoutesOptions): void {
  server.delete(
    '/v1/messages/:account/:messageId',
    { config: { doc: ERASE_MESSAGE, act: 'erase' } },
    async (request, reply) => {
      const row = await findOne(db, accounts, request)
      await record(db, request, { account: row.account }, async () => (await erase([row.id])).count)
      return reply.code(204).send()
    },
  )

  server.delete('/v1/recipients/:number', { config: { doc: ERASE_RECIPIENT, act: 'erase' } }, async (request) => {
    const { number } = parseInput(numberPathSchema, request.params, 'path')
    if (isOfSeveralCountries(accounts, number)) throw ofSeveralCountries()
    const numbers = numbersOf(accounts, number)
    let areForgotten = true
    const erased = await record(db, request, {}, async () => {
      let sum = 0
      for (let found = MESSAGES_A_STEP; found === MESSAGES_A_STEP; ) {
        const ids = await findByNumber(db, numbers, MESSAGES_A_STEP)
        const step = await erase(ids, numbers)
        found = ids.length
        sum += step.count
        areForgotten &&= step.isForgotten
      }
      return sum
    })
    // The number may stand in jobs that no message leads to, and is nowhere kept to look for it later.
    if (!areForgotten) throw new LastwordError('UNAVAILABLE', PROBLEMS.queueAway.example.detail)
    if (erased > 0) return { erased }
    throw new LastwordError('NOT_FOUND', 'No message to this number is known; check that it has its country code.')
  })

  async function erase(
    ids: readonly number[],
    numbers: readonly string[] = [],
  ): Promise<{ count: number; isForgotten: boolean }> {
    const messages = ids.length > 0 ? await eraseMessages(db, ids) : []
    const isForgotten = await forget({ messages, isErasedNumber: isOneOf(numbers) })
    if (isForgotten && messages.length > 0) await noteForgotten(db, messages)
    return { count: messages.length, isForgotten }
  }

  /** False for queues that do not answer: jobs/expire.ts has them forget erased messages as soon as they do. */
  async function forget(erased: Parameters<Queues['forget']>[0]): Promise<boolean> {
    try {
      await queues.forget(erased)
      return true
    } catch (error) {
      server.log.warn({ err: error }, 'the queues cannot forget what was erased; they will, once they answer')
      return false
    }
  }

  function isOneOf(numbers: readonly string[]): (recipient: string) => boolean {
    if (numbers.length === 0) return () => false
    return (recipient) => numbersOf(accounts, recipient).some((form) => numbers.includes(form))
  }
}
