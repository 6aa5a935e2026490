/**
 * Doors: which requests a browser may bring here. Other sites can make a browser send requests to this machine, with the
 * credentials it remembers, and a name that leads here can be theirs.
 *
 * - Without keys everybody on this machine is let in, so the request must name this machine, or the host of
 *   PUBLIC_URL, in its Host header: else the answer is 421.
 * - A request that acts is refused with 403 when a page of another site has made it.
 * - No page may be shown within a page of another site, or load anything from one, and no answer is taken for another
 *   type than it says.
 */
import type { FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { isLoopback } from '../config.ts'
import { READING } from './auth.ts'
import { sendProblem } from './errors.ts'

export interface DoorsOptions {
  hasKeys: boolean
  host: string
  publicUrl: string | undefined
}

const HEADERS = {
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  // Answers hold phone numbers, and are asked for with credentials; assets say otherwise for themselves.
  'cache-control': 'no-store',
}

export function createDoors(options: DoorsOptions): onRequestHookHandler {
  const ownHosts = new Set([options.host, hostnameOf(options.publicUrl)])
  return async (request, reply) => {
    reply.headers(HEADERS)
    if (!options.hasKeys && !isHere(request, ownHosts)) return refuseHost(request, reply)
    if (!READING.has(request.method) && isForeign(request, options)) return refuseOrigin(reply)
  }
}

function isHere({ headers }: FastifyRequest, ownHosts: ReadonlySet<string | undefined>): boolean {
  const hostname = hostnameOf(`http://${headers.host ?? ''}`)
  return hostname !== undefined && (isLoopback(hostname) || ownHosts.has(hostname))
}

/** True for a request that a page of another site has made. Programs send neither header. */
export function isForeign(
  { headers }: Pick<FastifyRequest, 'headers'>,
  { publicUrl }: Pick<DoorsOptions, 'publicUrl'>,
): boolean {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  if (origin === undefined) return false
  const from = URL.canParse(origin) ? new URL(origin).host : undefined
  return from === undefined || (from !== host && from !== (publicUrl && new URL(publicUrl).host))
}

function refuseHost({ headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const found = JSON.stringify((headers.host ?? '').slice(0, 100))
  const detail = `Expected a Host header that names this machine, found ${found}; to be reached by that name, set PUBLIC_URL or API_KEYS.`
  return sendProblem(reply, 421, 'Misdirected request', detail, { code: 'MISDIRECTED' })
}

function refuseOrigin(reply: FastifyReply): FastifyReply {
  const detail = 'Expected a request of a program or of these pages, found one that a page of another site has made.'
  return sendProblem(reply, 403, 'Forbidden', detail, { code: 'FORBIDDEN' })
}

/** The host of a URL as people write it, without brackets; undefined where there is none. */
function hostnameOf(url: string | undefined): string | undefined {
  if (url === undefined || !URL.canParse(url)) return undefined
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}
