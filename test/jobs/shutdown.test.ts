/** SIGTERM to the real process: no new work, what runs is finished or given back, and it ends in time with 0. */
import { afterEach, expect, it } from 'vitest'
import type { KnobsPatch } from '../../src/sandbox/knobs.ts'
import type { Sandbox } from '../../src/sandbox/server.ts'
import {
  closeAll,
  createInstallation,
  messageStates,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  type ServiceProcess,
  sendReceipt,
  sevenAccount,
  spawnService,
  trackOver,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const STOP_WITHIN_MS = 15_000
const MESSAGES = 40
const BATCH = 5

/** A service whose first batches are at the provider, and whose other ones wait for their turn. */
async function startBusyService(knobs: KnobsPatch) {
  const sandbox = await openSandbox({ law: ONE_MINUTE, knobs })
  const installation = await createInstallation('redis')
  const polling = { firstAfter: '1h', maxInterval: '1h' }
  const account = sevenAccount(sandbox, { batchSize: BATCH, requestsPerSecond: 2, timeout: '20s', polling })
  const service = spawnService(['start'], installation.environment([account], { LEASE: '5m' }))
  const url = await service.ready()
  const sentAt = minutesAgo(120)
  const messageIds = sandbox.send(MESSAGES, { sentAt })
  await trackOver(url, messageIds, { sentAt })
  await until(() => expect(sandbox.stats().requests).toBeGreaterThanOrEqual(2))
  return { sandbox, installation, service, url, messageIds }
}

/** Waits for the end of a process that was told to stop; it must end well, and ask for nothing new until then. */
async function expectStop(service: ServiceProcess, sandbox: Sandbox): Promise<void> {
  const begun = Date.now()
  await until(() => expect(service.output()).toContain('SIGTERM: stopping'))
  const { requests } = sandbox.stats()
  expect(await service.exited, service.output()).toBe(0)
  expect(Date.now() - begun).toBeLessThan(STOP_WITHIN_MS)
  // A job that was being fetched when the signal came may still begin.
  expect(sandbox.stats().requests - requests).toBeLessThanOrEqual(1)
  expect(service.output()).toContain('stopped')
}

it('finishes the batches under way and takes the receipts in hand', { timeout: 60_000 }, async () => {
  const { sandbox, installation, service, url, messageIds } = await startBusyService({ latencyMs: 1_500 })
  const webhooked = messageIds.slice(-3)
  const receipts: Promise<number>[] = []
  // A lock on their rows keeps the receipts in hand until the stop has begun.
  await installation.sql.begin(async (sql) => {
    await sql`SELECT id FROM lastword.messages WHERE message_id = ANY(${webhooked}) FOR UPDATE`
    for (const messageId of webhooked) receipts.push(sendReceipt(url, messageId, 'DELIVERED'))
    await until(async () => {
      const waiting = await installation.sql`
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
      // The first group of receipts, or a batch that was answered; the receipts wait no longer than a provider does.
      expect(waiting.length).toBeGreaterThanOrEqual(1)
    })
    // Receipts that were sent before it are in hand when this is answered; later ones would be refused.
    await (await fetch(`${url}/health/live`)).json()
    service.kill('SIGTERM')
    await until(() => expect(service.output()).toContain('SIGTERM: stopping'))
  })
  expect(await Promise.all(receipts)).toEqual(receipts.map(() => 200))
  await expectStop(service, sandbox)

  const states = await messageStates(installation)
  const asked = new Set(
    sandbox
      .truths()
      .filter(({ askedAt }) => askedAt.length > 0)
      .map(({ messageId }) => messageId),
  )
  expect(asked.size).toBeGreaterThanOrEqual(2 * BATCH)
  for (const { messageId, status } of states) {
    const isKnown = asked.has(messageId) || webhooked.includes(messageId)
    expect({ messageId, status }).toEqual({ messageId, status: isKnown ? 'delivered' : null })
  }
})

it('gives back what the provider does not answer', { timeout: 60_000 }, async () => {
  const { sandbox, installation, service, messageIds } = await startBusyService({ timeouts: 1 })
  service.kill('SIGTERM')
  await expectStop(service, sandbox)
  const states = await messageStates(installation)
  const asked = new Set(
    sandbox
      .truths()
      .filter(({ askedAt }) => askedAt.length > 0)
      .map(({ messageId }) => messageId),
  )
  expect(states.map(({ messageId }) => messageId)).toEqual(messageIds)
  for (const { messageId, status, batch, dueAt } of states.filter((state) => asked.has(state.messageId))) {
    const isDue = dueAt !== null && dueAt.getTime() <= Date.now()
    expect({ messageId, status, batch, isDue }).toEqual({ messageId, status: null, batch: null, isDue: true })
  }
})
