/** The answers of routes to requests that fail: problem documents by the kind of failure, each with an example. */
import { z } from 'zod'
import { type ErrorCode, LastwordError } from '../../core/errors.ts'
import { named } from '../../schema-names.ts'

const CODES = [
  'INPUT_INVALID',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'TOO_LARGE',
  'NOT_FOUND',
  'AMBIGUOUS',
  'CONFLICT',
  'GONE',
  'UNAVAILABLE',
  'METHOD_NOT_ALLOWED',
  'MISDIRECTED',
  'INTERNAL',
] as const satisfies readonly (ErrorCode | 'METHOD_NOT_ALLOWED' | 'MISDIRECTED' | 'INTERNAL')[]

/** `status` is for the refusals of the server itself, which are invalid input with statuses of their own. */
function problem(
  code: ErrorCode,
  when: string,
  detail = when,
  more: { status?: number; [name: string]: unknown } = {},
) {
  const { title, status } = new LastwordError(code, detail)
  return { when, example: { type: 'about:blank', title, status, detail, code, ...more } }
}

function invalid(when: string, what: string, path: string, message: string) {
  return problem('INPUT_INVALID', when, `${what} ${path}: ${message}.`, { errors: [{ path, message }] })
}

export const PROBLEMS = {
  invalidBody: invalid(
    'The body is not valid. Nothing was tracked.',
    'The body is not valid.',
    'messages[0].messageId',
    'expected a message ID, found an empty text',
  ),
  invalidQuery: invalid(
    'A parameter is not valid.',
    'The query is not valid.',
    'limit',
    'Too big: expected number to be <=1000',
  ),
  unreadableReceipt: problem(
    'INPUT_INVALID',
    'The receipt cannot be read.',
    'Expected a JSON body, found text that is not JSON.',
  ),
  noKey: problem(
    'UNAUTHORIZED',
    'No API key, or one that is not configured.',
    'Expected an API key (Authorization: Bearer …), found none.',
  ),
  keyMayOnlyLook: problem(
    'FORBIDDEN',
    'The key may change nothing.',
    'Expected a key of API_KEYS, found one of READ_KEYS, which may look and change nothing.',
  ),
  keyMayOnlyMeasure: problem(
    'FORBIDDEN',
    'The key may read `/metrics` and nothing else.',
    'Expected a key of API_KEYS or READ_KEYS, found one of METRICS_KEYS, which may read /metrics and nothing else.',
  ),
  wrongToken: problem(
    'UNAUTHORIZED',
    'The token or the signature is not right.',
    'Expected the webhook token of this account at the end of the URL.',
  ),
  noToken: problem(
    'FORBIDDEN',
    'The account has neither token nor signing key, and `HOST` is not a loopback address.',
    'Account "seven" has neither a signingKey nor a webhookToken, so it takes webhooks on a loopback HOST only.',
  ),
  tooManyWrong: problem(
    'UNAUTHORIZED',
    'Wrong again, by an address that was so more than 20 times within a minute. A right one is let in at once.',
    'This address has brought a wrong key more than 20 times within a minute; correct it. A right one is let in at once.',
    { title: 'Too many requests', status: 429 },
  ),
  unknownAccount: problem('NOT_FOUND', 'No such account is configured.', 'No account named "other" is configured.'),
  noAccount: problem('NOT_FOUND', 'No such account is configured here; correct the webhook URL.'),
  unknownMessage: problem('NOT_FOUND', 'No such message is tracked; check the account and the message ID.'),
  unknownNumber: problem('NOT_FOUND', 'No message to this number is known; check that it has its country code.'),
  severalRecipients: problem(
    'AMBIGUOUS',
    'The message ID covers several recipients.',
    'The message ID covers 2 recipients; add ?recipient= with one of them.',
    { recipients: ['+31600000001', '+31600000002'] },
  ),
  notAskedAbout: problem(
    'CONFLICT',
    'The message is not asked about any more, cannot be asked about, or its ID covers several recipients.',
    'The message is not asked about any more: it is delivered.',
  ),
  cursorTooOld: problem(
    'GONE',
    'The changes after this cursor have been deleted.',
    'The changes after this cursor have been deleted: it is older than CHANGES_RETENTION. Read the messages once by GET /v1/messages, then go on from after=latest.',
  ),
  tooLarge: problem('INPUT_INVALID', 'The body is too large; send it in several requests.', undefined, { status: 413 }),
  notJson: problem('INPUT_INVALID', 'The body is not JSON.', 'Expected a body of type application/json.', {
    status: 415,
  }),
  unavailable: problem(
    'UNAVAILABLE',
    'The database does not answer. Nothing was done; try again after `Retry-After` seconds.',
    'The database does not answer (connection refused). Try again shortly.',
  ),
  queueAway: problem(
    'UNAVAILABLE',
    'The messages are erased, and the queue does not answer: repeat the request after `Retry-After` seconds, so that its jobs lose the number, too.',
    'The messages are erased. The queue does not answer: repeat the request later, so that its jobs lose the number, too.',
  ),
}

export const problemSchema = named(
  'Problem',
  z
    .object({
      type: z.string().describe('Always `about:blank`: `code` tells the problems apart.'),
      title: z.string().describe('The kind of problem, in words.'),
      status: z.int().min(400).max(599).describe('The HTTP status.'),
      detail: z.string().describe('What was expected, what was found, and what to do.'),
      code: z.enum(CODES).describe('The kind of problem, for programs.'),
      errors: z
        .array(
          z.object({
            path: z.string().describe('Where, as in `messages[2].sentAt`.'),
            message: z.string().describe('What was expected there.'),
          }),
        )
        .optional()
        .describe('Each wrong place of an input; the first 20.'),
      recipients: z
        .array(z.string().nullable())
        .optional()
        .describe('With `AMBIGUOUS`: the recipients that the message ID covers.'),
    })
    .meta({ examples: [PROBLEMS.unknownMessage.example] }),
)
