/**
 * The legitimate writings of one URL. The signer of a URL may write it in another way than the checker of the
 * signature: the host in upper case, the default port or none, a slash or a question mark at the end, and everything in the
 * query but its separators encoded or not, as the space and the colons of a time.
 */
import { domainToASCII, domainToUnicode } from 'node:url'

/** The writings of a URL or a path, the given one first: a small fixed set, each of them the same URL. */
export function writingsOf(url: string): string[] {
  const [, origin = '', path = '', query = ''] = /^(\w+:\/\/[^/?#]*)?([^?#]*)(\?[^#]*)?/.exec(url) ?? []
  const origins = origin === '' ? [''] : originsOf(origin)
  const paths = unique([path, path.endsWith('/') ? path.slice(0, -1) : `${path}/`])
  const queries = queriesOf(query)
  return unique([
    url,
    ...origins.flatMap((start) => paths.flatMap((middle) => queries.map((end) => start + middle + end))),
  ])
}

function originsOf(origin: string): string[] {
  const [, scheme = '', host = '', port] = /^(\w+):\/\/(.*?)(?::(\d+))?$/.exec(origin) ?? []
  const usual = scheme.toLowerCase() === 'https' ? '443' : '80'
  const ports = port === undefined || port === usual ? ['', `:${usual}`] : [`:${port}`]
  const schemes = unique([scheme, scheme.toLowerCase()])
  const hosts = unique([
    host,
    host.toLowerCase(),
    host.toUpperCase(),
    domainToASCII(host),
    domainToUnicode(host),
  ]).filter((one) => one !== '')
  return schemes.flatMap((start) => hosts.flatMap((middle) => ports.map((end) => `${start}://${middle}${end}`)))
}

function queriesOf(query: string): string[] {
  if (query.length < 2) return ['', '?']
  const decoded = decodedOf(query)
  const encoded = encodeURIComponent(decoded).replace(SEPARATORS, decodeURIComponent)
  const writings = [query, encoded]
    .flatMap((text) => [text.replace(/%5B/gi, '[').replace(/%5D/gi, ']'), text.replace(/[[\]]/g, encodeURIComponent)])
    .flatMap((text) => [text.replace(/%3A/gi, ':'), text.replaceAll(':', '%3A')])
    .flatMap((text) => [text.replaceAll('+', '%20'), text.replaceAll('%20', '+')])
    .flatMap((text) => [inCase(text, 'toUpperCase'), inCase(text, 'toLowerCase')])
  return unique([query, ...writings, decoded, decoded.replaceAll('+', ' ')])
}

/** The signs that separate fields, a plus for a space, and the percent sign of a code that is left as it is. */
const SEPARATORS = /%(?:3F|26|3D|2B|25)/g

/** The query with no more codes than it takes to tell its fields apart. */
function decodedOf(query: string): string {
  return query.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => {
    try {
      return decodeURIComponent(bytes).replace(/[&=+#%\p{Cc}]/gu, encodeURIComponent)
    } catch {
      return bytes
    }
  })
}

function inCase(text: string, change: 'toUpperCase' | 'toLowerCase'): string {
  return text.replace(/%[0-9a-f]{2}/gi, (digits) => digits[change]())
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
