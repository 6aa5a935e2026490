/**
 * Bull Board at /queues. Phone numbers in tracking orders are cut to their last two digits before they are shown, and callback
 * URLs to their origin. A key that may only look sees no buttons, and what would break a queue under its workers is refused to
 * everybody.
 */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import type { BoardOptions } from '@bull-board/api/typings/app'
import { FastifyAdapter } from '@bull-board/fastify'
import type { FastifyInstance } from 'fastify'
import type { Key } from '../config/keys.ts'
import { blocksOfHealth } from '../core/blocks.ts'
import { LastwordError } from '../core/errors.ts'
import { accountQueueName, describeQueue, isInternal } from '../core/queue-table.ts'
import { findHealths } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import type { Queues } from '../jobs/queues.ts'
import { createKeyFinder } from './auth.ts'
import { recordBoardActs } from './board-acts.ts'
import { sendError } from './errors.ts'

const BASE_PATH = '/queues'

export interface BoardRoutesOptions {
  db: Db
  queues: Queues
  keys: readonly Key[]
  /** The path under which browsers reach the service. */
  prefix: string
  publicUrl: string | undefined
}

export async function registerBoard(server: FastifyInstance, options: BoardRoutesOptions): Promise<void> {
  const { db, queues, keys, prefix, publicUrl } = options
  const serverAdapter = new FastifyAdapter().setBasePath(prefix + BASE_PATH)
  const adapters = queues.all.map((queue) => {
    const externalJobUrl = ({ data }: { data?: Batched }) => messagesUrl(prefix, data)
    const description = describeQueue(queue.name)
    const adapter = new BullMQAdapter(queue, {
      delimiter: '.',
      description,
      ...(isStatusQuery(queue.name) ? { externalJobUrl } : {}),
    })
    adapter.setFormatter('data', masked)
    return adapter
  })
  const findWaits = () =>
    describeWaits(db).catch((error: unknown) => {
      server.log.warn({ err: error }, 'Bull Board cannot say which accounts wait')
      return new Map<string, string>()
    })
  // The host says which of several installations a tab shows.
  const environment = publicUrl ? { label: new URL(publicUrl).host, color: '#334155', textColor: '#ffffff' } : undefined
  const uiConfig = { boardTitle: 'Lastword', ...(environment ? { environment } : {}) }
  createBullBoard({ queues: adapters, serverAdapter, options: { uiConfig, handlerHooks: hooksFor(keys, findWaits) } })
  await server.register(async (board) => {
    board.addHook('onRequest', async (request, reply) => {
      if (!UNREADABLE.test(request.url)) return
      const detail = 'Expected a URL without NUL characters, and no percent sign in the name of a queue.'
      return sendError(new LastwordError('INPUT_INVALID', detail), request, reply)
    })
    recordBoardActs(board, BASE_PATH, options)
    await board.register(serverAdapter.registerPlugin(), { prefix: BASE_PATH })
  })
}

/** The board fails at these: it takes a NUL to the database, and decodes the name of a queue twice. */
const UNREADABLE = /%00|[?&]activeQueue=[^&]*%25/

interface Batched {
  account?: unknown
  batch?: unknown
}

/** Jobs of these queues name a batch. */
function isStatusQuery(queue: string): boolean {
  return isInternal(queue) && queue.startsWith(accountQueueName('status-query', ''))
}

/** The messages that a job asked about. */
function messagesUrl(prefix: string, { account, batch }: Batched = {}) {
  const query = new URLSearchParams({ account: String(account), batch: String(batch) })
  return { href: `${prefix}/messages?${query}`, displayText: 'Its messages' }
}

/** Acts on a queue that would take its settings and schedule away while its workers run. */
const BREAKING = /^\/api\/queues\/:queueName\/(obliterate|job-schedulers\/:schedulerId(\/remove)?)$/

/** For each queue whose account waits, or gets no good answer: why, and until when. */
async function describeWaits(db: Db): Promise<Map<string, string>> {
  const { healths, now } = await findHealths(db)
  const waits = [...healths].flatMap(([account, health]): [string, string][] =>
    blocksOfHealth({ account, health, now }).map(({ message }) => [accountQueueName('status-query', account), message]),
  )
  return new Map(waits)
}

function hooksFor(
  keys: readonly Key[],
  findWaits: () => Promise<ReadonlyMap<string, string>>,
): NonNullable<BoardOptions['handlerHooks']> {
  const find = createKeyFinder(keys)
  return {
    before({ method, route, request }) {
      if (method !== 'get' && holdsCut(request.body)) return { allow: false, status: 409, message: CUT }
      if (method === 'get' || !BREAKING.test(route) || !isInternal(request.params.queueName)) return
      const message =
        'Lastword needs this queue, its settings and its schedule: pause it instead, or clean the jobs of one state.'
      return { allow: false, status: 403, message }
    },
    async after({ route, request }, result) {
      const { body } = result
      if (route !== '/api/queues' || typeof body !== 'object' || !('queues' in body)) return result
      const mayChange = keys.length === 0 || find(request.headers.authorization)?.grants === 'change'
      const waits = await findWaits()
      const queues = body.queues.map((queue: { name: string; description?: string }) => {
        const wait = waits.get(queue.name)
        const description = wait ? `At present ${wait}. ${queue.description ?? ''}` : queue.description
        return { ...queue, description, ...(mayChange ? {} : LOOK_ONLY) }
      })
      return { ...result, body: { ...body, queues } }
    },
  }
}

/** By this the board shows no buttons. */
const LOOK_ONLY = { readOnlyMode: true, allowRetries: false, allowCompletedRetries: false }

const CUT =
  'Numbers and callback URLs are shown only in part here, and would be lost: write them in full where a … stands, or track the messages anew.'

/** The members that are shown in part; a … stands for the rest. */
const PARTS: Readonly<Record<string, (item: unknown) => string>> = {
  recipient: (item) => `…${String(item).slice(-2)}`,
  // The path and query of a callback URL may hold the receiver's own secrets.
  callbackUrl: (item) => (URL.canParse(String(item)) ? `${new URL(String(item)).origin}/…` : '…'),
}

function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const isPart = Object.hasOwn(PARTS, key) && item !== null && item !== undefined
      return [key, isPart ? PARTS[key]?.(item) : masked(item)]
    }),
  )
}

/** True for data as the board has shown it: its form for a job begins with that. */
function holdsCut(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(([key, item]) =>
    Object.hasOwn(PARTS, key) && typeof item === 'string' ? item.includes('…') : holdsCut(item),
  )
}
