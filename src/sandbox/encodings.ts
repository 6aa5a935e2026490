/**
 * The layers between a provider's words and its bytes, as seen in the field: compression, charsets, byte order marks,
 * and content types that are missing, doubled or wrong. A GET has none of it.
 */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import type { OutgoingRequest } from './outgoing-request.ts'
import { pick, type Random } from './random.ts'

const NAMED = [
  'gzip',
  'deflate',
  'br',
  'byteOrderMark',
  'utf16',
  'latin1',
  'noContentType',
  'doubledContentType',
  'wrongContentType',
] as const

/** `plain` changes nothing, `mixed` draws one of all for each request. */
export const WEBHOOK_ENCODINGS = ['plain', ...NAMED, 'mixed'] as const
export type WebhookEncoding = (typeof WEBHOOK_ENCODINGS)[number]

const BYTE_ORDER_MARK = '\ufeff'

export function encode(request: OutgoingRequest, encoding: WebhookEncoding, random: Random): OutgoingRequest {
  if (request.body.length === 0) return request
  const { headers, body } = request
  const type = headers['content-type'] ?? ''
  const text = body.toString()
  switch (encoding) {
    case 'plain':
      return request
    case 'mixed':
      return encode(request, pick(['plain', ...NAMED], random), random)
    case 'gzip':
      return compressed(request, encoding, gzipSync(body))
    case 'deflate':
      return compressed(request, encoding, deflateSync(body))
    case 'br':
      return compressed(request, encoding, brotliCompressSync(body))
    case 'byteOrderMark':
      return { ...request, body: Buffer.from(BYTE_ORDER_MARK + text) }
    case 'utf16':
      return { ...request, body: Buffer.from(BYTE_ORDER_MARK + text, 'utf16le') }
    case 'latin1': {
      const named = { ...headers, 'content-type': `${type}; charset=ISO-8859-1` }
      return { ...request, headers: named, body: Buffer.from(text, 'latin1') }
    }
    case 'noContentType': {
      const { 'content-type': _type, ...others } = headers
      return { ...request, headers: others }
    }
    case 'doubledContentType':
      return { ...request, headers: { ...headers, 'content-type': `${type},${type}` } }
    case 'wrongContentType':
      return { ...request, headers: { ...headers, 'content-type': 'application/octet-stream' } }
  }
}

/** The bytes are copied, because zlib leaves them in 16 kB of its own. */
function compressed(request: OutgoingRequest, name: string, bytes: Buffer): OutgoingRequest {
  return { ...request, headers: { ...request.headers, 'content-encoding': name }, body: Buffer.from(bytes) }
}
