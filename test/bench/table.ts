/** The output of a run: the machine, the versions, and one line a figure with its goal. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, release, totalmem, type } from 'node:os'
import { type Counts, isMet, type Row } from './bench.ts'
import type { Services } from './services.ts'

export interface Report {
  machine: Record<string, string | number>
  versions: Record<string, string>
  counts: Counts
  seconds: number
  rows: Row[]
}

export function describeMachine(): Report['machine'] {
  const cores = cpus()
  return {
    processor: cores[0]?.model.trim() || process.arch,
    cores: cores.length,
    memoryGb: Math.round(totalmem() / 1e9),
    system: `${type()} ${release()}`,
  }
}

const PACKAGES = ['bullmq', 'graphile-worker', 'pg-boss', 'fastify', 'postgres', 'undici']

export function describeVersions({ postgresVersion, redisVersion }: Services): Report['versions'] {
  const require = createRequire(import.meta.url)
  const packages = PACKAGES.map((name) => [name, versionOf(require.resolve.paths(name) ?? [], name)])
  return {
    node: process.versions.node,
    PostgreSQL: postgresVersion,
    Redis: redisVersion,
    ...Object.fromEntries(packages),
  }
}

/** Read from the file, because not every package lets one import it. */
function versionOf(folders: readonly string[], name: string): string {
  for (const folder of folders) {
    try {
      return JSON.parse(readFileSync(`${folder}/${name}/package.json`, 'utf8')).version
    } catch {}
  }
  return 'unknown'
}

export function printReport({ machine, versions, rows, seconds }: Report): string {
  const cells = rows.map((row) => [row.measure, figure(row.value, row.unit), goalOf(row), verdictOf(row)])
  const missed = rows.filter((row) => !isMet(row)).length
  const goals = rows.filter(({ goal }) => goal).length
  return [
    `${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    '',
    formatTable([['measure', 'figure', 'goal', ''], ...cells]),
    '',
    `${goals - missed} of ${goals} goals met, in ${Math.round(seconds)} s.`,
  ].join('\n')
}

export function formatTable(lines: readonly string[][]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

export function figure(value: number, unit: string): string {
  return `${roundFigure(value)} ${unit}`
}

/** Three digits say all that a run can know. */
export function roundFigure(value: number): string {
  if (!Number.isFinite(value)) return 'unknown'
  const rounded = value === 0 ? 0 : Number(value.toPrecision(3))
  return rounded.toLocaleString('en-US', { maximumFractionDigits: 4 })
}

function goalOf({ goal, unit }: Row): string {
  if (!goal) return ''
  return goal.atLeast === undefined
    ? `at most ${figure(goal.atMost ?? 0, unit)}`
    : `at least ${figure(goal.atLeast, unit)}`
}

function verdictOf(row: Row): string {
  return row.goal ? (isMet(row) ? 'met' : 'missed') : ''
}
