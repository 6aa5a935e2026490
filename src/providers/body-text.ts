/**
 * The bytes of a body, of a webhook or of a provider's answer, as text: inflated, and decoded in the charset they are
 * really in. The headers are hints. Some name an encoding the body does not have, others none where there is one, so the
 * bytes decide where they can.
 */

import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, inflateRaw } from 'node:zlib'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'

/** The most bytes of a body, as sent and inflated. */
export const MOST_BODY_BYTES = 1024 * 1024

type Inflate = (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>
const ways = {
  gunzip: promisify(gunzip) as Inflate,
  inflate: promisify(inflate) as Inflate,
  inflateRaw: promisify(inflateRaw) as Inflate,
  brotli: promisify(brotliDecompress) as Inflate,
}
/** By the names of Content-Encoding; `deflate` is sent with and without the frame that its standard asks for. */
const ENCODINGS: Readonly<Record<string, readonly Inflate[]>> = {
  gzip: [ways.gunzip],
  'x-gzip': [ways.gunzip],
  deflate: [ways.inflate, ways.inflateRaw],
  br: [ways.brotli],
}
const MOST_LAYERS = 4

/** Inflates what is compressed, by its header or without one. Throws TOO_LARGE for what would grow beyond the bound. */
export async function inflateBody(body: Buffer, contentEncoding: string, most = MOST_BODY_BYTES): Promise<Buffer> {
  let bytes = body
  for (const name of contentEncoding.toLowerCase().split(',').slice(-MOST_LAYERS).reverse()) {
    bytes = (await tryInflate(bytes, ENCODINGS[name.trim()] ?? [], most)) ?? bytes
  }
  for (let layer = 0; layer < MOST_LAYERS; layer++) {
    const inflated = await tryInflate(bytes, waysByContent(bytes), most)
    if (!inflated) break
    bytes = inflated
  }
  return bytes
}

function waysByContent(bytes: Buffer): readonly Inflate[] {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return [ways.gunzip]
  return bytes[0] === 0x78 && bytes.length > 1 && bytes.readUInt16BE(0) % 31 === 0 ? [ways.inflate] : []
}

async function tryInflate(bytes: Buffer, candidates: readonly Inflate[], most: number): Promise<Buffer | undefined> {
  for (const way of candidates) {
    try {
      return await way(bytes, { maxOutputLength: most })
    } catch (error) {
      if (errorCodeOf(error) === 'ERR_BUFFER_TOO_LARGE') {
        throw new LastwordError('TOO_LARGE', `The inflated body is too large; expected at most ${most} bytes.`)
      }
      // Not compressed that way, whatever the header says: the next way, or the bytes as they are.
    }
  }
  return undefined
}

const FIRST_BYTES = 64

/** The name of the encoding that bytes are still in, because they could not be inflated; undefined for text. */
export function encodingLeft(bytes: Buffer, contentEncoding: string): string | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip'
  const named = contentEncoding.trim().slice(0, 40)
  const isText = named === '' || utf16Of(bytes) !== undefined || !bytes.subarray(0, FIRST_BYTES).some(isNoText)
  return isText ? undefined : named
}

/** Control characters that stand in no text; zero bytes and spaces stand around some. */
function isNoText(byte: number): boolean {
  return (byte > 0 && byte < 9) || (byte > 13 && byte < 32)
}

const LATIN = 'windows-1252'

/** The mark of UTF-8. */
const MARK = Buffer.from('\uFEFF')

/**
 * The text of bytes: by their byte order mark, by the zero bytes of UTF-16, as UTF-8 where they are valid UTF-8, else in
 * the charset that the content type or the XML declaration names. Never fails.
 */
export function decodeText(bytes: Buffer, contentType = ''): string {
  const marked = utf16Of(bytes) ?? (bytes.subarray(0, MARK.length).equals(MARK) ? 'utf-8' : undefined)
  if (marked) return new TextDecoder(marked).decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    const declared = charsetOf(contentType) ?? declaredInXml(bytes) ?? LATIN
    const decoder = new TextDecoder(isUtf8(declared) ? LATIN : declared)
    // In one piece, Node 20 takes the bytes 80 to 9F of Windows-1252 for control characters.
    return decoder.decode(bytes, { stream: true }) + decoder.decode()
  }
}

/** Which UTF-16 bytes are in, if any: by their mark, or by where their zero bytes stand. */
export function utf16Of(bytes: Buffer): 'utf-16le' | 'utf-16be' | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  const head = bytes.subarray(0, 512 - (bytes.length % 2))
  if (head.length < 4 || bytes.length % 2 === 1) return undefined
  const zeros = [0, 0]
  for (const [index, byte] of head.entries()) if (byte === 0) zeros[index % 2] = (zeros[index % 2] ?? 0) + 1
  const [even = 0, odd = 0] = zeros
  if (Math.max(even, odd) < head.length / 8 || Math.min(even, odd) > Math.max(even, odd) / 8) return undefined
  return odd > even ? 'utf-16le' : 'utf-16be'
}

function charsetOf(contentType: string): string | undefined {
  return knownCharset(/charset\s*=\s*["']?([\w.:-]+)/i.exec(contentType)?.[1])
}

function declaredInXml(bytes: Buffer): string | undefined {
  return knownCharset(/^\s*<\?xml[^>]*encoding\s*=\s*["']([\w.:-]+)/.exec(bytes.toString('latin1', 0, 200))?.[1])
}

function knownCharset(label: string | undefined): string | undefined {
  if (label === undefined) return undefined
  try {
    return new TextDecoder(label).encoding
  } catch {
    return undefined
  }
}

/** UTF-8 has been tried, and UTF-16 would have shown its zero bytes. */
function isUtf8(charset: string): boolean {
  return charset.startsWith('utf-')
}
