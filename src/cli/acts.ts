/** `lastword acts`: who did what, as a table or as NDJSON, fetched while it is printed. */
import type { Act, ActFilter } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { type ListTable, printLines, printTable } from './print-list.ts'

export interface ActsFlags extends ActFilter {
  limit?: number
  json: boolean
  url?: string
  apiKey?: string
}

export async function runActs({ json, limit, url, apiKey, ...filter }: ActsFlags): Promise<void> {
  const acts = createClient(readServiceLocation({ url, apiKey })).acts(filter)
  await (json ? printLines(acts, limit) : printTable(acts, TABLE, limit))
}

const TABLE: ListTable<Act> = {
  header: ['AT', 'BY', 'ACT', 'ON', 'COUNT', 'OUTCOME'],
  rowOf: (act) => [act.at, act.by, act.kind, subjectOf(act), String(act.count ?? ''), act.outcome],
  none: 'No act matches.',
  more: '--limit or --json',
}

function subjectOf({ account, messageId, queue, job, jobs }: Act): string {
  const message = account !== null && messageId !== null ? `${account}/${messageId}` : account
  const parts = [message, queue, job !== null && `job ${job}`, jobs !== null && `jobs that are ${jobs}`]
  return parts.filter(Boolean).join(', ')
}
