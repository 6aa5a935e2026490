/**
 * The tables of Lastword, in a schema of its own so that it can live in the sending app's database.
 *
 * messages        one row per message. A row with `tracked_at` null holds the status of a message that reports told of
 *                 before the app did; tracking it later keeps what is known already.
 * due             the schedule: one row for each outstanding message that nobody is asking about (see schedule.ts).
 * batches         one row for each batch that somebody is asking about, with the messages in it.
 * failures        the tracked messages whose final status is a failure, or unknown, to be found by status and by code.
 * message_metadata  a number for each value in the metadata of a message, to be found by (see list.ts).
 * status_reports  every report as it came, append-only.
 * changes         every change of a tracked message's status, in the order of their commits (see changes.ts).
 * feed_readers    how far each reader inside the service has come in the changes.
 * callbacks       one row for each change that is to be sent to a URL and has not been taken yet.
 * hour_counts     how many messages are outstanding, have ended and how, by hour and account (see counts.ts); counts_pending: what is to be added.
 * erased          which messages were erased, for as long as reports of them may come: those are dropped.
 * account_states  what asking has shown of accounts (core/account-health.ts), and what tracking must know of them.
 * account_learning  when the messages of an account become final and how its receipts come (core/learning.ts).
 * installation    one row: who this installation is, and when a worker was last seen.
 * acts, alerts, callback_attempts, receivers, status_queries  see the files beside this one (*-tables.ts).
 * webhook_nonces  nonces of signed webhooks, for as long as their signatures are fresh.
 */
import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  doublePrecision,
  index,
  integer,
  json,
  jsonb,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import type { AccountHealth } from '../core/account-health.ts'
import type { PollingPolicy } from '../core/polling.ts'
import { SOURCES, STATUSES, type StatusError } from '../core/status.ts'

export const lastword = pgSchema('lastword')

export const statusEnum = lastword.enum('status', STATUSES)
export const sourceEnum = lastword.enum('source', SOURCES)

export const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })

export const messages = lastword.table(
  'messages',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    account: text('account').notNull(),
    messageId: text('message_id').notNull(),
    /** The normal form of the recipient where the provider's key includes it, else empty. */
    recipientKey: text('recipient_key').notNull().default(''),
    /** As the app gave it. */
    recipient: text('recipient'),
    /** The recipient in the one normal form of all providers, to be found by. */
    number: text('number'),
    sentAt: instant('sent_at').notNull(),
    windowEndsAt: instant('window_ends_at').notNull(),
    trackedAt: instant('tracked_at'),
    metadata: jsonb('metadata'),
    status: statusEnum('status'),
    final: boolean('final').notNull().default(false),
    statusAt: instant('status_at'),
    /** The rank of the latest news (core/settle.ts), and when the message was read: the two maxima of the law of order. */
    statusRank: bigint('status_rank', { mode: 'number' }).notNull().default(-1),
    readAt: instant('read_at'),
    /** Since when reports count, where the message was sent again under the same ID (core/lives.ts). */
    lifeSince: instant('life_since'),
    /** The source of the status that stands. */
    settledBy: sourceEnum('settled_by'),
    polls: integer('polls').notNull().default(0),
    /** When an answer last told of it, or left it out. */
    askedAt: instant('asked_at'),
    /** When it is due, or was when its batch was claimed; null when nothing is to be asked any more. */
    dueAt: instant('due_at'),
    /** When somebody wanted it asked about at once; null again when an answer has told of it. */
    wantedAt: instant('wanted_at'),
    /** When `status` was last set to another. */
    changedAt: instant('changed_at'),
    /** How long after it happened `status` was known, in seconds. */
    knownAfter: integer('known_after'),
    /** The provider's code of the error, where `status` is a failure. */
    errorCode: text('error_code'),
    /** Where the app wants the changes of this message sent, instead of the account's callback URL. */
    callbackUrl: text('callback_url'),
    /** Why the provider refused to answer about this message; it is then asked about alone, and rarely. */
    queryError: text('query_error'),
  },
  (table) => [
    // No index on anything that settling changes: an update then stays within its page, and touches no index.
    uniqueIndex('messages_key').on(table.account, table.messageId, table.recipientKey),
    index('messages_untracked').on(table.sentAt).where(sql`${table.trackedAt} IS NULL`),
    index('messages_sent').on(table.account, table.sentAt, table.id).where(sql`${table.trackedAt} IS NOT NULL`),
    index('messages_number').on(table.number, table.sentAt, table.id).where(sql`${table.number} IS NOT NULL`),
  ],
)

export const failures = lastword.table(
  'failures',
  {
    message: bigint('message', { mode: 'number' }).primaryKey(),
    account: text('account').notNull(),
    status: statusEnum('status').notNull(),
    /** The provider's code of the error. */
    code: text('code'),
    sentAt: instant('sent_at').notNull(),
  },
  (table) => [
    index('failures_status').on(table.account, table.status, table.sentAt, table.message),
    index('failures_code').on(table.account, table.code, table.sentAt, table.message),
  ],
)

export const messageMetadata = lastword.table(
  'message_metadata',
  {
    /** The hash of a key and its value (see metadata-entry.ts). */
    entry: bigint('entry', { mode: 'number' }).notNull(),
    sentAt: instant('sent_at').notNull(),
    message: bigint('message', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.entry, table.sentAt, table.message] })],
)

export const due = lastword.table(
  'due',
  {
    account: text('account').notNull(),
    dueAt: instant('due_at').notNull(),
    message: bigint('message', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.account, table.dueAt, table.message] })],
)

export const batches = lastword.table(
  'batches',
  {
    id: uuid('id').primaryKey(),
    account: text('account').notNull(),
    /** Until when nobody else may ask about these messages. */
    leaseEndsAt: instant('lease_ends_at').notNull(),
    messages: bigint('messages', { mode: 'number' }).array().notNull(),
  },
  (table) => [index('batches_lease').on(table.leaseEndsAt)],
)

export const statusReports = lastword.table(
  'status_reports',
  {
    id: bigint('id', { mode: 'number' }).notNull().generatedAlwaysAsIdentity(),
    /** The message's row. No foreign key: whoever writes a report holds a lock on that row, and it would be looked up again. */
    message: bigint('message', { mode: 'number' }).notNull(),
    status: statusEnum('status').notNull(),
    rawStatus: text('raw_status').notNull(),
    source: sourceEnum('source').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    receivedAt: instant('received_at').notNull().default(sql`now()`),
    error: jsonb('error').$type<StatusError>(),
    details: jsonb('details').$type<Record<string, unknown>>(),
  },
  // By message first, so that one index serves the key and the search.
  (table) => [primaryKey({ columns: [table.message, table.id] })],
)

export const erased = lastword.table('erased', {
  /** The hash of the message's key, or of its account and ID (see erasure.ts). */
  key: bigint('key', { mode: 'number' }).primaryKey(),
  until: instant('until').notNull(),
})

export const accountStates = lastword.table('account_states', {
  account: text('account').primaryKey(),
  health: jsonb('health').$type<AccountHealth>().notNull().default({}),
  /** A digest of the credentials and of where they are used: with others, what was learned counts no more. */
  credentials: text('credentials'),
  provider: text('provider'),
  polling: jsonb('polling').$type<PollingPolicy>(),
  /** The age, in milliseconds, at which messages are first asked about, by what has been learned. */
  firstAge: doublePrecision('first_age'),
  isPolled: boolean('is_polled').notNull().default(false),
  defaultCountry: text('default_country'),
  takesAnyId: boolean('takes_any_id').notNull().default(false),
  hasCallbacks: boolean('has_callbacks').notNull().default(true),
  goneUrl: text('gone_url'),
  /** The queues that were ever told of its changes: they may hold some for as long as they are there. */
  changesQueues: text('changes_queues').array().notNull().default([]),
})

export const accountLearning = lastword.table('account_learning', {
  account: text('account').primaryKey(),
  learned: jsonb('learned').notNull(),
})

export const changes = lastword.table(
  'changes',
  {
    /** Drawn while the transaction commits, under a lock: what has a lower position was visible before. */
    position: bigint('position', { mode: 'number' }).primaryKey(),
    message: bigint('message', { mode: 'number' }).notNull(),
    status: statusEnum('status').notNull(),
    previousStatus: statusEnum('previous_status'),
    source: sourceEnum('source').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    changedAt: instant('changed_at').notNull(),
  },
  (table) => [index('changes_message').on(table.message)],
)

export const changePositions = lastword.sequence('change_positions')

export const feedReaders = lastword.table('feed_readers', {
  /** `callbacks`, `changes-queue.<account>`, or `retention`, whose position is the last one deleted. */
  name: text('name').primaryKey(),
  position: bigint('position', { mode: 'number' }).notNull(),
})

/** The content of a callback. */
export interface CallbackBody {
  type: string
  /** When the change was made. */
  timestamp: string
  data: object
}

export const callbacks = lastword.table(
  'callbacks',
  {
    /** The position of the change. */
    change: bigint('change', { mode: 'number' }).primaryKey(),
    message: bigint('message', { mode: 'number' }).notNull(),
    account: text('account').notNull(),
    url: text('url').notNull(),
    /** The scheme, host and port of the URL. */
    receiver: text('receiver')
      .notNull()
      .generatedAlwaysAs(sql`lower(coalesce(substring(url from '^[^/]*//[^/?#]*'), url))`),
    /** The change as it was when it was due, whatever becomes of the message and of the feed's retention. */
    body: json('body').$type<CallbackBody>().notNull(),
    attempts: integer('attempts').notNull().default(0),
    firstDueAt: instant('first_due_at').notNull().default(sql`now()`),
    /** When it is next due, or until when a job holds it; null when it has failed for good. Postgres keeps no statistics of it. */
    nextAttemptAt: instant('next_attempt_at').default(sql`now()`),
    claim: uuid('claim'),
    lastError: text('last_error'),
  },
  (table) => [
    index('callbacks_due')
      .on(table.receiver, table.nextAttemptAt, table.change)
      .where(sql`${table.nextAttemptAt} IS NOT NULL`),
    index('callbacks_failing')
      .on(table.receiver, table.firstDueAt)
      .where(sql`${table.lastError} IS NOT NULL AND ${table.nextAttemptAt} IS NOT NULL`),
    index('callbacks_given_up').on(table.account, table.firstDueAt).where(sql`${table.nextAttemptAt} IS NULL`),
    index('callbacks_claimed').on(table.nextAttemptAt).where(sql`${table.claim} IS NOT NULL`),
    index('callbacks_message').on(table.message, table.change),
    index('callbacks_untaken').on(table.account, table.firstDueAt).where(sql`${table.nextAttemptAt} IS NOT NULL`),
  ],
)

const counted = {
  account: text('account').notNull(),
  /** The beginning of the hour. */
  hour: instant('hour').notNull(),
  measure: text('measure').notNull(),
  key: text('key').notNull(),
  n: bigint('n', { mode: 'number' }).notNull(),
}

export const hourCounts = lastword.table('hour_counts', counted, (table) => [
  primaryKey({ columns: [table.measure, table.hour, table.account, table.key] }),
])

export const countsPending = lastword.table('counts_pending', counted)

export const installation = lastword.table('installation', {
  isOnly: boolean('is_only').primaryKey().default(true),
  id: uuid('id').notNull().defaultRandom(),
  workerSeenAt: instant('worker_seen_at'),
  alertsSeenAt: instant('alerts_seen_at'),
  /** When receipts last had to wait for the database in numbers. */
  receiptsWaitedAt: instant('receipts_waited_at'),
})

export const webhookNonces = lastword.table(
  'webhook_nonces',
  {
    account: text('account').notNull(),
    nonce: text('nonce').notNull(),
    bodyDigest: text('body_digest').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.account, table.nonce] }),
    index('webhook_nonces_expiry').on(table.expiresAt),
  ],
)
