/** The dashboard, the alerts and the page on monitoring, held against what a service really shows. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findPromtool, run } from '../support/promtool.ts'
import { closeAll, startService } from '../support/service.ts'

const pathOf = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const RULES = 'docs/prometheus-rules.yml'
const DASHBOARD = 'docs/grafana-dashboard.json'
const PAGE = 'docs/monitoring.md'

let scraped: string
let promtool: string
beforeAll(async () => {
  promtool = await findPromtool()
  const accounts = [{ name: 'seven', provider: 'seven', apiKey: 'a-key', query: 'off' }]
  const { url } = await startService({ backend: 'postgres', accounts })
  scraped = await (await fetch(`${url}/metrics`)).text()
}, 120_000)
afterAll(closeAll)

/** The names of the metrics in a text, those of a histogram's series by the histogram's. */
function namesIn(text: string): string[] {
  const names = text.match(/\b(lastword|nodejs|process)_[a-z0-9_]+/g) ?? []
  return [...new Set(names.map((name) => name.replace(/_seconds_(bucket|count|sum)$/, '_seconds')))].sort()
}

const shown = () => namesIn((scraped.match(/^# TYPE \S+/gm) ?? []).join('\n'))
const ours = (names: string[]) => names.filter((name) => name.startsWith('lastword_'))

interface Dashboard {
  panels: { targets?: { expr: string }[] }[]
  templating: object
}

function dashboardQueries(): string {
  const { panels, templating }: Dashboard = JSON.parse(readFileSync(pathOf(DASHBOARD), 'utf8'))
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  return [...queries, JSON.stringify(templating)].join('\n')
}

describe('the metrics', () => {
  it('that the alerts and the dashboard ask for are there', () => {
    for (const text of [readFileSync(pathOf(RULES), 'utf8'), dashboardQueries()]) {
      const asked = namesIn(text)
      expect(asked.length).toBeGreaterThan(10)
      expect(shown()).toEqual(expect.arrayContaining(asked))
    }
  })

  it('are those on the page, each with its type and its labels', () => {
    const rows = readFileSync(pathOf(PAGE), 'utf8').matchAll(/^\| `(lastword_\w+)` \| (\w+) \|/gm)
    const described = [...rows].map(([, name, type]) => `${name} ${type}`)
    const types = (scraped.match(/^# TYPE lastword_.*$/gm) ?? []).map((line) => line.replace('# TYPE ', ''))
    expect(described).toEqual(types.sort())
  })

  it('are all shown on the dashboard', () => {
    expect(namesIn(dashboardQueries())).toEqual(expect.arrayContaining(ours(shown())))
  })

  it('are named by convention, as promtool knows it', async () => {
    // The metrics of prom-client are not ours to name.
    const lines = scraped.split('\n').filter((line) => /^(# \w+ )?lastword_/.test(line))
    expect(await run(promtool, ['check', 'metrics'], `${lines.join('\n')}\n`)).toEqual({ code: 0, output: '' })
  })
})

describe('the alerts', () => {
  it('are right, and begin and end when they should', async () => {
    expect(await run(promtool, ['check', 'rules', pathOf(RULES)])).toMatchObject({ code: 0 })
    const tested = await run(promtool, ['test', 'rules', pathOf('test/operating/prometheus-rules.yml')])
    expect(tested).toEqual({ code: 0, output: expect.stringContaining('SUCCESS') })
  })

  it('are each tested', () => {
    const namesOf = (path: string) => readFileSync(pathOf(path), 'utf8').match(/Lastword[A-Z]\w+/g) ?? []
    const alerts = [...readFileSync(pathOf(RULES), 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name)
    expect(namesOf('test/operating/prometheus-rules.yml')).toEqual(expect.arrayContaining(alerts))
  })
})
