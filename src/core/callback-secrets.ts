/** Which secrets sign a callback: those of the endpoint that its URL leads to, else those of the account. */

/** A receiver with secrets of its own. */
export interface CallbackEndpoint {
  url: string
  secret: readonly string[]
}

interface CallbackSecrets {
  secret: readonly string[]
  endpoints?: readonly CallbackEndpoint[] | undefined
}

/** Of several endpoints that cover the URL, the one with the longest path is meant. */
export function secretsFor(url: string, { secret, endpoints = [] }: CallbackSecrets): readonly string[] {
  const covering = endpoints
    .filter((endpoint) => covers(new URL(endpoint.url), new URL(url)))
    .sort((one, other) => pathOf(new URL(other.url)).length - pathOf(new URL(one.url)).length)
  return covering[0]?.secret ?? secret
}

/** True for the URL itself and for all below it, at the same scheme, host and port, whatever their queries. */
function covers(endpoint: URL, url: URL): boolean {
  return endpoint.origin === url.origin && `${pathOf(url)}/`.startsWith(`${pathOf(endpoint)}/`)
}

function pathOf({ pathname }: URL): string {
  return pathname.replace(/\/+$/, '')
}
