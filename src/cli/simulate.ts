/** `lastword simulate`: what asking costs, and how soon statuses are known, by each way of asking. */
import { writeFile } from 'node:fs/promises'
import { drawChart } from '../sandbox/simulation/chart.ts'
import { type Comparison, compare } from '../sandbox/simulation/comparison.ts'
import { formatTable } from './table.ts'

export interface SimulateFlags {
  svg?: string
  json: boolean
  scale: number
}

/** Resolves with whether every goal is met. */
export async function runSimulation({ svg, json, scale }: SimulateFlags): Promise<boolean> {
  const comparison = compare((text) => console.error(`simulating: ${text}`), scale)
  if (svg !== undefined) await writeFile(svg, drawChart(comparison.points, 'Requests and delay by the way of asking'))
  console.log(json ? JSON.stringify(comparison, null, 2) : describe(comparison))
  return comparison.findings.every(isMet)
}

function describe({ points, findings }: Comparison): string {
  const head = ['law', 'messages/s', 'way of asking', 'requests', 'polls', 'mean delay', 'p50', 'p95', 'p99']
  const rows = points.map(({ law, perSecond, planner, figures }) => {
    const { requests, polls, mean, p50, p95, p99 } = figures
    const seconds = [mean, p50, p95, p99].map((value) => `${figure(value)} s`)
    return [law, String(perSecond), planner, figure(requests), figure(polls), ...seconds]
  })
  const judged = findings.map((finding) => {
    const { what, value, goal } = finding
    return [what, figure(value), `at most ${figure(goal)}`, isMet(finding) ? 'met' : 'missed']
  })
  const met = findings.filter(isMet).length
  return [
    formatTable([head, ...rows]),
    formatTable([['figure', 'found', 'goal', ''], ...judged]),
    `${met} of ${findings.length} goals met. Requests and polls are for each message.`,
  ].join('\n\n')
}

const isMet = ({ value, goal }: Comparison['findings'][number]) => value <= goal

function figure(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : 'never'
}
