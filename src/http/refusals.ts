/**
 * Keys, webhook tokens and signatures that are wrong. Each is counted, and logged with the address that brought it, never
 * with what it was. An address that has brought many within a minute is answered 429 with `Retry-After`, and logged no more.
 *
 * A good one is not looked at here, so nobody is locked out by others behind the same address, and no receipt is lost. So
 * guessing is not stopped here but by the length of keys and tokens (config/keys.ts). An IPv6 address counts as its /64.
 * The counts are each process's own, of the latest addresses only.
 */
import { isIP } from 'node:net'
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { LastwordError } from '../core/errors.ts'
import type { Metrics } from '../metrics.ts'
import { sendError, sendProblem } from './errors.ts'

/** The thing that was wrong. */
type Secret = 'key' | 'token' | 'signature'

/** Answers a request whose key, token or signature is wrong, with this error or with 429. */
export type Refuse = (
  secret: Secret,
  error: LastwordError,
  request: FastifyRequest,
  reply: FastifyReply,
  details?: { account: string },
) => Promise<FastifyReply>

const MOST_IN_A_WINDOW = 20
const WINDOW_MS = 60_000
const ADDRESSES = 10_000

export async function createRefuse(server: FastifyInstance, metrics: Pick<Metrics, 'refusedSecrets'>): Promise<Refuse> {
  await server.register(rateLimit, { global: false, cache: ADDRESSES })
  const createCount = () =>
    server.createRateLimit({
      max: MOST_IN_A_WINDOW,
      timeWindow: WINDOW_MS,
      keyGenerator: (request) => normalizeIP(addressOf(request)),
    })
  // Each by itself, so that many of one do not keep the others out of the log.
  const counts: Record<Secret, ReturnType<typeof createCount>> = {
    key: createCount(),
    token: createCount(),
    signature: createCount(),
  }
  return async (secret, error, request, reply, details) => {
    const counted = await counts[secret](request)
    // The type has room for addresses that are never counted; here there are none.
    const { isExceeded, remaining, ttlInSeconds } = counted.isAllowed ? NOT_COUNTED : counted
    metrics.refusedSecrets.inc({ secret, answer: isExceeded ? '429' : '401' })
    if (isExceeded) {
      const detail = `This address has brought a wrong ${secret} more than ${MOST_IN_A_WINDOW} times within a minute; correct it. A right one is let in at once.`
      reply.header('retry-after', ttlInSeconds)
      return sendProblem(reply, 429, 'Too many requests', detail, { code: 'UNAUTHORIZED' })
    }
    const further = remaining > 0 ? '' : `; others of this address are not logged for ${ttlInSeconds} s`
    const route = `${request.method} ${request.routeOptions.url ?? 'no route'}`
    request.log.warn({ address: addressOf(request), route, ...details }, `a wrong ${secret} was refused${further}`)
    return sendError(error, request, reply)
  }
}

const NOT_COUNTED = { isExceeded: false, remaining: MOST_IN_A_WINDOW, ttlInSeconds: 0 }

/** The client's address, as the proxies of TRUSTED_PROXIES tell it; theirs, where they tell none. */
function addressOf({ ip, socket }: FastifyRequest): string {
  return isIP(ip) ? ip : (socket.remoteAddress ?? '')
}
