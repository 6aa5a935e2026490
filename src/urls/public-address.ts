/** Which addresses are the public's, and which lead inside. */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/** Why a URL may not be called, as far as it can be seen without resolving its name. */
export function whyForbidden(url: string): string | undefined {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:') return 'callback URLs must be https, unless CALLBACK_ALLOW_PRIVATE is true'
  const address = hostname.replace(/^\[|\]$/g, '')
  return isIP(address) && !isPublic(address) ? NOT_PUBLIC : undefined
}

export const NOT_PUBLIC = 'the address of the receiver is not a public one, and CALLBACK_ALLOW_PRIVATE is false'

/** All that is given out of IPv6 to the public so far; beside it lie forms that stand for IPv4 addresses of any kind. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3')

/** Azure's, which answers with secrets of the machine, at an address that looks public. */
const METADATA = '168.63.129.16'

export function isPublic(address: string): boolean {
  const parsed = ipaddr.process(address)
  if (parsed.toString() === METADATA) return false
  return parsed.range() === 'unicast' && (parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6))
}
