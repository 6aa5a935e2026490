/** The fields every account has, and what they default to. Providers extend this schema with their credentials. */
import { z } from 'zod'
import type { CallbackEndpoint } from '../core/callback-secrets.ts'
import { durationRule, parseDuration } from '../core/duration.ts'
import type { PollingPolicy } from '../core/polling.ts'
import { isInternal } from '../core/queue-table.ts'
import { PRINTABLE, SECRET } from './account-fields.ts'
import { isCountry } from './phone-number.ts'
import type { ProviderAccount } from './provider.ts'

/** One configured set of credentials at a provider, with the ways in for its receipts and out to the app. */
export interface Account extends ProviderAccount {
  /** The tokens of which webhook URLs of this account must end with one; the first stands in the URL that is shown. */
  webhookToken?: readonly string[] | undefined
  /** Where changes are sent (a message may name another URL), and what their signatures are made with, one for each secret. */
  callback?:
    | {
        url?: string | undefined
        secret: readonly string[]
        /** Receivers whose callbacks are signed with secrets of their own. */
        endpoints?: readonly CallbackEndpoint[] | undefined
        events: 'all' | 'final'
      }
    | undefined
  /** The BullMQ queue that receives one job for each change. */
  changesQueue?: string | undefined
  /** `any`: messages are tracked whose IDs do not look like the provider's. */
  messageIds?: 'any' | undefined
}

/** A duration such as `30s`, read as milliseconds, above zero. */
export const durationSchema = z
  .string()
  .meta(PRINTABLE)
  .transform((text, context) => {
    const ms = parseDuration(text)
    if (ms !== undefined && ms > 0) return ms
    context.addIssue({ code: 'custom', message: `expected ${durationRule(text)}, found "${text}"` })
    return z.NEVER
  })

const accountNameSchema = z
  .string()
  .regex(/^[a-z0-9-]{1,40}$/, 'expected 1 to 40 lower-case letters, digits and hyphens')
  .meta(PRINTABLE)

const DEFAULT_PRICE_MS = 5 * 60_000

/** The learned policy, or the exponential one, which is meant where one of its settings is given without a policy. */
const pollingSchema = z
  .strictObject({
    policy: z.enum(['learned', 'exponential']).optional(),
    price: durationSchema.optional(),
    firstAfter: durationSchema.optional(),
    factor: z.number().min(1).max(10).optional(),
    maxInterval: durationSchema.optional(),
    window: durationSchema.default(30 * 86_400_000),
  })
  .transform((given, context): PollingPolicy => {
    const { firstAfter = 60_000, factor = 2, maxInterval = 6 * 3_600_000, price, window: windowMs } = given
    const exponential = (['firstAfter', 'factor', 'maxInterval'] as const).filter((key) => given[key] !== undefined)
    const policy = given.policy ?? (exponential.length > 0 ? 'exponential' : 'learned')
    const refuse = (message: string) => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if (policy === 'learned') {
      if (exponential.length === 0) return { policy, priceMs: price ?? DEFAULT_PRICE_MS, windowMs }
      return refuse(
        `expected ${exponential.join(' and ')} with "policy": "exponential" only; leave out one or the other`,
      )
    }
    if (price !== undefined) return refuse('expected price with "policy": "learned" only; leave out one or the other')
    if (firstAfter >= windowMs) return refuse('expected firstAfter to be shorter than window')
    return { policy, firstAfterMs: firstAfter, factor, maxIntervalMs: maxInterval, windowMs }
  })

const VISIBLE = /^[\x21-\x7e]+$/
const VISIBLE_RULE = 'printable characters without spaces'
/** A credential: never empty, and printable so that it can stand in a header. */
export const credentialSchema = z.string().regex(VISIBLE, `expected ${VISIBLE_RULE}`).meta(SECRET)

/** A URL that carries a user name or a password: nothing would send them, and logs would show them. */
export function hasCredentials(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

const MOST_SECRETS = 5

/** One secret, or several while both sides change from one to the next: each is accepted, and the first is shown. */
function secretsSchema(pattern: RegExp, expectation: string) {
  const one = z.string().regex(pattern, `expected ${expectation}`)
  return z
    .union([one, z.array(one).min(1, `expected ${expectation}, or a list of such`).max(MOST_SECRETS)], {
      error: `expected ${expectation}, or a list of such`,
    })
    .meta(SECRET)
    .transform((given) => [...new Set([given].flat())])
}

export const signingKeySchema = secretsSchema(VISIBLE, VISIBLE_RULE)

/** The country of numbers without a country code. */
const countrySchema = z.string().refine(isCountry, 'expected two letters of ISO 3166, as in "NL"')

/** A secret of Standard Webhooks. */
export const WEBHOOK_SECRET = /^whsec_[A-Za-z0-9+/]{32,}={0,2}$/
export const WEBHOOK_SECRET_RULE = 'whsec_ and at least 24 bytes in base64'

const webhookSecretsSchema = secretsSchema(WEBHOOK_SECRET, WEBHOOK_SECRET_RULE)
const MOST_ENDPOINTS = 100
const callbackUrlSchema = z
  .url({ protocol: /^https?$/ })
  .max(2000)
  .refine((url) => !hasCredentials(url), 'expected a URL without a user name and password')

export const commonAccountFields = {
  name: accountNameSchema,
  webhookToken: secretsSchema(/^[A-Za-z0-9_-]{1,200}$/, '1 to 200 letters, digits, hyphens and underscores').optional(),
  batchSize: z.int().min(1).max(1000).default(100),
  requestsPerSecond: z.number().min(0.01).max(1000).default(5),
  timeout: durationSchema.default(10_000),
  defaultCountry: countrySchema.optional(),
  polling: pollingSchema.prefault({}),
  callback: z
    .strictObject({
      url: callbackUrlSchema.optional(),
      secret: webhookSecretsSchema,
      endpoints: z
        .array(
          z.strictObject({
            url: callbackUrlSchema.refine((url) => !/[?#]/.test(url), 'expected a URL without a query'),
            secret: webhookSecretsSchema,
          }),
        )
        .max(MOST_ENDPOINTS)
        .refine(
          (endpoints) => new Set(endpoints.map(({ url }) => url)).size === endpoints.length,
          'expected each URL once',
        )
        .optional(),
      events: z.enum(['all', 'final']).default('all'),
    })
    .optional(),
  changesQueue: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,100}$/, 'expected a queue name of letters, digits, dots, hyphens and underscores')
    .refine((name) => !isInternal(name), 'expected a name Lastword does not use itself')
    .optional(),
}
