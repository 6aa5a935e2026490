/** The output of a run of the fuzz. */
import { inspect } from 'node:util'
import { type Fault, groupBy, MOST_GROWTH_BYTES, makeCase, type Summary } from './fuzz.ts'

const MOST_OF_A_KIND = 5
const MOST_CHARACTERS = 600

export function hasGrown({ held }: Summary): boolean {
  return held.end - held.quarter > MOST_GROWTH_BYTES
}

export function printSummary(summary: Summary): string {
  const { seed, count, seconds, slowestMs, answers, receipts, held, faults } = summary
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1)
  return [
    `seed ${seed}: ${count} requests in ${seconds.toFixed(0)} s, ${(count / seconds).toFixed(0)} a second, the slowest ${slowestMs.toFixed(0)} ms`,
    ...Object.entries(answers)
      .sort()
      .map(([name, times]) => `${String(times).padStart(9)}  ${name}`),
    `${String(receipts).padStart(9)}  wrapped receipts in the database as they were`,
    `memory after garbage collection: ${megabytes(held.quarter)} MB at a quarter, ${megabytes(held.end)} MB at the end, ` +
      `ratio ${(held.end / held.quarter).toFixed(2)} (at most ${megabytes(MOST_GROWTH_BYTES)} MB more: ${hasGrown(summary) ? 'GROWN' : 'kept'})`,
    `${faults.length} faults`,
  ].join('\n')
}

export function printFaults({ faults }: Summary): string {
  return [...groupBy(faults, ({ kind }) => kind)]
    .map(([kind, all]) => [`${all.length} × ${kind}:`, ...all.slice(0, MOST_OF_A_KIND).map(printFault)].join('\n'))
    .join('\n')
}

function printFault({ index, request, answer }: Fault): string {
  const body = inspect(request.body.toString('latin1').slice(0, MOST_CHARACTERS), { breakLength: Infinity })
  return [
    `  --only ${index}: ${request.name.join(', ').slice(0, MOST_CHARACTERS)}`,
    `    ${request.method} ?${request.query.slice(0, MOST_CHARACTERS)}`,
    `    ${body}`,
    `    ${answer.slice(0, MOST_CHARACTERS)}`,
  ].join('\n')
}

/** A request in full, to be sent by hand. */
export function printRequest(seed: number, index: number): string {
  return inspect(makeCase(seed, index).request, { depth: 6, maxStringLength: null })
}
