/** Signed webhooks, as seven.io signs them (https://docs.seven.io/en/rest-api/webhooks). */
import { createHash, createHmac, randomUUID } from 'node:crypto'
import type { OutgoingRequest } from '../outgoing-request.ts'

export interface Signing {
  key: string
  /** The writing of the URL that is signed: the complete one, or its path and query alone. */
  signatureUrl: 'full' | 'path'
}

/** The request with its signature, its time (now) and a fresh nonce in the headers. */
export function signRequest(request: OutgoingRequest, { key, signatureUrl }: Signing): OutgoingRequest {
  const { href, pathname, search } = new URL(request.url)
  const url = signatureUrl === 'full' ? href : pathname + search
  const timestamp = String(Math.floor(Date.now() / 1000))
  // Seeded randomness would repeat the nonces of an earlier run, which a receiver must refuse.
  const nonce = randomUUID().replaceAll('-', '')
  const bodyDigest = createHash('md5').update(request.body).digest('hex')
  const signed = [timestamp, nonce, request.method, url, bodyDigest].join('\n')
  const signature = createHmac('sha256', key).update(signed).digest('hex')
  const headers = { 'x-signature': signature, 'x-timestamp': timestamp, 'x-nonce': nonce }
  return { ...request, headers: { ...request.headers, ...headers } }
}
