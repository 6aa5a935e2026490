/** The metrics that a process shows to Prometheus. */
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { start } from '../../src/runtime.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type Service,
  sendReceipt,
  sevenAccount,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
const POLLED = 3

let service: Service
/** The metrics while the account's queue was paused, and when everything had settled. */
let paused: string
let settled: string

beforeAll(async () => {
  const receiver = createServer((_request, response) => response.writeHead(500).end()).listen(0, '127.0.0.1')
  closeLater(async () => receiver.close())
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const { port } = receiver.address() as AddressInfo
  const account = sevenAccount(sandbox, {
    polling: { firstAfter: '1s', maxInterval: '1s' },
    callback: { url: `http://127.0.0.1:${port}`, secret: SECRET, events: 'final' },
  })
  service = await startService({
    backend: 'postgres',
    accounts: [account],
    environment: { CALLBACK_ALLOW_PRIVATE: 'true' },
  })
  const queue = service.queue('status-query.seven')
  await queue.pause()
  const sentAt = minutesAgo(5)
  await trackOver(service.url, sandbox.send(POLLED, { sentAt }), { sentAt })
  paused = await until(async () => {
    const text = await scrape()
    expect(sampleOf(text, 'lastword_oldest_due_seconds{account="seven"}')).toBeGreaterThan(0)
    return text
  })
  await queue.resume()
  await allSettled(service)
  await trackOver(service.url, ['77000000001'])
  expect(await sendReceipt(service.url, '77000000001', 'NOTDELIVERED')).toBe(200)
  settled = await until(async () => {
    const text = await scrape()
    expect(
      sampleOf(text, 'lastword_callback_duration_seconds_count{account="seven",result="refused"}'),
    ).toBeGreaterThan(POLLED)
    expect(sampleOf(text, 'lastword_time_to_final_seconds_count{account="seven",ending="failed"}')).toBe(1)
    // A scrape that falls between the last answer and its commit has read the two gauges at different moments.
    expect(sampleOf(text, 'lastword_oldest_due_seconds{account="seven"}')).toBe(0)
    return text
  })
}, 60_000)
afterAll(closeAll)

async function scrape(): Promise<string> {
  return (await fetch(`${service.url}/metrics`)).text()
}

/** The value of a series; undefined where it is not there. */
function sampleOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((line) => line.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}

describe('the gauges', () => {
  it('say what waits to be asked about, and why', () => {
    expect(sampleOf(paused, 'lastword_oldest_due_seconds{account="seven"}')).toBeLessThan(300)
    expect(sampleOf(paused, 'lastword_messages_outstanding{account="seven"}')).toBe(POLLED)
    expect(sampleOf(settled, 'lastword_messages_outstanding{account="seven"}')).toBe(0)
    expect(sampleOf(paused, 'lastword_queue_paused{queue="status-query.seven"}')).toBe(1)
    expect(sampleOf(settled, 'lastword_queue_paused{queue="status-query.seven"}')).toBe(0)
    expect(sampleOf(settled, 'lastword_oldest_due_seconds{account="seven"}')).toBe(0)
  })

  it('say what waits to be taken, and for how long', () => {
    expect(sampleOf(settled, 'lastword_callbacks_waiting{account="seven"}')).toBe(POLLED + 1)
    expect(sampleOf(settled, 'lastword_oldest_callback_seconds{account="seven"}')).toBeGreaterThan(0)
    expect(sampleOf(paused, 'lastword_callbacks_waiting{account="seven"}')).toBe(0)
    expect(sampleOf(paused, 'lastword_oldest_callback_seconds{account="seven"}')).toBe(0)
  })

  it('say how deep each queue is', () => {
    for (const queue of ['track', 'dispatch', 'status-query.seven', 'expire', 'callbacks']) {
      for (const state of ['waiting', 'active', 'delayed', 'failed']) {
        expect(sampleOf(settled, `lastword_queue_jobs{queue="${queue}",state="${state}"}`)).toBeGreaterThanOrEqual(0)
      }
    }
  })

  it('say how the account and its route are', () => {
    expect(sampleOf(settled, 'lastword_account_trouble{account="seven",trouble="ok"}')).toBe(1)
    expect(sampleOf(settled, 'lastword_webhook_route_silent{account="seven"}')).toBe(0)
  })

  it('say how much of the pools is in use', () => {
    for (const pool of ['database', 'queue']) {
      const most = sampleOf(settled, `lastword_pool_connections_max{pool="${pool}"}`)
      expect(sampleOf(settled, `lastword_pool_connections{pool="${pool}"}`)).toBeLessThanOrEqual(most ?? -1)
      expect(sampleOf(settled, `lastword_pool_waiting{pool="${pool}"}`)).toBe(0)
    }
    expect(sampleOf(settled, 'lastword_database_writable')).toBe(1)
  })
})

describe('the room of an embedded database', () => {
  it('is that on its disk', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'lastword-metrics-'))
    closeLater(() => rm(dataDir, { recursive: true }))
    const config = readConfig({ DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'silent' })
    const { url, close } = await start(config, { api: true, workers: false })
    closeLater(close)
    const free = sampleOf(await (await fetch(`${url}/metrics`)).text(), 'lastword_database_disk_free_bytes')
    const { blocks, bsize } = await statfs(dataDir)
    expect(free).toBeGreaterThan(0)
    expect(free).toBeLessThan(blocks * bsize)
    expect(sampleOf(settled, 'lastword_database_disk_free_bytes')).toBeUndefined()
  })
})

describe('the histograms', () => {
  it('say when messages became final, and how late that was known', () => {
    const ended = (ending: string) => `{account="seven",ending="${ending}"}`
    expect(sampleOf(settled, `lastword_time_to_final_seconds_count${ended('delivered')}`)).toBe(POLLED)
    // The law of the sandbox.
    expect(sampleOf(settled, `lastword_time_to_final_seconds_sum${ended('delivered')}`)).toBe(POLLED * 60)
    expect(sampleOf(settled, `lastword_time_to_final_seconds_count${ended('failed')}`)).toBe(1)
    const found = (source: string, le = '300') =>
      sampleOf(settled, `lastword_detection_delay_seconds_bucket{le="${le}",account="seven",source="${source}"}`)
    expect([found('poll', '60'), found('poll'), found('webhook')]).toEqual([0, POLLED, 1])
  })

  it('say how long requests, callbacks and commits take', () => {
    const answered = '{account="seven",result="answered"}'
    const requests = sampleOf(settled, `lastword_status_query_duration_seconds_count${answered}`)
    expect(requests).toBe(sampleOf(settled, `lastword_status_queries_total${answered}`))
    expect(requests).toBeGreaterThan(0)
    expect(sampleOf(settled, 'lastword_receipt_commit_duration_seconds_count')).toBe(1)
  })
})
