/**
 * Every route as the OpenAPI document describes it: what it does, what it takes, what it answers, with examples. The
 * schemas are those that validate (see the routes) and those of `answers.ts`.
 */
import { z } from 'zod'
import { accountPathSchema } from './accounts.ts'
import {
  accountListSchema,
  changePageSchema,
  failedCallbacksSchema,
  livenessSchema,
  readinessSchema,
  replayedSchema,
  scheduleSchema,
  webhookAnswerSchema,
} from './answers.ts'
import { callbacksQuerySchema, replaySchema } from './callbacks.ts'
import { changesQuerySchema } from './changes.ts'
import * as examples from './examples.ts'
import { messageOperations } from './message-operations.ts'
import { type Operation, parametersOf } from './operation.ts'

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
    parameters: parametersOf('query', callbacksQuerySchema, {
      limit: 'The most callbacks of an answer.',
      cursor: 'The `nextCursor` of the page before.',
    }),
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
      'Since when no worker runs, if none does. The look-up in use at each account, and whether the provider gives good answers: since when not, why, and until when nothing is asked. Also whether receipts come, and when messages are asked about, in short.',
    answers: { 200: { description: 'The accounts.', content: accountListSchema, example: examples.accountList } },
  },
  {
    id: 'getSchedule',
    method: 'get',
    path: '/v1/accounts/{account}/schedule',
    tag: 'Accounts',
    summary: 'When messages are asked about, and why',
    description:
      'By the learned policy: the curve of finals that was learned, the share of receipts that is lost, and the ages at which a message is asked about whose receipt does not come.',
    parameters: parametersOf('path', accountPathSchema, { account: 'The name of the account.' }),
    answers: { 200: { description: 'The schedule.', content: scheduleSchema, example: examples.schedule } },
    problems: ['unknownAccount'],
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
    description:
      'Whether the database takes writes and the migrations are applied. Without the queue or without a worker the API is `degraded` and goes on.',
    isPublic: true,
    answers: {
      200: { description: 'Ready, or degraded.', content: readinessSchema, example: examples.ready },
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
  ...changeOperations,
  ...webhookOperations,
  ...otherOperations,
]
