/**
 * Every route as the OpenAPI document describes it: what it does, what it takes, what it answers, with examples. The
 * schemas are those that validate (see the routes) and those of `answers.ts`.
 */
import { z } from 'zod'
import { trackingOrderSchema } from '../tracking-order.ts'
import {
  accountListSchema,
  changePageSchema,
  failedCallbacksSchema,
  livenessSchema,
  messageDetailsSchema,
  messagePageSchema,
  polledMessageSchema,
  polledSchema,
  readinessSchema,
  replayedSchema,
  trackedSchema,
  webhookAnswerSchema,
} from './answers.ts'
import { callbacksQuerySchema, replaySchema } from './callbacks.ts'
import { changesQuerySchema } from './changes.ts'
import * as examples from './examples.ts'
import { filterSchema, listQuerySchema } from './list-query.ts'
import { messagePathSchema, recipientQuerySchema, trackQuerySchema } from './messages.ts'

export const TAGS = {
  Messages: 'Track what the provider accepted, and look at what became of it.',
  Changes: 'Be told of every change of a status, in order.',
  Accounts: 'How the accounts are doing at their providers.',
  Webhooks: 'Where providers deliver their receipts.',
  Operation: 'Liveness, readiness, metrics, and this description. Bull Board is at `/queues`.',
} as const

interface Parameter {
  in: 'path' | 'query'
  name: string
  schema: z.ZodType
  required: boolean
  description: string
}

export interface Answer {
  description: string
  /** The schema of a JSON answer, or the content type of another one. */
  content: z.ZodType | string
  example?: unknown
}

export interface Operation {
  id: string
  method: 'get' | 'post'
  path: string
  tag: keyof typeof TAGS
  summary: string
  description?: string
  /** Answers without an API key. */
  isPublic?: true
  parameters?: Parameter[]
  /** The schema of a JSON body, or the content type of another one. */
  body?: { description: string; content: z.ZodType | string; example?: unknown }
  answers: Record<number, Answer>
  /** The problems it answers with beside those of every route. */
  problems?: (keyof typeof examples.problems)[]
}

const messagePath = parametersOf('path', messagePathSchema, {
  account: 'The name of the account.',
  messageId: 'The message ID, in any form the provider knows. No NUL characters.',
})
const recipient = parametersOf('query', recipientQuerySchema, {
  recipient:
    'One of the recipients, where one reference has several. In any form: `0031…`, `+31…` and `31…` are the same.',
})

const messageOperations: Operation[] = [
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
]

const pollOperation: Operation = {
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
  answers: { 202: { description: 'They are due.', content: polledSchema, example: { polled: 412, nextCursor: null } } },
  problems: ['invalidBody', 'notJson'],
}

const changeOperations: Operation[] = [
  {
    id: 'listChanges',
    method: 'get',
    path: '/v1/changes',
    tag: 'Changes',
    summary: 'Follow the changes',
    description:
      'Every change of a status in the order of the commits, whoever found it. Begin without `after` for the oldest change that is kept, or with `after=latest` for what comes from now on; then pass `next` of each answer as `after`. With `wait` the answer is held back until there is a change.\n\nStore `next` together with what you did with the changes, and none is missed or done twice.',
    parameters: parametersOf('query', changesQuerySchema, {
      after: 'The `next` of an earlier answer, or `latest`.',
      limit: 'The most changes of an answer.',
      wait: 'For how many seconds the answer may be held back while there is no change.',
    }),
    answers: { 200: { description: 'The next changes.', content: changePageSchema, example: examples.changePage } },
    problems: ['invalidQuery', 'cursorTooOld'],
  },
  {
    id: 'listFailedCallbacks',
    method: 'get',
    path: '/v1/callbacks',
    tag: 'Changes',
    summary: 'Callbacks that failed for good',
    description:
      'A callback that is not taken with a 2xx is tried again with growing pauses for three days, unless the receiver says that it is gone (410). What has failed then is kept here.',
    parameters: parametersOf('query', callbacksQuerySchema, { limit: 'The most callbacks of an answer.' }),
    answers: {
      200: { description: 'The failed ones.', content: failedCallbacksSchema, example: examples.failedCallbacks },
    },
    problems: ['invalidQuery'],
  },
  {
    id: 'replayCallbacks',
    method: 'post',
    path: '/v1/callbacks/replay',
    tag: 'Changes',
    summary: 'Try failed callbacks again',
    description: 'Makes callbacks that failed for good due again, for another three days.',
    body: { description: 'Which ones.', content: replaySchema, example: { changes: [4711] } },
    answers: { 202: { description: 'They are due.', content: replayedSchema, example: { replayed: 1 } } },
    problems: ['invalidBody', 'notJson'],
  },
  {
    id: 'listAccounts',
    method: 'get',
    path: '/v1/accounts',
    tag: 'Accounts',
    summary: 'The health of the accounts',
    description:
      'The look-up in use at each account, and whether the provider gives good answers: since when not, why, and until when nothing is asked.',
    answers: { 200: { description: 'The accounts.', content: accountListSchema, example: examples.accountList } },
  },
]

const webhookPath = parametersOf('path', z.object({ account: z.string() }), { account: 'The name of the account.' })
const webhookToken = parametersOf('path', z.object({ token: z.string() }), {
  token: 'The `webhookToken` of the account.',
})

const webhookOperations: Operation[] = (['get', 'post'] as const).flatMap((method) =>
  [false, true].map(
    (hasToken): Operation => ({
      id: `${method === 'get' ? 'receiveReceiptByGet' : 'receiveReceipt'}${hasToken ? 'WithToken' : ''}`,
      method,
      path: hasToken ? '/webhooks/{account}/{token}' : '/webhooks/{account}',
      tag: 'Webhooks',
      summary: `Deliver a receipt${method === 'get' ? ' in the query' : ''}${hasToken ? ', with a token' : ''}`,
      description: hasToken
        ? 'For accounts with a `webhookToken`. With a `signingKey` the signature is required too.'
        : 'For the provider. JSON, XML, forms and fields in the query are read, one receipt or many, compressed or not, in any charset, whatever the content type says. With a `signingKey` the signature is required; an account with neither key nor token takes receipts on a loopback `HOST` only. 200 means that the database has the receipt; after 503 the provider tries again.',
      isPublic: true,
      parameters: hasToken ? [...webhookPath, ...webhookToken] : webhookPath,
      ...(method === 'post' ? { body: { description: 'In the provider’s own words.', content: '*/*' } } : {}),
      answers: { 200: { description: 'Stored.', content: webhookAnswerSchema, example: { reports: 1 } } },
      problems: [
        'unreadableReceipt',
        'wrongToken',
        'noToken',
        'noAccount',
        ...(method === 'post' ? (['tooLarge'] as const) : []),
      ],
    }),
  ),
)

const otherOperations: Operation[] = [
  {
    id: 'getLiveness',
    method: 'get',
    path: '/health/live',
    tag: 'Operation',
    summary: 'Liveness',
    isPublic: true,
    answers: { 200: { description: 'The process answers.', content: livenessSchema, example: { status: 'ok' } } },
  },
  {
    id: 'getReadiness',
    method: 'get',
    path: '/health/ready',
    tag: 'Operation',
    summary: 'Readiness',
    description: 'Whether database and queue answer and the migrations are applied.',
    isPublic: true,
    answers: {
      200: { description: 'All is well.', content: readinessSchema, example: examples.ready },
      503: { description: 'Something is away.', content: readinessSchema, example: examples.notReady },
    },
  },
  {
    id: 'getMetrics',
    method: 'get',
    path: '/metrics',
    tag: 'Operation',
    summary: 'Metrics for Prometheus',
    answers: { 200: { description: 'The metrics.', content: 'text/plain' } },
  },
  {
    id: 'getOpenApi',
    method: 'get',
    path: '/openapi.json',
    tag: 'Operation',
    summary: 'This description as an OpenAPI document',
    answers: { 200: { description: 'OpenAPI 3.1.', content: 'application/json' } },
  },
  {
    id: 'getDocs',
    method: 'get',
    path: '/docs',
    tag: 'Operation',
    summary: 'This description as a page',
    answers: { 200: { description: 'HTML that loads nothing else.', content: 'text/html' } },
  },
]

export const operations: readonly Operation[] = [
  ...messageOperations,
  pollOperation,
  ...changeOperations,
  ...webhookOperations,
  ...otherOperations,
]

/** The parameters of a schema, each with a description; one without does not compile. */
function parametersOf<S extends z.ZodRawShape>(
  place: Parameter['in'],
  { shape }: z.ZodObject<S>,
  descriptions: Record<keyof S, string>,
): Parameter[] {
  return Object.entries(shape).map(([name, schema]) => ({
    in: place,
    name,
    schema: schema as z.ZodType,
    required: !(schema as z.ZodType).safeParse(undefined).success,
    description: descriptions[name] ?? '',
  }))
}
