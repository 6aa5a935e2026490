/**
 * The signature of seven.io's webhooks: X-Signature, in hex, is the HMAC-SHA256 with the signing key over
 *
 *   timestamp ⏎ nonce ⏎ METHOD ⏎ URL ⏎ md5 of the raw body, in hex
 *
 * where the timestamp (X-Timestamp, in unix seconds) and the nonce (X-Nonce) are headers, and a GET has an empty body.
 *
 * Source: https://docs.seven.io/en/rest-api/webhooks. The documents sign the complete public URL, one client of the
 * vendor its path. Both are taken in each of their writings, always with the query: it holds all that a GET says. Any 401
 * makes the provider drop the report for good, so it is given only for what is truly wrong, and what cannot be checked
 * here is UNAVAILABLE.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { LastwordError } from '../../core/errors.ts'
import type { Nonce, WebhookRequest } from '../provider.ts'
import { writingsOf } from '../url-writings.ts'

export interface SignatureRule {
  signingKeys: readonly string[]
  freshnessMs: number
}

/** Checks the signature of a request and returns its nonce. Throws UNAUTHORIZED with what is wrong about it. */
export function checkSignature(
  { signingKeys, freshnessMs }: SignatureRule,
  request: WebhookRequest & { inflated: Buffer },
): Nonce {
  const signature = headerOf(request, 'X-Signature')
  const timestamp = headerOf(request, 'X-Timestamp')
  const nonce = headerOf(request, 'X-Nonce')
  if (!/^\d{1,12}$/.test(timestamp)) throw refused('X-Timestamp is not a number of seconds since 1970')

  const method = request.method.toUpperCase()
  const bodies = method === 'GET' ? [Buffer.alloc(0)] : [...new Set([request.body, request.inflated])]
  const digests = bodies.map((body) => createHash('md5').update(body).digest('hex'))
  const isSignedBy = (key: string, url: string) =>
    digests.some((digest) => {
      const signed = [timestamp, nonce, method, url, digest].join('\n')
      return isSignature(signature, createHmac('sha256', key).update(signed).digest())
    })
  if (!signedUrls(request).some((url) => signingKeys.some((key) => isSignedBy(key, url)))) {
    if (request.publicUrl === undefined) {
      throw new LastwordError(
        'UNAVAILABLE',
        'The signature cannot be checked: PUBLIC_URL, which it covers, is not set.',
      )
    }
    throw refused('X-Signature does not fit the signing key, the public URL and the body')
  }

  const agedMs = request.receivedAt.getTime() - Number(timestamp) * 1000
  if (Math.abs(agedMs) > freshnessMs) {
    const seconds = Math.round(Math.abs(agedMs) / 1000)
    const found = agedMs > 0 ? `${seconds} s old` : `${seconds} s ahead of the clock here`
    throw refused(`X-Timestamp is ${found}, at most ${freshnessMs / 1000} s are allowed`)
  }
  // From here on the time alone refuses the nonce, so nobody needs to remember it longer.
  const validForMs = Math.max(freshnessMs - agedMs, 1)
  return { value: nonce, bodyDigest: digestOf(method, request), validForMs }
}

/** The content that a repeated nonce must repeat too: the body, or for a GET the URL. */
function digestOf(method: string, { path, body }: WebhookRequest): string {
  return createHash('sha256')
    .update(method === 'GET' ? path : body)
    .digest('hex')
}

/** The URL as the provider called it, and its path as the provider and as this process see it, in all their writings. */
function signedUrls({ publicUrl, path, headers }: WebhookRequest): string[] {
  const ownPath = publicUrl?.replace(/^\w+:\/\/[^/?#]*/, '')
  // The provider may have been given the host in other letters than PUBLIC_URL has.
  const called = publicUrl?.replace(/(?<=^\w+:\/\/)[^/?#]*/, (own) =>
    String(headers.host).toLowerCase() === own.toLowerCase() ? String(headers.host) : own,
  )
  const urls = [publicUrl, called, ownPath, path].filter((url) => url !== undefined)
  return [...new Set(urls.flatMap(writingsOf))]
}

function isSignature(signature: string, expected: Buffer): boolean {
  if (!/^[0-9a-f]{64}$/i.test(signature)) return false
  return timingSafeEqual(Buffer.from(signature, 'hex'), expected)
}

function headerOf({ headers }: WebhookRequest, name: string): string {
  const value = headers[name.toLowerCase()]
  if (typeof value === 'string' && value.trim() !== '') return value.trim()
  throw refused(`the header ${name} is missing`)
}

function refused(reason: string): LastwordError {
  return new LastwordError('UNAUTHORIZED', `The webhook signature is refused: ${reason}.`)
}
