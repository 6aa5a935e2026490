/** The answer of `GET /v1/statistics`, as the pages read it. */
import type { Statistics } from '../../core/statistics.ts'

export interface Counted {
  hours: readonly Hour[]
  accounts: readonly (Statistics & { account: string; outstanding: number; oldestDue: number })[]
  reasons: readonly { code: string; messages: number }[]
  outstanding: { ages: readonly { upTo: number | null; messages: number }[]; windowEndsWithinADay: number }
}

export interface Hour extends Statistics {
  hour: string
}
