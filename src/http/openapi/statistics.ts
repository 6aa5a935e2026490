/** The answer of the statistics, as a schema with examples (answers.ts). */
import { z } from 'zod'
import { DELAYS } from '../../core/statistics.ts'
import { FINAL_STATUSES, SOURCES } from '../../core/status.ts'
import { countSchema, field, namedObject, textSchema, timeSchema } from './answers.ts'

/** A count for each of these names. */
function counts<K extends string>(names: readonly K[]) {
  return z.object(Object.fromEntries(names.map((name) => [name, countSchema])) as Record<K, typeof countSchema>)
}

const sums = {
  ended: counts(FINAL_STATUSES).describe('Messages by their final status.'),
  foundBy: counts(SOURCES).describe('The same messages by who found it.'),
  known: counts(DELAYS).describe(
    'By how long after it happened it was known: at most ten seconds, a minute, ten minutes, or later; without those whose window closed.',
  ),
  pollsSaved: countSchema.describe('Messages that a receipt settled before anybody asked about them.'),
  requests: countSchema.describe('Status queries that the provider answered.'),
  ids: countSchema.describe('Messages that these asked about, or were told of.'),
}

export const statisticsSchema = namedObject('Statistics', {
  hours: z
    .array(z.object({ hour: timeSchema.describe('When it began.'), ...sums }))
    .describe('The hours in which something happened.'),
  accounts: z
    .array(
      z.object({
        account: field(textSchema, 'seven', 'The name of the account.'),
        outstanding: countSchema.describe('Messages without a final status, now.'),
        oldestDue: field(
          z.number(),
          0,
          'For how many seconds the message that is due longest has waited to be asked about.',
        ),
        ...sums,
      }),
    )
    .describe('The same hours together, by account.'),
  outstanding: z
    .object({
      ages: z.array(
        z.object({
          upTo: field(
            z.number().nullable(),
            3600,
            'The most seconds since sending, more than those before; `null` for all others.',
          ),
          messages: countSchema,
        }),
      ),
      windowEndsWithinADay: countSchema.describe('Messages whose look-up window ends within a day.'),
    })
    .describe('The messages without a final status now, by the time since they were sent, to the hour.'),
  reasons: z
    .array(
      z.object({
        code: field(textSchema, '201', 'The provider’s code of the error, of at most 40 characters.'),
        messages: countSchema.describe('How many messages failed with it.'),
      }),
    )
    .describe('Why messages failed in these hours, the most frequent first.'),
})
