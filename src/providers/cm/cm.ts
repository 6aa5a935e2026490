/**
 * CM.com: delivery receipts by webhook, and status queries by window of time.
 *
 * Sending at CM returns no message ID: the key is the sender's own reference together with the recipient. Receipts are
 * not signed; what protects them is the token at the end of the webhook URL.
 *
 *   account.ts       the account, references, the time zone
 *   webhook.ts       receipts in the values of a request, whatever its wrapping was
 *   transactions.ts  the transactions API
 */

import { normalizePhoneNumber } from '../phone-number.ts'
import type { Provider } from '../provider.ts'
import { CM_REFERENCE_RULE, type CmAccount, cmAccountSchema, normalizeReference } from './account.ts'
import { transactionsOf } from './transactions.ts'
import { readCmReceipts } from './webhook.ts'

export const cm: Provider<CmAccount> = {
  name: 'cm',
  accountSchema: cmAccountSchema,
  keyedByRecipient: true,
  idsMayRecur: true,
  messageIdRule: CM_REFERENCE_RULE,
  normalizeMessageId: normalizeReference,
  normalizeRecipient: normalizePhoneNumber,
  lookups: (account) => (account.query === 'off' ? [] : [{ name: 'transactions', byWindow: transactionsOf(account) }]),
  readReceipts: readCmReceipts,
}
