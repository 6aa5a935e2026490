/**
 * seven.io: the status query by many IDs, the logbook that replaces it, delivery receipts by webhook, and the webhook
 * subscriptions. Each interface is a file of its own beside this one.
 *
 * Source: https://docs.seven.io/en/rest-api.
 */
import { normalizePhoneNumber } from '../phone-number.ts'
import type { Provider, StatusLookup } from '../provider.ts'
import { type SevenAccount, sevenAccountSchema } from './account.ts'
import { sevenHooks } from './hooks.ts'
import { sevenLogbook } from './logbook.ts'
import { isMessageId } from './reports.ts'
import { checkSignature } from './signature.ts'
import { sevenStatusQuery } from './status-query.ts'
import { readSevenReceipts } from './webhook.ts'

/** The look-ups of each setting of `query`, in order. */
const LOOKUPS = {
  auto: [sevenStatusQuery, sevenLogbook],
  status: [sevenStatusQuery],
  logbook: [sevenLogbook],
  off: [],
} as const satisfies Record<SevenAccount['query'], readonly ((account: SevenAccount) => StatusLookup)[]>

export const seven: Provider<SevenAccount> = {
  name: 'seven',
  accountSchema: sevenAccountSchema,
  keyedByRecipient: false,
  idsMayRecur: false,
  messageIdRule: '1 to 64 letters, digits, dots, hyphens and underscores, as in "77232007287"',
  givenIds: { pattern: /^\d+$/, rule: 'only digits, as in "77232007287"' },
  normalizeMessageId(messageId) {
    const id = messageId.trim()
    return isMessageId(id) ? id : undefined
  },
  normalizeRecipient: normalizePhoneNumber,
  lookups: (account) => LOOKUPS[account.query].map((lookup) => lookup(account)),
  hooks: sevenHooks,
  verifyWebhook: ({ signingKey: signingKeys, signatureFreshnessMs: freshnessMs }, request) =>
    signingKeys === undefined ? undefined : checkSignature({ signingKeys, freshnessMs }, request),
  readReceipts: readSevenReceipts,
}
