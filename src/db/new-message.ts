import { type SQL, sql } from 'drizzle-orm'
import { jsonText, type ParameterColumn } from './client.ts'
import type { MessageKey } from './recipients.ts'

/** Fields that the app gave with a message, kept as they are. A further one is named here and in the schema. */
interface Given {
  recipient: string | null
  metadata?: unknown
  callbackUrl?: string | undefined
}

/** The columns that keep it. */
export const givenColumns = {
  recipient: ['text', ({ recipient }) => recipient],
  metadata: ['jsonb', ({ metadata }) => jsonText(metadata)],
  callback_url: ['text', ({ callbackUrl }) => callbackUrl],
} satisfies Record<string, ParameterColumn<Given>>

const names = Object.keys(givenColumns)
export const givenNames = sql.raw(names.join(', '))

/** The assignments of an UPDATE that takes them from the rows of this alias. */
export function givenFrom(alias: string): SQL {
  return sql.raw(names.map((name) => `${name} = ${alias}.${name}`).join(', '))
}

/** A message the app hands over, in normal form, with its place in the schedule. */
export interface NewMessage extends MessageKey, Given {
  /** The normal form of the recipient; null where there is none. */
  number?: string | null | undefined
  sentAt: Date
  windowEndsAt: Date
  dueAt: Date
  /** The ID may have been used before, by a message that has ended: then another life begins. */
  mayBeginAnew?: boolean | undefined
}
