/** The routes of messages as the OpenAPI document describes them. */
import { z } from 'zod'
import { trackingOrderSchema } from '../tracking-order.ts'
import {
  erasedSchema,
  messageDetailsSchema,
  messagePageSchema,
  polledMessageSchema,
  polledSchema,
  trackedSchema,
} from './answers.ts'
import * as examples from './examples.ts'
import { filterSchema, listQuerySchema } from './list-query.ts'
import { messagePathSchema, numberPathSchema, recipientQuerySchema, trackQuerySchema } from './messages.ts'
import { type Operation, parametersOf } from './operation.ts'

const messagePath = parametersOf('path', messagePathSchema, {
  account: 'The name of the account.',
  messageId: 'The message ID, in any form the provider knows. No NUL characters.',
})
const recipient = parametersOf('query', recipientQuerySchema, {
  recipient:
    'One of the recipients, where one reference has several. In any form: `0031…`, `+31…` and `31…` are the same.',
})

export const messageOperations: Operation[] = [
  {
    id: 'trackMessages',
    method: 'post',
    path: '/v1/messages',
    tag: 'Messages',
    summary: 'Track messages',
    description:
      'Tracks 1 to 10,000 messages, all or none unless `partial`; 202 means that the database has them. Tracking a message twice is harmless, so after a time-out send the same body again. The body may have 16 MiB.',
    parameters: parametersOf('query', trackQuerySchema, {
      partial: 'As in the body: tracks the messages that can be tracked, and answers with the others as `refused`.',
    }),
    body: {
      description:
        'The account the messages were sent with, and what the provider answered. Only the IDs are required.',
      content: trackingOrderSchema,
      example: examples.trackingOrder,
    },
    answers: {
      202: {
        description: 'All are tracked, or with `partial` all but those in `refused`.',
        content: trackedSchema,
        example: examples.tracked,
      },
    },
    problems: ['invalidBody', 'unknownAccount', 'tooLarge', 'notJson'],
  },
  {
    id: 'listMessages',
    method: 'get',
    path: '/v1/messages',
    tag: 'Messages',
    summary: 'List messages',
    description:
      'Tracked messages, the latest sent first, without their reports. Filters may be combined. A page may hold fewer messages than `limit`, or none, where few match among many: go on while there is a `nextCursor`.',
    parameters: [
      ...parametersOf('query', listQuerySchema, {
        account: 'Only messages of this account.',
        messageId: 'Only messages with this ID, of whatever account.',
        recipient: 'Only messages to this phone number, in any form.',
        status: 'Only messages with this status.',
        settledBy: 'Only messages whose final status came by a webhook, by a poll, or with the end of the window.',
        error: 'Only messages that failed with this code of the provider.',
        sentAfter: 'Only messages sent at this time or later; with `sentBefore`.',
        sentBefore: 'Only messages sent before this time; with `sentAfter`.',
        outstanding: '`true`: only messages without a final status. `false`: only those with one.',
        limit: 'The most messages of a page.',
        cursor: 'The `nextCursor` of an earlier answer to the same query.',
      }),
      {
        in: 'query',
        name: 'metadata.KEY',
        schema: z.string(),
        required: false,
        description:
          'Only messages whose metadata has this value under KEY, as in `metadata.order=4711`: a text, a number or a boolean. Up to five keys.',
      },
    ],
    answers: { 200: { description: 'A page of messages.', content: messagePageSchema, example: examples.messagePage } },
    problems: ['invalidQuery'],
  },
  {
    id: 'getMessage',
    method: 'get',
    path: '/v1/messages/{account}/{messageId}',
    tag: 'Messages',
    summary: 'Look at one message',
    description: 'One message with every report about it, and what each of them did.',
    parameters: [...messagePath, ...recipient],
    answers: { 200: { description: 'The message.', content: messageDetailsSchema, example: examples.messageDetails } },
    problems: ['invalidQuery', 'unknownMessage', 'severalRecipients'],
  },
  {
    id: 'pollMessage',
    method: 'post',
    path: '/v1/messages/{account}/{messageId}/poll',
    tag: 'Messages',
    summary: 'Ask the provider now',
    description:
      'Makes the message due at once instead of at its `nextPollAt`. Where the account is paused the pause ends, and this message is asked about first. The answer of the provider arrives later, like every other: look at the message again, or follow the changes.',
    parameters: [...messagePath, ...recipient],
    answers: {
      202: { description: 'It is asked about next.', content: polledMessageSchema, example: examples.dueMessage },
    },
    problems: ['invalidQuery', 'unknownMessage', 'notAskedAbout'],
  },
  {
    id: 'eraseMessage',
    method: 'delete',
    path: '/v1/messages/{account}/{messageId}',
    tag: 'Messages',
    summary: 'Erase one message',
    description:
      'Erases the message with its reports, changes and callbacks, and what queues hold of it. Reports of it that come later are dropped.',
    parameters: [...messagePath, ...recipient],
    answers: { 204: { description: 'It is gone.' } },
    problems: ['invalidQuery', 'unknownMessage', 'severalRecipients'],
  },
  {
    id: 'eraseRecipient',
    method: 'delete',
    path: '/v1/recipients/{number}',
    tag: 'Messages',
    summary: 'Erase everything of one phone number',
    description: 'Erases every message to this number, as if one by one.',
    parameters: parametersOf('path', numberPathSchema, { number: 'The phone number, in any form.' }),
    answers: { 200: { description: 'They are gone.', content: erasedSchema, example: { erased: 3 } } },
    problems: ['invalidQuery', 'unknownMessage'],
  },
  {
    id: 'pollMessages',
    method: 'post',
    path: '/v1/messages/poll',
    tag: 'Messages',
    summary: 'Ask the provider now about all that match',
    description:
      'Makes every outstanding message due that matches, and ends the pauses of their accounts. The filters are those of the list; without any, all outstanding messages match. About 100,000 become due by one request; with a `nextCursor`, send it again with that as `cursor`.',
    body: {
      description: 'Which messages.',
      content: filterSchema,
      example: { account: 'seven', metadata: { campaign: 'spring' } },
    },
    answers: {
      202: { description: 'They are due.', content: polledSchema, example: { polled: 412, nextCursor: null } },
    },
    problems: ['invalidBody', 'notJson'],
  },
]
