/**
 * `lastword hooks`: the webhook subscriptions of an account, through the provider's own interface, so that nobody has to
 * click. The webhook token, with which our URL ends, is never printed.
 *
 *   lastword hooks --account seven            lists them
 *   lastword hooks --account seven --create   subscribes PUBLIC_URL/webhooks/seven, unless it is there already
 *   lastword hooks --account seven --check    fails unless that URL is subscribed and enabled
 */
import type { Config } from '../config.ts'
import { LastwordError, ProviderError } from '../core/errors.ts'
import { createProviderHttp } from '../providers/http.ts'
import type { Account, HookApi, HookSubscription } from '../providers/provider.ts'
import { providerOf } from '../providers/registry.ts'
import { formatTable } from './table.ts'

export interface HooksFlags {
  account: string
  create?: boolean
  check?: boolean
  json?: boolean
}

/** What there is, as `--json` prints it. */
interface Overview {
  account: string
  /** Our webhook URL, or null without PUBLIC_URL. */
  url: string | null
  created: boolean
  subscribed: boolean
  enabled: boolean
  hooks: (HookSubscription & { ours: boolean })[]
}

type HooksConfig = Pick<Config, 'accounts' | 'publicUrl'>

/** Events whose subscription brings delivery receipts. */
const RECEIPT_EVENTS: ReadonlySet<string> = new Set(['dlr', 'all'])

/** Prints what was asked for; resolves with false when the check failed or the subscription does not work. */
export async function runHooks(
  { accounts, publicUrl }: HooksConfig,
  flags: HooksFlags,
  print: (text: string) => void,
): Promise<boolean> {
  const account = findAccount(accounts, flags.account)
  const api = providerOf(account).hooks?.(account)
  if (!api) throw usage(`Provider "${account.provider}" has no interface for webhooks; set the URL in its web app.`)
  if (publicUrl === undefined && (flags.create || flags.check)) {
    throw usage('PUBLIC_URL: found nothing, expected the base URL that providers call.')
  }
  const target = publicUrl === undefined ? undefined : webhookUrl(publicUrl, account)
  const { hooks, created } = await listHooks(account, api, flags.create ? target : undefined)
  const overview = describe(account, target, hooks, created)
  const shown = maskTokens(overview, accounts)
  print(flags.json ? JSON.stringify(shown, null, 2) : textOf(shown, flags))
  if (flags.check) return overview.subscribed && overview.enabled
  return !flags.create || created || overview.enabled
}

function findAccount(accounts: readonly Account[], name: string): Account {
  const account = accounts.find((candidate) => candidate.name === name)
  if (account) return account
  const names = accounts.map((candidate) => candidate.name).join(', ')
  throw usage(`--account: found "${name}", expected one of the configured accounts (${names || 'there are none'}).`)
}

/** The command line ends with 2 on wrong configuration and usage alike. */
function usage(message: string): LastwordError {
  return new LastwordError('CONFIG_INVALID', message)
}

function webhookUrl(publicUrl: string, { name, webhookToken }: Account): string {
  return [publicUrl.replace(/\/$/, ''), 'webhooks', name, ...(webhookToken ?? []).slice(0, 1)].join('/')
}

/** Lists the subscriptions, after adding `target` if it is given and not among them. */
async function listHooks(
  account: Account,
  api: HookApi,
  target: string | undefined,
): Promise<{ hooks: HookSubscription[]; created: boolean }> {
  const http = createProviderHttp({ baseUrl: account.baseUrl, timeoutMs: account.timeoutMs, connections: 1 })
  const { signal } = new AbortController()
  try {
    const hooks = await api.list(http, signal)
    if (target === undefined || hooks.some((hook) => isSubscription(hook, target))) return { hooks, created: false }
    await api.create(http, target, signal)
    return { hooks: await api.list(http, signal), created: true }
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    throw new LastwordError('UNAVAILABLE', `Account "${account.name}": ${error.message}.`, { cause: error })
  } finally {
    await http.close()
  }
}

function isSubscription({ targetUrl, eventType }: HookSubscription, target: string): boolean {
  return RECEIPT_EVENTS.has(eventType) && normalForm(targetUrl) === normalForm(target)
}

/** Host names in one case, and no slash at the end: the server ignores that too. */
function normalForm(url: string): string {
  return (URL.canParse(url) ? new URL(url).href : url).replace(/\/$/, '')
}

function describe(
  { name }: Account,
  target: string | undefined,
  hooks: readonly HookSubscription[],
  created: boolean,
): Overview {
  const marked = hooks.map((hook) => ({ ...hook, ours: target !== undefined && isSubscription(hook, target) }))
  const ours = marked.filter((hook) => hook.ours)
  const enabled = ours.some((hook) => hook.enabled)
  return { account: name, url: target ?? null, created, subscribed: ours.length > 0, enabled, hooks: marked }
}

/** Tokens of all accounts, because several of them can share one contract with the provider. */
function maskTokens(overview: Overview, accounts: readonly Account[]): Overview {
  const tokens = new Set(accounts.flatMap(({ webhookToken }) => webhookToken ?? []))
  const masked = (url: string) => url.replace(/[^/?#]+(?=\/?(?:[?#]|$))/g, (part) => (tokens.has(part) ? '***' : part))
  return {
    ...overview,
    url: overview.url === null ? null : masked(overview.url),
    hooks: overview.hooks.map((hook) => ({ ...hook, targetUrl: masked(hook.targetUrl) })),
  }
}

function textOf(overview: Overview, { create, check }: HooksFlags): string {
  const table = tableOf(overview)
  return create || check ? `${table}\n\n${verdictOf(overview, create)}` : table
}

function tableOf({ account, hooks }: Overview): string {
  if (hooks.length === 0) return `Account "${account}" has no webhook subscriptions.`
  const rows = hooks.map(({ id, eventType, enabled, ours, targetUrl }) => [
    id,
    eventType,
    enabled ? 'yes' : 'no',
    ours ? 'yes' : 'no',
    targetUrl,
  ])
  return formatTable([['ID', 'EVENT', 'ENABLED', 'OURS', 'URL'], ...rows])
}

function verdictOf({ url, created, subscribed, enabled }: Overview, create = false): string {
  if (created && !subscribed) return `${url} was subscribed just now, but the provider does not list it yet.`
  if (!subscribed) return `${url} is not subscribed to delivery receipts; --create subscribes it.`
  if (!enabled) return `${url} is subscribed, but disabled; enable it in the provider's web app.`
  if (created) return `${url} is now subscribed to delivery receipts.`
  return `${url} is ${create ? 'already ' : ''}subscribed to delivery receipts, and enabled.`
}
