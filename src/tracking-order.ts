/**
 * Orders to track messages, as they come by HTTP, by queue or from the app's own code: what an order may hold, and for an
 * order that may be tracked in part, which of its messages can be read.
 */
import { z } from 'zod'
import { formatPath, LastwordError } from './core/errors.ts'
import { parseInput } from './parse-input.ts'
import { hasCredentials } from './providers/account.ts'
import { cleanPhoneNumber } from './providers/phone-number.ts'
import { named } from './schema-names.ts'

/** The most messages in one order. */
const MOST_MESSAGES = 10_000
const LONGEST_URL = 2000
/** Every reader of JSON goes down level by level, and deep ones end it. */
const DEEPEST = 100

/** A NUL as JSON writes it, and not the text of a backslash and `u0000`. */
const nulCharacter = /(?<!\\)(?:\\\\)*\\u0000/
const metadataSchema = z
  .record(z.string(), z.json())
  .refine((value) => !nulCharacter.test(JSON.stringify(value)), 'expected no NUL characters')
  .refine(isExact, 'found a number beyond the exact integers, which JSON rounds; send it as text')

/** False where a number is so large that its last digits were lost before it came here. */
function isExact(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isInteger(value) || Number.isSafeInteger(value)
  return typeof value !== 'object' || value === null || Object.values(value).every(isExact)
}

/** Whether the address may be called is decided when it is called. */
const callbackUrlSchema = z
  .string()
  .refine(
    (text) => text.length <= LONGEST_URL && /^https?:\/\/[^\s\p{Cc}]+$/iu.test(text) && URL.canParse(text),
    `expected a URL that begins with https://, of at most ${LONGEST_URL} characters`,
  )
  .refine((url) => !hasCredentials(url), 'expected a URL without a user name and password, which would not be sent')

/** A bulk answer has no ID for a number that the provider refused. */
const NO_ID = 'the provider gave no ID for this one; with "partial": true the others are tracked'

const ID_RULE = 'expected a message ID: a text, or a whole number that JSON carries exactly'

const messageIdSchema = z
  .union([z.string(), z.int(ID_RULE).nonnegative(ID_RULE)], {
    error: ({ input }) =>
      input === null || input === undefined
        ? `expected a message ID, found ${input === null ? 'null' : 'nothing'}: ${NO_ID}`
        : ID_RULE,
  })
  .transform(String)
  .pipe(z.string().refine((text) => text.trim() !== '', `expected a message ID, found an empty text: ${NO_ID}`))

const PHONE_RULE = 'expected a phone number of 3 to 30 characters, like +491700000000'

/** A message of an order, as an app hands it over. */
export const messageSchema = named(
  'MessageToTrack',
  z.strictObject({
    messageId: messageIdSchema.describe(
      'The provider’s ID of the message; at CM.com, your `reference`. A number is taken as its digits.',
    ),
    sentAt: z.iso
      .datetime({ offset: true, message: 'expected an ISO 8601 time with an offset, like 2026-01-31T10:00:00Z' })
      .optional()
      .describe(
        'When the message is sent; now, if absent. At most a year ahead, and within the look-up window. Nothing is asked before.',
      ),
    recipient: z
      .string()
      .regex(/^\s*(?:[a-z]+\.?:\s*)?(?:%2B)?[^A-Za-z]{3,60}(?:;.*)?$/i, { abort: true, error: PHONE_RULE })
      .refine((text) => {
        const clean = cleanPhoneNumber(text)
        return /^[(]?\+?[\d ()./-]{3,40}$/.test(clean) && /\d{3}/.test(clean.replace(/\D/g, ''))
      }, PHONE_RULE)
      .optional()
      .describe('The phone number, with its country code. Needed where one reference goes to several recipients.'),
    metadata: metadataSchema
      .optional()
      .describe(
        'Whatever your app wants to find again with the message. No NUL characters, at most 100 levels with the order around; whole numbers of more than 15 digits as text.',
      ),
    callbackUrl: callbackUrlSchema
      .optional()
      .describe('Where the changes of this message are sent, instead of the account’s callback URL.'),
  }),
)
export type OrderedMessage = z.output<typeof messageSchema>

function listOf<T extends z.ZodType>(schema: T) {
  return z
    .array(schema)
    .min(1, 'expected at least one message')
    .max(MOST_MESSAGES, `expected at most ${MOST_MESSAGES} messages; send the rest in a further request`)
}

const EXAMPLE = {
  account: 'seven',
  messages: [
    { messageId: '77232007287', recipient: '+491700000000', metadata: { order: 4711 } },
    { messageId: '77232007288' },
  ],
}

/** The body of `POST /v1/messages`, and with `v` the payload of a job in the queue `track`. */
export const trackingOrderSchema = named(
  'Order',
  z
    .strictObject({
      account: z.string().describe('The name of the account the messages were sent with.'),
      messages: listOf(messageSchema).describe('The messages; one that stands here twice counts once.'),
      partial: z
        .boolean()
        .optional()
        .describe('Tracks the messages that can be tracked, and answers with the others, instead of all or none.'),
    })
    .meta({
      description:
        'The account the messages were sent with, and what the provider answered. Only the IDs are required.',
      examples: [EXAMPLE],
    }),
)

/** A message of an order that was not tracked, by its place in the order. */
export interface Refused {
  index: number
  messageId: string | null
  reason: string
}

/** The messages of an order that can be read, with their places, and the others. */
export interface ReadOrder {
  account: string
  partial: boolean
  messages: { index: number; message: OrderedMessage }[]
  refused: Refused[]
}

const partialOrderSchema = trackingOrderSchema.extend({ messages: listOf(z.unknown()) })

/**
 * Reads an order. `partial`, in the order or beside it, passes over the messages that cannot be read, with a reason for
 * each. Throws INPUT_INVALID otherwise, with where and what was expected.
 */
export function readOrder(given: unknown, what: string, partialBeside = false): ReadOrder {
  if (isDeeperThan(DEEPEST, given)) {
    throw new LastwordError('INPUT_INVALID', `The ${what} is nested too deeply; expected at most ${DEEPEST} levels.`)
  }
  const value = inOneForm(given)
  const envelope = partialOrderSchema.safeParse(value).data
  if (!envelope || !(envelope.partial ?? partialBeside)) {
    const { account, messages } = parseInput(trackingOrderSchema, value, what)
    return {
      account,
      partial: false,
      messages: messages.map((message, index) => ({ index, message })),
      refused: [],
    }
  }
  const order: ReadOrder = { account: envelope.account, partial: true, messages: [], refused: [] }
  for (const [index, given] of envelope.messages.entries()) {
    const { data, error } = messageSchema.safeParse(given)
    if (data) order.messages.push({ index, message: data })
    else order.refused.push({ index, messageId: idOf(given), reason: reasonOf(error.issues) })
  }
  return order
}

const NEVER_NULL: ReadonlySet<string> = new Set(['messageId', 'sentAt'])

/** An order in the one form that the schema knows, however its messages were serialised. */
function inOneForm(order: unknown): unknown {
  if (!isObject(order) || !Array.isArray(order.messages)) return order
  return {
    ...order,
    messages: order.messages.map((message) => (isObject(message) ? messageInOneForm(message) : message)),
  }
}

/**
 * `null` stands for what is absent, but as ID, and as time, where JavaScript makes it of a date that is none. PHP and Python
 * write offsets without a colon, Postgres without minutes and with a space for the T, and Java no seconds of 0.
 */
function messageInOneForm(message: Record<string, unknown>): object {
  const entries = Object.entries(message).filter(([name, value]) => value !== null || NEVER_NULL.has(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, inForm(name, value)]))
}

function inForm(name: string, value: unknown): unknown {
  if (name === 'recipient' && Number.isSafeInteger(value)) return String(value)
  if (name !== 'sentAt' || typeof value !== 'string') return value
  const time = value
    .trim()
    .replace(/^([\d-]{10}) (?=\d)/, '$1T')
    .replace(/(T\d\d:\d\d)(?=Z|[+-])/i, '$1:00')
  return time
    .replace(/(?<=T.*)([+-]\d\d):?(\d\d)?$/, (_, hours: string, minutes = '00') => `${hours}:${minutes}`)
    .replace(/z$/, 'Z')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((item) => isDeeperThan(levels - 1, item))
}

function idOf(given: unknown): string | null {
  const id: unknown = typeof given === 'object' && given !== null ? Reflect.get(given, 'messageId') : undefined
  return typeof id === 'string' || typeof id === 'number' ? String(id).slice(0, 300) : null
}

function reasonOf(issues: readonly z.core.$ZodIssue[]): string {
  return issues.map(({ path, message }) => `${path.length > 0 ? `${formatPath(path)}: ` : ''}${message}`).join('; ')
}
