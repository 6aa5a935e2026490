/**
 * `lastword hooks`: the webhook subscriptions of an account, through the provider's own interface, so that nobody has to
 * click. The webhook token, with which our URL ends, is never printed.
 *
 *   lastword hooks --account seven            lists them
 *   lastword hooks --account seven --create   subscribes PUBLIC_URL/webhooks/seven, unless it is there already
 *   lastword hooks --account seven --check    fails unless that URL is subscribed and enabled
 *   lastword hooks --account seven --delete   ends every subscription of that URL
 */
import type { Config } from '../config.ts'
import { LastwordError, ProviderError } from '../core/errors.ts'
import type { Account } from '../providers/account.ts'
import { createProviderHttp, type ProviderHttp } from '../providers/http.ts'
import type { HookApi, HookSubscription } from '../providers/provider.ts'
import { providerOf } from '../providers/registry.ts'
import { formatTable } from './table.ts'

export interface HooksFlags {
  account: string
  create?: boolean
  check?: boolean
  delete?: boolean
  json?: boolean
}

/** The subscriptions and what was done, as `--json` prints them. */
interface Overview {
  account: string
  /** Our webhook URL, or null without PUBLIC_URL. */
  url: string | null
  created: boolean
  /** How many subscriptions were ended, where that was asked for. */
  deleted?: number
  subscribed: boolean
  enabled: boolean
  hooks: (HookSubscription & { ours: boolean })[]
}

type HooksConfig = Pick<Config, 'accounts' | 'publicUrl'> & Partial<Pick<Config, 'proxy'>>

/** Events whose subscription brings delivery receipts. */
const RECEIPT_EVENTS: ReadonlySet<string> = new Set(['dlr', 'all'])

/** Prints what was asked for; resolves with false when the check failed or the subscription does not work. */
export async function runHooks(
  { accounts, publicUrl, proxy }: HooksConfig,
  flags: HooksFlags,
  print: (text: string) => void,
): Promise<boolean> {
  const account = findAccount(accounts, flags.account)
  const api = providerOf(account).hooks?.(account)
  if (!api) throw usage(`Provider "${account.provider}" has no interface for webhooks; set the URL in its web app.`)
  if (flags.create && flags.delete) throw usage('--create, --delete: found both, expected one of them.')
  if (publicUrl === undefined && (flags.create || flags.check || flags.delete)) {
    throw usage('PUBLIC_URL: found nothing, expected the base URL that providers call.')
  }
  const target = publicUrl === undefined ? undefined : webhookUrl(publicUrl, account)
  const overview = await withProvider(account, proxy, async (http) => {
    const { hooks, ...done } = await changeHooks(api, http, flags, target)
    return describe(account, target, hooks, done)
  })
  const shown = maskTokens(overview, accounts)
  print(flags.json ? JSON.stringify(shown, null, 2) : textOf(shown, flags))
  if (flags.check) return overview.subscribed && overview.enabled
  if (flags.delete) return !overview.subscribed
  return !flags.create || overview.created || overview.enabled
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

async function withProvider<T>(
  { name, baseUrl, timeoutMs }: Account,
  proxy: Config['proxy'] | undefined,
  work: (http: ProviderHttp) => Promise<T>,
): Promise<T> {
  const http = createProviderHttp({ baseUrl, timeoutMs, connections: 1, proxy })
  try {
    return await work(http)
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    throw new LastwordError('UNAVAILABLE', `Account "${name}": ${error.message}.`, { cause: error })
  } finally {
    await http.close()
  }
}

type Changed = Pick<Overview, 'created' | 'deleted'>

/** Lists the subscriptions, after adding or ending those of `target` where that was asked for. */
async function changeHooks(
  api: HookApi,
  http: ProviderHttp,
  flags: HooksFlags,
  target: string | undefined,
): Promise<Changed & { hooks: HookSubscription[] }> {
  const { signal } = new AbortController()
  const hooks = await api.list(http, signal)
  const ours = target === undefined ? [] : hooks.filter((hook) => isSubscription(hook, target))
  if (flags.delete) {
    for (const { id } of ours) await api.delete(http, id, signal)
    const left = ours.length > 0 ? await api.list(http, signal) : hooks
    return { hooks: left, created: false, deleted: ours.length }
  }
  if (!flags.create || target === undefined || ours.length > 0) return { hooks, created: false }
  await api.create(http, target, signal)
  return { hooks: await api.list(http, signal), created: true }
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
  changed: Changed,
): Overview {
  const marked = hooks.map((hook) => ({ ...hook, ours: target !== undefined && isSubscription(hook, target) }))
  const ours = marked.filter((hook) => hook.ours)
  const enabled = ours.some((hook) => hook.enabled)
  return { account: name, url: target ?? null, ...changed, subscribed: ours.length > 0, enabled, hooks: marked }
}

/**
 * Tokens of all accounts, because several of them can share one contract with the provider, and those of URLs like ours:
 * a token that has been replaced here may still be subscribed.
 */
function maskTokens(overview: Overview, accounts: readonly Account[]): Overview {
  const tokens = new Set(accounts.flatMap(({ webhookToken }) => webhookToken ?? []))
  const masked = (url: string) =>
    url
      .replace(/(?<=\/webhooks\/[a-z0-9-]+\/)[^/?#]+/g, '***')
      .replace(/[^/?#]+(?=\/?(?:[?#]|$))/g, (part) => (tokens.has(part) ? '***' : part))
  return {
    ...overview,
    url: overview.url === null ? null : masked(overview.url),
    hooks: overview.hooks.map((hook) => ({ ...hook, targetUrl: masked(hook.targetUrl) })),
  }
}

function textOf(overview: Overview, { create, check, ...flags }: HooksFlags): string {
  const table = tableOf(overview)
  return create || check || flags.delete ? `${table}\n\n${verdictOf(overview, create)}` : table
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

function verdictOf({ url, created, deleted, subscribed, enabled }: Overview, create = false): string {
  if (deleted !== undefined && subscribed) return `${url} is still subscribed: the provider lists it yet.`
  if (deleted !== undefined) return `${url} is ${deleted > 0 ? 'no longer' : 'not'} subscribed to delivery receipts.`
  if (created && !subscribed) return `${url} was subscribed just now, but the provider does not list it yet.`
  if (!subscribed) return `${url} is not subscribed to delivery receipts; --create subscribes it.`
  if (!enabled) return `${url} is subscribed, but disabled; --delete and then --create enable it again.`
  if (created) return `${url} is now subscribed to delivery receipts.`
  return `${url} is ${create ? 'already ' : ''}subscribed to delivery receipts, and enabled.`
}
