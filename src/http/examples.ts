/** The examples of the OpenAPI document. A test validates each against its schema. */

const delivered = {
  account: 'seven',
  messageId: '77232007287',
  recipient: '+491700000000',
  status: 'delivered',
  final: true,
  statusAt: '2026-01-31T10:00:05.000Z',
  settledBy: 'poll',
  sentAt: '2026-01-31T10:00:00.000Z',
  polls: 1,
  nextPollAt: null,
  windowEndsAt: '2026-03-02T10:00:00.000Z',
  metadata: { order: 4711 },
}

export const trackingOrder = {
  account: 'seven',
  messages: [
    {
      messageId: '77232007287',
      sentAt: '2026-01-31T10:00:00Z',
      recipient: '+491700000000',
      metadata: { order: 4711 },
    },
    { messageId: '77232007288' },
  ],
}
export const tracked = { tracked: 2, alreadyTracked: 0 }
export const dueMessage = {
  ...delivered,
  status: 'transmitted',
  final: false,
  statusAt: '2026-01-31T10:00:02.000Z',
  settledBy: null,
  nextPollAt: '2026-01-31T10:01:30.000Z',
}
export const messagePage = { messages: [delivered], nextCursor: 'm1' }
export const messageDetails = {
  ...delivered,
  reports: [
    {
      status: 'delivered',
      rawStatus: 'DELIVERED',
      source: 'poll',
      occurredAt: '2026-01-31T10:00:05.000Z',
      receivedAt: '2026-01-31T10:01:00.412Z',
      outcome: 'applied',
      error: null,
    },
  ],
}
export const failedCallbacks = {
  callbacks: [
    {
      change: 4711,
      account: 'seven',
      receiver: 'https://example.com',
      attempts: 80,
      firstDueAt: '2026-01-31T10:01:00.412Z',
      lastError: 'the receiver answered HTTP 500',
    },
  ],
  nextCursor: null,
}

export const changePage = {
  changes: [
    {
      account: 'seven',
      messageId: '77232007287',
      recipient: '+491700000000',
      status: 'delivered',
      previousStatus: null,
      final: true,
      source: 'poll',
      occurredAt: '2026-01-31T10:00:05.000Z',
      changedAt: '2026-01-31T10:01:00.412Z',
      metadata: { order: 4711 },
    },
  ],
  next: 'c1.mjd6yv4w',
}
export const accountList = {
  accounts: [
    {
      account: 'seven',
      provider: 'seven',
      query: 'auto',
      lookup: 'status',
      status: 'ok',
      trouble: null,
      troubleSince: null,
      pausedUntil: null,
      lastGoodAnswer: '2026-01-31T10:00:05.120Z',
      noGoodAnswerSince: null,
      lastError: null,
      webhookRoute: { state: 'ok', since: '2026-01-03T08:15:00.000Z', lost: 0, lagP95: 3.4 },
      schedule: { policy: 'learned', price: 300, webhookLoss: 0.03, finalsSeen: 48213 },
    },
  ],
}
export const schedule = {
  account: 'seven',
  policy: 'learned',
  price: 300,
  webhookLoss: 0.03,
  finalsSeen: 48213,
  webhookLagP95: 3.4,
  alone: [3600, 7200, 14400],
  shared: [35.2, 141, 520],
  curve: [
    [0, 0],
    [5, 0.37],
    [60, 0.87],
    [3600, 0.93],
  ],
}
export const ready = { status: 'ok', database: 'ok', migrations: 'ok', queue: 'ok', worker: 'ok' }
export const notReady = { ...ready, status: 'unavailable', database: 'takes no writes', worker: 'unknown' }

const problem = (status: number, code: string, title: string, when: string, detail: string, more: object = {}) => ({
  when,
  example: { type: 'about:blank', title, status, detail, code, ...more },
})
const invalid = (when: string, what: string, path: string, message: string) =>
  problem(400, 'INPUT_INVALID', 'Invalid request', when, `${what} ${path}: ${message}.`, {
    errors: [{ path, message }],
  })

/** Problem documents by what went wrong. */
export const problems = {
  invalidBody: invalid(
    'The body is not valid. Nothing was tracked.',
    'The body is not valid.',
    'messages[0].messageId',
    'expected a message ID, found an empty string',
  ),
  invalidQuery: invalid(
    'A parameter is not valid.',
    'The query is not valid.',
    'limit',
    'Too big: expected number to be <=1000',
  ),
  unreadableReceipt: problem(
    400,
    'INPUT_INVALID',
    'Invalid request',
    'The receipt cannot be read.',
    'Expected a JSON body, found text that is not JSON.',
  ),
  noKey: problem(
    401,
    'UNAUTHORIZED',
    'Unauthorized',
    'No API key, or one that is not configured.',
    'Expected an API key (Authorization: Bearer …), found none.',
  ),
  wrongToken: problem(
    401,
    'UNAUTHORIZED',
    'Unauthorized',
    'The token or the signature is not right.',
    'Expected the webhook token of this account at the end of the URL.',
  ),
  noToken: problem(
    403,
    'FORBIDDEN',
    'Forbidden',
    'The account has neither token nor signing key, and `HOST` is not a loopback address.',
    'Account "seven" has neither a signingKey nor a webhookToken, so it takes webhooks on a loopback HOST only.',
  ),
  unknownAccount: problem(
    404,
    'NOT_FOUND',
    'Not found',
    'No such account is configured.',
    'No account named "other" is configured; known are: seven.',
  ),
  noAccount: problem(
    404,
    'NOT_FOUND',
    'Not found',
    'No such account is configured.',
    'No such account is configured here; correct the webhook URL.',
  ),
  unknownMessage: problem(
    404,
    'NOT_FOUND',
    'Not found',
    'No such message is tracked.',
    'No such message is tracked; check the account and the message ID.',
  ),
  severalRecipients: problem(
    409,
    'AMBIGUOUS',
    'Several recipients',
    'The message ID covers several recipients.',
    'The message ID covers 2 recipients; add ?recipient= with one of them.',
    { recipients: ['+31600000001', '+31600000002'] },
  ),
  notAskedAbout: problem(
    409,
    'CONFLICT',
    'Conflict',
    'The message is not asked about any more, cannot be asked about, or its ID covers several recipients.',
    'The message is not asked about any more: it is delivered.',
  ),
  cursorTooOld: problem(
    410,
    'GONE',
    'Gone',
    'The changes after this cursor have been deleted.',
    'The changes after this cursor have been deleted: it is older than CHANGES_RETENTION. Read the messages once by GET /v1/messages, then go on from after=latest.',
  ),
  tooLarge: problem(
    413,
    'INPUT_INVALID',
    'Invalid request',
    'The body is too large.',
    'The body is too large; send it in several requests.',
  ),
  notJson: problem(
    415,
    'INPUT_INVALID',
    'Invalid request',
    'The body is not JSON.',
    'Expected a body of type application/json.',
  ),
  unavailable: problem(
    503,
    'UNAVAILABLE',
    'Temporarily unavailable',
    'The database does not answer. Nothing was done; try again after `Retry-After` seconds.',
    'The database does not answer (connection refused). Try again shortly.',
  ),
}
