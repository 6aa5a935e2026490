/**
 * seven.io's webhook subscriptions: listing them, subscribing a URL to delivery receipts, and ending a subscription.
 *
 * Source: https://docs.seven.io/en/rest-api/endpoints/hooks.
 */
import { z } from 'zod'
import { ProviderError } from '../../core/errors.ts'
import type { HookApi, HookSubscription } from '../provider.ts'
import { type SevenAccount, sevenHeaders } from './account.ts'
import { getText, isObject, parseJson, readRows, throwIfErrorCode } from './answers.ts'
import { idSchema } from './reports.ts'

export function sevenHooks(account: SevenAccount): HookApi {
  return {
    async list(http, signal) {
      const text = await getText(http, account, '/hooks', signal)
      return parseHookList(text)
    },
    async create(http, targetUrl, signal) {
      const subscription = { target_url: targetUrl, event_type: 'dlr', request_method: 'JSON' }
      const { text } = await http.post('/hooks', sevenHeaders(account), subscription, signal)
      if (parseOutcome(text).success) return
      throw new ProviderError('transient', 'the provider did not say whether it subscribed the URL')
    },
    async delete(http, id, signal) {
      const { text } = await http.delete('/hooks', sevenHeaders(account), { id: Number(id) }, signal)
      if (parseOutcome(text).success) return
      throw new ProviderError('transient', 'the provider did not say whether it ended the subscription')
    },
  }
}

const flagSchema = z
  .union([z.boolean(), z.number(), z.string()])
  .transform((flag) => ['true', '1', 'yes', 'on'].includes(String(flag).trim().toLowerCase()))

const hookSchema = z
  .looseObject({
    id: idSchema,
    target_url: z.string(),
    event_type: z.string(),
    enabled: flagSchema.nullish().catch(null),
  })
  .transform(
    ({ id, target_url, event_type, enabled }): HookSubscription => ({
      id,
      targetUrl: target_url,
      eventType: event_type,
      enabled: enabled ?? true,
    }),
  )

/** Reads the list of subscriptions, on its own or as `hooks` of an object. */
function parseHookList(text: string): HookSubscription[] {
  const { answer } = parseOutcome(text)
  const list = isObject(answer) && 'hooks' in answer ? answer.hooks : answer
  return readRows(list, hookSchema, '{id, target_url, event_type}').rows
}

/** An answer that says success is one, whatever code stands beside it; one that denies it never is. */
function parseOutcome(text: string): { answer: unknown; success: boolean } {
  const answer = parseJson(text)
  const success = isObject(answer) && 'success' in answer ? flagSchema.safeParse(answer.success).data : undefined
  if (success) return { answer, success }
  throwIfErrorCode(answer)
  if (success === false) throw new ProviderError('request', 'the provider refused: it answered without success')
  return { answer, success: false }
}
