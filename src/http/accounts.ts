/**
 * The accounts: whether the provider gives good answers, whether receipts come, and when their messages are asked about.
 */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { type AccountHealth, isPaused, needsProbe } from '../core/account-health.ts'
import { EDGES } from '../core/ages.ts'
import { shareBy } from '../core/curve.ts'
import { LastwordError } from '../core/errors.ts'
import { learnedLag } from '../core/evidence.ts'
import type { Learned } from '../core/learning.ts'
import { agesOf, planOf } from '../core/plan.ts'
import { accountQueueName, SINGLE_QUEUES } from '../core/queue-table.ts'
import { findHealths } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import { countLatest } from '../db/status-queries.ts'
import type { Queues } from '../jobs/queues.ts'
import type { Learner } from '../learner.ts'
import { parseInput } from '../parse-input.ts'
import { firstLookup } from '../plans.ts'
import type { Account } from '../providers/account.ts'
import { lookupInUse } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { findNoWorkerSince } from './health.ts'
import { textSchema } from './list-query.ts'
import { accountListSchema, scheduleSchema } from './openapi/account-answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'

export interface AccountRoutesOptions {
  db: Db
  accounts: Accounts
  learner: Learner
  queues: Queues
}

const accountPathSchema = z.object({ account: textSchema.describe('The name of the account.') })

const LIST: RouteDoc = {
  operationId: 'listAccounts',
  tag: 'Accounts',
  summary: 'The health of the accounts',
  description:
    'Since when no worker runs, if none does. The look-up in use at each account, and whether the provider gives good answers: since when not, why, and until when nothing is asked. Which queues are paused that its messages wait for. Also whether receipts come, and when messages are asked about, in short.',
  response: { 200: accountListSchema.describe('The accounts.') },
}

const SCHEDULE: RouteDoc = {
  operationId: 'getSchedule',
  tag: 'Accounts',
  summary: 'When messages are asked about, and why',
  description:
    'By the learned policy: the curve of finals that was learned, the share of receipts that is lost, and the ages at which a message is asked about whose receipt does not come.',
  params: accountPathSchema,
  response: { 200: scheduleSchema.describe('The schedule.') },
  problems: ['unknownAccount'],
}

export function registerAccountRoutes(server: FastifyInstance, options: AccountRoutesOptions): void {
  const { db, accounts, learner, queues } = options

  server.get('/v1/accounts', { config: { doc: LIST } }, async (request) => {
    const paused = await queues.findPaused().catch((error: unknown) => {
      request.log.warn({ err: error }, 'which queues are paused could not be asked')
      return null
    })
    const { healths, now } = await findHealths(db)
    const noWorker = await findNoWorkerSince(db)
    const requests = await countLatest(db)
    return {
      ...(noWorker === undefined ? {} : { worker: noWorker }),
      accounts: [...accounts.values()].map((account) => {
        const health = healths.get(account.name) ?? {}
        const { bad, trouble, pausedUntil, lastGoodAt } = health
        return {
          account: account.name,
          provider: account.provider,
          query: account.query,
          lookup: lookupInUse(account, health.lookup)?.name ?? null,
          status: trouble ?? 'ok',
          trouble: trouble ? (bad?.reason ?? trouble) : null,
          troubleSince: trouble ? timeOf(bad?.since) : null,
          pausedUntil: isPaused(health, now) ? timeOf(pausedUntil) : null,
          lastGoodAnswer: timeOf(lastGoodAt),
          requestsPerSecond: account.requestsPerSecond,
          requestsLastMinute: requests.get(account.name) ?? 0,
          noGoodAnswerSince: timeOf(bad?.since),
          lastError: bad?.reason ?? null,
          pausedQueues: paused?.filter((queue) => concerns(queue, account)) ?? null,
          webhookRoute: describeRoute(learner.learnedOf(account.name)),
          schedule: describeSchedule(account, learner),
        }
      }),
    }
  })

  server.get('/v1/accounts/:account/schedule', { config: { doc: SCHEDULE } }, async (request) => {
    const { account: name } = parseInput(accountPathSchema, request.params, 'path')
    const account = accounts.get(name)
    if (!account)
      throw new LastwordError('NOT_FOUND', `No account named ${JSON.stringify(name.slice(0, 50))} is configured.`)
    return scheduleOf(account, learner)
  })
}

/** Whether messages of the account wait while this queue is paused. */
function concerns(queue: string, { name, changesQueue }: Account): boolean {
  const own: readonly string[] = [...SINGLE_QUEUES, accountQueueName('status-query', name)]
  return queue === changesQueue || own.includes(queue)
}

function describeRoute({ evidence, route }: Learned) {
  const { state, since, lost } = route
  const hasReceipts = evidence.received > 0
  return { state, since: timeOf(since), lost, lagP95: hasReceipts ? seconds(learnedLag(evidence)) : null }
}

function describeSchedule(account: Account, learner: Learner) {
  const { polling } = account
  const { economy } = learner.planOf(account)
  return {
    policy: polling.policy,
    price: polling.policy === 'learned' ? seconds(polling.priceMs) : null,
    webhookLoss: round(economy.loss),
    finalsSeen: learner.learnedOf(account.name).evidence.seen,
  }
}

/** When messages of an account are asked about and why; every duration in seconds. */
function scheduleOf(account: Account, learner: Learner) {
  const plan = learner.planOf(account)
  const { curve, lagMs } = plan.economy
  const alone = planOf(plan.policy, { ...plan.economy, places: 1 })
  const isPolled = firstLookup(account) !== undefined
  return {
    account: account.name,
    ...describeSchedule(account, learner),
    webhookLagP95: seconds(lagMs),
    alone: isPolled ? agesOf(alone).map(seconds) : [],
    shared: isPolled ? agesOf(plan).map(seconds) : [],
    curve: EDGES.map((age) => [seconds(age), round(shareBy(curve, age))]),
  }
}

/** To the millisecond. */
const seconds = (ms: number) => Math.round(ms) / 1000
/** Four digits say all that has been learned. */
const round = (value: number) => Number(value.toPrecision(4))

/** How an account waits at present; undefined when it does not. */
export function describePause(health: AccountHealth, now: number) {
  if (!needsProbe(health) && !isPaused(health, now)) return undefined
  const { bad, pausedUntil, trouble } = health
  return {
    since: timeOf(bad?.since),
    until: isPaused(health, now) ? timeOf(pausedUntil) : null,
    trouble: bad?.reason ?? trouble ?? null,
  }
}

function timeOf(ms: number | undefined): Date | null {
  return ms === undefined ? null : new Date(ms)
}
