/**
 * Keys: `Authorization: Bearer <key>`, or HTTP Basic with any user name and the key as password, which is what a browser
 * can do. Each route says what a key must grant by `needs`; else a route that is only read needs one that may look, and
 * any other one that may change something.
 *
 * Without keys everybody on this machine is let in; the configuration allows no other host. Where there are only keys that
 * may look, nobody changes anything here: apps still track by the queue, or in their own transactions.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { type Grant, grantIncludes, type Key } from '../config/keys.ts'
import { LastwordError } from '../core/errors.ts'
import { sendError } from './errors.ts'
import type { Refuse } from './refusals.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The grant that this route asks of a key. */
    needs?: Grant
  }
  interface FastifyRequest {
    /** The key that the request presented; null where none is configured. */
    key: Key | null
  }
}

/** How requests only read. */
export const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** The grant that a route of this method and configuration asks of a key. */
export function grantFor(method: string, needs: Grant | undefined): Grant {
  return needs ?? (READING.has(method) ? 'look' : 'change')
}

/** Asks for a key at every route of this scope, and keeps it as `request.key`. */
export function guardByKeys(server: FastifyInstance, keys: readonly Key[], refuse: Refuse): void {
  const find = createKeyFinder(keys)
  server.decorateRequest('key', null)
  server.addHook('onRequest', async (request, reply) => {
    if (keys.length === 0) return
    const { authorization } = request.headers
    const key = find(authorization)
    const needed = grantFor(request.method, request.routeOptions.config.needs)
    // Sent, not thrown: Bull Board answers what is thrown in its scope with a 500 of its own.
    if (key && !grantIncludes(key.grants, needed)) {
      const route = `${request.method} ${request.routeOptions.url ?? 'no route'}`
      request.log.info({ address: request.ip, route, key: key.name, grants: key.grants }, 'a key may not do this')
      return sendError(refusalOf(key.grants, needed), request, reply)
    }
    if (key) {
      request.key = key
      return
    }
    reply.header('www-authenticate', ['Basic realm="Lastword", charset="UTF-8"', 'Bearer realm="Lastword"'])
    const isPresented = presentedKey(authorization) !== undefined
    const found = isPresented ? 'one that is not configured' : 'none'
    const error = new LastwordError('UNAUTHORIZED', `Expected an API key (Authorization: Bearer …), found ${found}.`)
    // A browser asks without a key first, to learn that it needs one.
    return isPresented ? refuse('key', error, request, reply) : sendError(error, request, reply)
  })
}

function refusalOf(grants: Grant, needed: Grant): LastwordError {
  const lists = needed === 'change' ? 'API_KEYS' : 'API_KEYS or READ_KEYS'
  const found =
    grants === 'look'
      ? 'READ_KEYS, which may look and change nothing'
      : 'METRICS_KEYS, which may read /metrics and nothing else'
  return new LastwordError('FORBIDDEN', `Expected a key of ${lists}, found one of ${found}.`)
}

/** Finds the configured key that an `Authorization` header presents. */
export function createKeyFinder(keys: readonly Key[]): (authorization: string | undefined) => Key | undefined {
  const digests = keys.map(({ value }) => digestOf(value))
  return (authorization) => {
    const presented = presentedKey(authorization)
    if (presented === undefined) return undefined
    const digest = digestOf(presented)
    // Every key is compared, so that time tells nothing of which one was close.
    const matches = digests.map((known) => timingSafeEqual(known, digest))
    return keys[matches.indexOf(true)]
  }
}

/** True when two secrets are the same, in constant time. */
export function isSameSecret(one: string, other: string): boolean {
  return timingSafeEqual(digestOf(one), digestOf(other))
}

function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

function presentedKey(authorization: string | undefined): string | undefined {
  const [scheme, value = ''] = authorization?.split(' ') ?? []
  if (scheme?.toLowerCase() === 'bearer') return value
  if (scheme?.toLowerCase() !== 'basic') return undefined
  const decoded = Buffer.from(value, 'base64').toString('utf8')
  return decoded.slice(decoded.indexOf(':') + 1)
}
