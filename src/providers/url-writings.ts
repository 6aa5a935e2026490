/**
 * The legitimate writings of one URL. The signer of a URL may write it in another way than the checker of the
 * signature: the host in upper case, the default port or none, a slash at the end, brackets and spaces encoded or not.
 */

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
  const hosts = unique([host, host.toLowerCase(), host.toUpperCase()])
  return schemes.flatMap((start) => hosts.flatMap((middle) => ports.map((end) => `${start}://${middle}${end}`)))
}

function queriesOf(query: string): string[] {
  const bare = query.replace(/%5B/gi, '[').replace(/%5D/gi, ']')
  const encoded = bare.replaceAll('[', '%5B').replaceAll(']', '%5D')
  const writings = [query, bare, encoded].flatMap((text) => [
    text,
    text.replaceAll('+', '%20'),
    text.replace(/%20/g, '+'),
    text.replace(/%[0-9a-f]{2}/gi, (digits) => digits.toUpperCase()),
    text.replace(/%[0-9a-f]{2}/gi, (digits) => digits.toLowerCase()),
  ])
  return unique(query === '?' ? ['?', ''] : writings)
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
