/**
 * API keys: `Authorization: Bearer <key>`, or HTTP Basic with any user name and the key as password, which is what a
 * browser can do. Without configured keys everybody on this machine is let in; the configuration allows no other host.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { onRequestHookHandler } from 'fastify'
import { LastwordError } from '../core/errors.ts'
import { sendError } from './errors.ts'

export function createKeyCheck(apiKeys: readonly string[]): onRequestHookHandler {
  const digests = apiKeys.map(digestOf)
  return async (request, reply) => {
    if (digests.length === 0) return
    const presented = presentedKey(request.headers.authorization)
    const digest = digestOf(presented ?? '')
    // Every key is compared, so that time tells nothing of which one was close.
    const matches = digests.map((known) => timingSafeEqual(known, digest))
    if (presented !== undefined && matches.includes(true)) return
    reply.header('www-authenticate', ['Basic realm="Lastword", charset="UTF-8"', 'Bearer realm="Lastword"'])
    const found = presented === undefined ? 'none' : 'one that is not configured'
    const error = new LastwordError('UNAUTHORIZED', `Expected an API key (Authorization: Bearer …), found ${found}.`)
    // Sent, not thrown: Bull Board answers what is thrown in its scope with a 500 of its own.
    return sendError(error, request, reply)
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
