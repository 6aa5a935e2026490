/**
 * Requests that leave through a proxy, where the environment names one (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). Addresses of
 * this machine are never asked for through it.
 */
import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici'

export interface ProxySettings {
  /** For http:// addresses, and for https:// where `https` is left out; a URL that may hold credentials. */
  http?: string | undefined
  https?: string | undefined
  /** The hosts that are asked directly, separated by commas; `*` is all of them. */
  except?: string | undefined
}

const THIS_MACHINE = ['localhost', '127.0.0.1', '[::1]']

export function usesProxy({ http, https, except }: ProxySettings): boolean {
  return (http !== undefined || https !== undefined) && except?.trim() !== '*'
}

/** The sender of requests: directly, or through the proxy. */
export function createAgent(proxy: ProxySettings, options: Agent.Options): Dispatcher {
  if (!usesProxy(proxy)) return new Agent(options)
  return new EnvHttpProxyAgent({
    ...options,
    // Every proxy takes http:// requests as they are; many open tunnels to the port of https:// only.
    proxyTunnel: false,
    httpProxy: proxy.http ?? '',
    httpsProxy: proxy.https ?? '',
    noProxy: [...THIS_MACHINE, proxy.except ?? ''].join(','),
  })
}
