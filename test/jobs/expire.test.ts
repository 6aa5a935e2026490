/** Everything ends: messages nobody can say anything final about, accounts that are not asked, reports nobody tracks. */
import { afterEach, expect, it } from 'vitest'
import { lastPollAt, minimumInterval, windowOf } from '../../src/core/polling.ts'
import {
  closeAll,
  createInstallation,
  messageStates,
  openSandbox,
  sendReceipt,
  sevenAccount,
  startService,
  trackOver,
  until,
} from '../support/service.ts'

afterEach(closeAll)

const NEVER = { components: [], expiredShare: 0, neverShare: 1, failureShare: 0 }
/** The last question comes four seconds before this window closes, which leaves time for late ticks. */
const WINDOW_MS = 80_000
const LEFT_MS = 9_000
const POLLING = { firstAfter: '1s', factor: 1, maxInterval: '1s', window: `${WINDOW_MS}ms` }
const POLICY = {
  policy: 'exponential' as const,
  firstAfterMs: 1_000,
  factor: 1,
  maxIntervalMs: 1_000,
  windowMs: WINDOW_MS,
}

it('asks one last time, says unknown when the window closes, and believes a late webhook', async () => {
  const sandbox = await openSandbox({ law: NEVER })
  const account = sevenAccount(sandbox, { timeout: '1s', polling: POLLING })
  const { url, sql, queue } = await startService({ accounts: [account] })
  const sentAt = new Date(Date.now() - WINDOW_MS + LEFT_MS)
  const messageIds = sandbox.send(20, { sentAt })
  await trackOver(url, messageIds, { sentAt })

  await until(async () => {
    for (const state of await messageStates({ sql })) expect(state.status).toBe('unknown')
  })
  const window = windowOf(POLICY, sentAt.getTime())
  const end = window.windowEndsAt
  expect(Date.now()).toBeGreaterThanOrEqual(end)
  for (const { askedAt } of sandbox.truths()) {
    const last = askedAt.at(-1)?.getTime() ?? 0
    expect(last).toBeGreaterThanOrEqual(lastPollAt(window))
    expect(last).toBeLessThan(end)
    expect(askedAt.length).toBeLessThanOrEqual(LEFT_MS / minimumInterval(POLICY))
  }
  for (const state of await messageStates({ sql })) {
    expect(state).toMatchObject({ final: true, settledBy: 'window', dueAt: null, batch: null })
  }
  // The job completes a little after what it writes can be seen.
  await until(async () => {
    const expirations = await queue('expire').getCompleted()
    expect(expirations.reduce((sum, { returnvalue }) => sum + (returnvalue?.expired ?? 0), 0)).toBe(messageIds.length)
  })

  const { requests } = sandbox.stats()
  const [late = '', ...others] = messageIds
  expect(await sendReceipt(url, late, 'NOTDELIVERED')).toBe(200)
  const shown = await (await fetch(`${url}/v1/messages/seven/${late}`)).json()
  expect(shown).toMatchObject({ status: 'undelivered', final: true, settledBy: 'webhook', nextPollAt: null })
  expect(shown).toMatchObject({ reports: expect.arrayContaining([expect.objectContaining({ status: 'unknown' })]) })
  expect((await messageStates({ sql })).filter(({ status }) => status === 'unknown')).toHaveLength(others.length)
  expect(sandbox.stats().requests).toBe(requests)
})

it('never asks for an account with query "off", and ends its messages all the same', async () => {
  const sandbox = await openSandbox({ law: NEVER })
  const polling = { firstAfter: '200ms', window: '2s' }
  const accounts = [sevenAccount(sandbox, { query: 'off', polling })]
  const { url, sql } = await startService({ accounts })
  const [webhooked = '', silent = ''] = sandbox.send(2)
  await trackOver(url, [webhooked, silent])
  expect(await sendReceipt(url, webhooked, 'DELIVERED')).toBe(200)
  await until(async () => {
    expect(await messageStates({ sql })).toMatchObject([
      { messageId: webhooked, status: 'delivered', settledBy: 'webhook' },
      { messageId: silent, status: 'unknown', settledBy: 'window' },
    ])
  })
  expect(sandbox.stats().requests).toBe(0)
})

it('ends the messages of an account that is configured no more', async () => {
  const sandbox = await openSandbox({ law: NEVER })
  const installation = await createInstallation('redis')
  const polling = { firstAfter: '1s', window: '2s' }
  const gone = sevenAccount(sandbox, { name: 'gone', polling })
  const first = await startService({ installation, accounts: [gone], parts: { api: true, workers: false } })
  await trackOver(first.url, sandbox.send(3), { account: 'gone' })
  await first.close()

  await startService({ installation, accounts: [sevenAccount(sandbox)] })
  await until(async () => {
    const states = await messageStates(installation, 'gone')
    expect(states.map(({ status }) => status)).toEqual(['unknown', 'unknown', 'unknown'])
  })
  expect(sandbox.stats().requests).toBe(0)
})

it('deletes what reports told of and nobody tracked within the longest window', async () => {
  const sandbox = await openSandbox({ law: NEVER })
  const { url, sql, queue } = await startService({ accounts: [sevenAccount(sandbox)] })
  for (const messageId of ['1001', '1002', '1003']) expect(await sendReceipt(url, messageId, 'DELIVERED')).toBe(200)
  await trackOver(url, ['1004'])
  await sql`
    UPDATE lastword.messages SET sent_at = now() - CASE message_id
      WHEN '1001' THEN interval '30 days 1 minute' WHEN '1002' THEN interval '29 days 23 hours' ELSE interval '0' END
    WHERE tracked_at IS NULL`
  await sql`UPDATE lastword.messages SET sent_at = now() - interval '31 days' WHERE message_id = '1004'`
  await until(async () => {
    const states = await messageStates({ sql })
    expect(states.map(({ messageId }) => messageId)).toEqual(['1002', '1003', '1004'])
  })
  const [orphans] = await sql`
    SELECT count(*)::int AS count FROM lastword.status_reports r
    WHERE NOT EXISTS (SELECT FROM lastword.messages m WHERE m.id = r.message)`
  expect(orphans?.count).toBe(0)
  await until(async () => {
    const deleted = (await queue('expire').getCompleted()).map(({ returnvalue }) => returnvalue?.untrackedDeleted ?? 0)
    expect(deleted.reduce((sum, count) => sum + count, 0)).toBe(1)
  })
})

it('keeps settled messages, and what finished jobs hold of them, for MESSAGES_RETENTION', async () => {
  const sandbox = await openSandbox({ law: NEVER })
  const environment = { MESSAGES_RETENTION: '2s', CHANGES_RETENTION: '1s' }
  const { url, sql, queue } = await startService({ accounts: [sevenAccount(sandbox)], environment })
  const messages = ['2001', '2002'].map((messageId) => ({ messageId, recipient: '+49 170 1234567' }))
  const { id = '' } = await queue('track').add('order', { v: 1, account: 'seven', messages })
  await until(async () => expect(await messageStates({ sql })).toHaveLength(2))
  expect(await sendReceipt(url, '2001', 'DELIVERED')).toBe(200)
  await until(async () => {
    expect((await messageStates({ sql })).map(({ messageId }) => messageId)).toEqual(['2002'])
    expect(await queue('track').getJob(id)).toBeUndefined()
  })
  expect(await sql`SELECT FROM lastword.status_reports`).toHaveLength(0)
  await until(async () => {
    const deleted = (await queue('expire').getCompleted()).map(({ returnvalue }) => returnvalue?.settledDeleted ?? 0)
    expect(deleted.reduce((sum, count) => sum + count, 0)).toBe(1)
  })
})
