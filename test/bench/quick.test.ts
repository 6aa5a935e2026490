/**
 * The bench as CI runs it by `npm run test:bench`: compiled, run with small numbers, and all of its rows there. The
 * figures of such a run mean nothing; that what it settles agrees with the sandbox's truth does.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createEmptyDatabase, redisUrl } from '../support/services.ts'
import type { Row } from './bench.ts'
import { drawPanels } from './svg.ts'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const WITHIN_MS = 240_000

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lastword-bench-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

it('measures everything with small numbers, and every settled row is true', { timeout: WITHIN_MS }, async () => {
  const database = await createEmptyDatabase()
  // Tests keep out of database 0 of their Redis.
  const env = { PATH: process.env.PATH, DATABASE_URL: database.url, REDIS_URL: new URL('/0', redisUrl()).href }
  const json = join(folder, 'report.json')
  await execute('npx', ['tsc', '-p', 'test/bench'], { cwd: root })
  const args = ['test/bench/dist/test/bench/run.js', '--quick', '--json', json]
  const { stdout } = await execute(process.execPath, args, { cwd: root, env }).finally(database.drop)

  const { rows } = JSON.parse(await readFile(json, 'utf8')) as { rows: Row[] }
  const measured = new Set(rows.map(({ measure }) => measure.split(':')[0]))
  expect([...measured]).toEqual([
    'track',
    'settle',
    'webhooks',
    'requests',
    'workers',
    'neighbours',
    'deciding',
    'dispatch',
    'outstanding',
    'lists',
    'pages',
    'retention',
    'overload',
    'steady',
  ])
  expect(rows.filter(({ goal }) => goal)).toHaveLength(40)
  for (const { measure, value } of rows) {
    expect(stdout).toContain(measure)
    expect([measure, Number.isFinite(value)]).toEqual([measure, process.platform === 'linux' || expect.any(Boolean)])
  }
  expect(rows.filter(({ unit }) => unit === 'rows').map(({ value }) => value)).toEqual([0, 0, 0, 0, 0])
})

it('draws a panel for each figure, with a point for each size', () => {
  const points = [10_000, 100_000, 1_000_000].map((x) => ({ x, y: x / 1e6 }))
  const panels = ['one <', 'two', 'three'].map((title) => ({ title, unit: 'ms', points }))
  const svg = drawPanels({ title: 'Figures', note: 'a machine', panels })
  expect(svg.match(/<polyline/g)).toHaveLength(3)
  expect(svg.match(/<circle/g)).toHaveLength(9)
  expect(svg).toContain('one &lt;, ms')
  expect(svg).not.toContain('NaN')
})
