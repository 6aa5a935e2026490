/** `lastword alerts`: the conditions that need somebody, and those that did within 30 days. */
import type { Alert } from '../client/answers.ts'
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { formatTable } from './table.ts'

const HEADINGS = ['KIND', 'SUBJECT', 'SINCE', 'UNTIL', 'WORDS']

export async function runAlerts(flags: { json: boolean; url?: string; apiKey?: string }): Promise<void> {
  const alerts = await createClient(readServiceLocation(flags)).alerts()
  if (flags.json) {
    for (const alert of alerts) console.log(JSON.stringify(alert))
    return
  }
  if (alerts.every(({ until }) => until !== null)) console.log('Nothing is wrong at present.')
  if (alerts.length > 0) console.log(formatTable([HEADINGS, ...alerts.map(describe)]))
}

function describe({ kind, subject, since, until, message }: Alert): string[] {
  return [kind, subject, since, until ?? 'it lasts', message]
}
