/** The output of a run. */
import type { Summary } from './conductor.ts'
import { FINDINGS } from './ledger.ts'

const MOST_OF_A_KIND = 10

export function printSummary(summary: Summary): string {
  const { backend, seed, messages, tracked, erased, faults, statuses, changes, told, requests, receipts } = summary
  const struck = [...faults.values()].reduce((sum, one) => sum + one.struck, 0)
  const number = (count: number) => String(count).padStart(9)
  const times = ({ struck, missed }: { struck: number; missed: number }) =>
    `${number(struck)}${missed > 0 ? ` (and ${missed} met nothing)` : ''}`
  return [
    `queues in ${backend === 'redis' ? 'Redis' : 'Postgres'}, seed ${seed}: ${messages} messages, ${struck} faults of ${faults.size} kinds, ${summary.seconds} s`,
    ...[...faults].sort().map(([kind, count]) => `${times(count)}  ${kind}`),
    `${number(tracked)}  messages judged: ${list(statuses)}; ${erased} more were erased`,
    `${number(changes)}  changes of theirs; told ${list(told)}, repeats and erased people included`,
    `${number(receipts)}  receipts acknowledged; ${requests} requests answered by the providers`,
    ...FINDINGS.map((kind) => `${number(summary.findings.filter((one) => one.kind === kind).length)}  ${kind}`),
  ].join('\n')
}

export function printFindings({ findings }: Summary): string {
  return FINDINGS.flatMap((kind) => {
    const all = findings.filter((one) => one.kind === kind)
    const shown = all.slice(0, MOST_OF_A_KIND).map(({ about, during }) => `  ${about}\n    ${during}`)
    return all.length === 0 ? [] : [`${all.length} × ${kind}:`, ...shown]
  }).join('\n')
}

function list(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .sort()
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')
}
