/**
 * The knobs: faults of the sandbox provider, changeable while it runs. Shares are numbers from 0 to 1. Knobs of
 * webhooks and faults hold for both providers, knobs that begin with `cm` for CM.com alone.
 */
import { z } from 'zod'
import { LastwordError } from '../core/errors.ts'
import { WEBHOOK_ENCODINGS } from './encodings.ts'

/** The forms of CM.com's receipts; the knob takes `mixed` too. */
export const CM_WEBHOOK_FORMS = [
  'json',
  'jsonArray',
  'xml',
  'xmlSeveral',
  'getUpper',
  'getLower',
  'formUpper',
  'formLower',
  'older',
  'query',
  'parts',
] as const

/** The forms of seven.io's receipts; the knob takes `mixed` too. */
export const SEVEN_WEBHOOK_FORMS = [
  'JSON',
  'GET',
  'POST',
  'nested',
  'flat',
  'list',
  'older',
  'query',
  'parts',
  'rcs',
] as const

const share = z.number().min(0).max(1)

const knobsSchema = z.strictObject({
  /** Where delivery receipts go; null sends none. */
  webhookUrl: z.url({ protocol: /^https?$/ }).nullable(),
  /**
   * How those at `webhookUrl` are written: JSON, a GET, a flat form, a form with `data[msg_id]`; JSON without `data`, or
   * in a list; the older call-back by GET, which names no event; a POST with its fields in the query; a form in parts; the
   * event of RCS; or any of them.
   */
  webhookForm: z.enum([...SEVEN_WEBHOOK_FORMS, 'mixed']),
  /** How the bodies of both providers' webhooks are put into bytes. */
  webhookEncoding: z.enum(WEBHOOK_ENCODINGS),
  /** The key that seven.io's webhooks are signed with; null signs none. */
  signingKey: z.string().min(1).nullable(),
  /** The writing of the URL in a signature: the complete one, or path and query alone. */
  signatureUrl: z.enum(['full', 'path']),
  /** A retry gets a new time, nonce and signature; without this, it repeats them. */
  signRetriesAnew: z.boolean(),
  /** Where CM.com's delivery receipts go; null sends none. */
  cmWebhookUrl: z.url({ protocol: /^https?$/ }).nullable(),
  /**
   * How CM.com's delivery receipts are written; `jsonArray` and `xmlSeveral` repeat all of the message so far, `older` is a
   * GET in the oldest words, `query` a POST with its fields in the query, `parts` a form in parts.
   */
  cmWebhookForm: z.enum([...CM_WEBHOOK_FORMS, 'mixed']),
  /** The share of CM.com's delivered messages that fail after all; counts when they are sent. */
  failedAfterDelivered: share,
  /** The `status` of CM.com's answer that there are no transactions, which is not known. */
  cmEmptyStatus: z.int(),
  /** How often, beside a delivery receipt, something else is sent: another event, nothing, or what nobody filled in. */
  webhookNoise: share,
  /** The share of single delivery receipts that are never sent. */
  webhookLoss: share,
  /** The share of messages none of whose delivery receipts are sent. */
  webhookLossPerMessage: share,
  /** The share of delivery receipts sent twice. */
  webhookDuplicates: share,
  /** The share of delivery receipts held back until the next one of the same message has been sent. */
  webhookReorder: share,
  /** The lag of a delivery receipt behind its status: lognormal, in time of the law. */
  webhookDelay: z.strictObject({ medianMs: z.number().min(0), sigma: z.number().min(0).max(5).default(0) }),
  /** How long the receiver may take to answer, in real time. */
  webhookTimeoutMs: z.number().min(1),
  /** The status query's answer about IDs it does not know: no row, a null row, or 600 for the whole request. */
  unknownIds: z.enum(['missing', 'null', 'error']),
  /** IDs that make the status query answer 600 for the whole request, in the form of `errorCode`. */
  poisonIds: z.array(z.string().min(1)),
  /** `gone…` switches the status query off: 404, 410, or a 200 that says so. */
  statusQuery: z.enum(['on', 'gone404', 'gone410', 'gone200']),
  /** Status queries answered with 429; `retryAfter` is in seconds, or `date` for an HTTP date in 1 to 2 seconds. */
  rateLimited: z.strictObject({ share, retryAfter: z.union([z.int().min(0), z.literal('date')]).default(1) }),
  /** Status queries answered with 500, 502, 503 or 504. */
  serverErrors: share,
  /**
   * Status queries answered with a certain HTTP status, and `retryAfter` seconds where it is given; with `times` so many,
   * counted from when the knob is turned: 1 is a single mishap, 50 a burst.
   */
  httpError: z.strictObject({
    share,
    status: z.int().min(400).max(599).default(400),
    retryAfter: z.int().min(0).nullable().default(null),
    times: z.int().min(1).nullable().default(null),
  }),
  /** Status queries never answered; their connection is closed after a minute. */
  timeouts: share,
  /** Status queries answered with JSON that breaks off, in a body that is complete by its length. */
  malformed: share,
  /** Status queries whose connection is closed in mid-body. */
  cutOff: share,
  /** Status queries answered with an error code in a 200, in one of the forms that have been seen. */
  errorCode: z.strictObject({
    share,
    code: z.int().default(900),
    form: z.enum(['number', 'string', 'code', 'error_code']).default('number'),
  }),
  /** Answers to status queries are gzipped, whether that was asked for or not. */
  gzippedAnswers: z.boolean(),
  /** Status queries are redirected by 301: to another path of this server, or to another server. */
  moved: z.enum(['no', 'here', 'elsewhere']),
  /** How long a status query takes, in real time. */
  latencyMs: z.number().min(0),
})

const patchSchema = knobsSchema.partial()

export type Knobs = z.output<typeof knobsSchema>
export type KnobsPatch = z.input<typeof patchSchema>

/** Everything works, and nobody is told. */
export const DEFAULT_KNOBS: Knobs = {
  webhookUrl: null,
  webhookForm: 'JSON',
  webhookEncoding: 'plain',
  signingKey: null,
  signatureUrl: 'full',
  signRetriesAnew: false,
  cmWebhookUrl: null,
  cmWebhookForm: 'json',
  failedAfterDelivered: 0,
  cmEmptyStatus: 1,
  webhookNoise: 0,
  webhookLoss: 0,
  webhookLossPerMessage: 0,
  webhookDuplicates: 0,
  webhookReorder: 0,
  webhookDelay: { medianMs: 0, sigma: 0 },
  webhookTimeoutMs: 5_000,
  unknownIds: 'missing',
  poisonIds: [],
  statusQuery: 'on',
  rateLimited: { share: 0, retryAfter: 1 },
  serverErrors: 0,
  httpError: { share: 0, status: 400, retryAfter: null, times: null },
  timeouts: 0,
  malformed: 0,
  cutOff: 0,
  errorCode: { share: 0, code: 900, form: 'number' },
  gzippedAnswers: false,
  moved: 'no',
  latencyMs: 0,
}

/** The knobs with some of them turned. Throws INPUT_INVALID for a knob that does not exist or cannot be turned so. */
export function turnKnobs(knobs: Knobs, patch: unknown): Knobs {
  const result = patchSchema.safeParse(patch)
  if (!result.success) {
    const issues = result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }))
    const said = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')
    throw new LastwordError('INPUT_INVALID', `Expected knobs of the sandbox; ${said}.`, { issues })
  }
  const given = Object.entries(result.data).filter(([, value]) => value !== undefined)
  const turned: Knobs = { ...knobs, ...Object.fromEntries(given) }
  const faults =
    turned.rateLimited.share +
    turned.serverErrors +
    turned.httpError.share +
    turned.timeouts +
    turned.malformed +
    turned.cutOff +
    turned.errorCode.share
  // Tenths do not add up exactly in binary.
  if (faults > 1 + 1e-9) {
    throw new LastwordError(
      'INPUT_INVALID',
      `Expected the shares of all faults to be at most 1 together, got ${faults}.`,
    )
  }
  return turned
}
