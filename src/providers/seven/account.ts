/** An account at seven.io: what the configuration says about it, and the defaults. */
import { z } from 'zod'
import { type Account, commonAccountFields, credentialSchema, durationSchema, signingKeySchema } from '../account.ts'

export interface SevenAccount extends Account {
  provider: 'seven'
  apiKey: string
  /** How far the time of a signed webhook may be from ours, both ways. */
  signatureFreshnessMs: number
  /** `auto` asks the status query, and the logbook once the status query is switched off. */
  query: 'auto' | 'status' | 'logbook' | 'off'
}

/**
 * The documents say 30 s, a client of the vendor 300 s, and nobody whether a retry keeps its first timestamp. A refused
 * receipt is lost, and the nonces, kept as long, prevent a replay.
 */
const SIGNATURE_FRESHNESS_MS = 3_600_000

export const sevenAccountSchema = z
  .strictObject({
    ...commonAccountFields,
    provider: z.literal('seven'),
    apiKey: credentialSchema,
    signingKey: signingKeySchema.optional(),
    signatureFreshness: durationSchema.default(SIGNATURE_FRESHNESS_MS),
    baseUrl: z.url({ protocol: /^https?$/ }).default('https://gateway.seven.io/api'),
    query: z.enum(['auto', 'status', 'logbook', 'off']).default('auto'),
    messageIds: z.literal('any').optional(),
  })
  .transform(
    ({ timeout, signatureFreshness, ...account }): SevenAccount => ({
      ...account,
      timeoutMs: timeout,
      signatureFreshnessMs: signatureFreshness,
    }),
  )

/** The headers of every request: without `Accept` some interfaces answer in plain text. */
export function sevenHeaders({ apiKey }: SevenAccount): Record<string, string> {
  return { 'X-Api-Key': apiKey, Accept: 'application/json' }
}
