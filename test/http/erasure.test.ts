/** Erasing one message, or everything of a number, from every table and every queue. */
import { afterEach, describe, expect, it } from 'vitest'
import { createClient } from '../../src/client/client.ts'
import { readConfig } from '../../src/config.ts'
import { forgetInJobs } from '../../src/jobs/forget.ts'
import { JOBS_A_PAGE } from '../../src/jobs/queue-backend.ts'
import { openQueues } from '../../src/jobs/queues.ts'
import { start } from '../../src/runtime.ts'
import { openProxy } from '../support/proxy.ts'
import {
  closeAll,
  closeLater,
  createInstallation,
  messageStates,
  minutesAgo,
  openSandbox,
  type Service,
  sendReceipt,
  sevenAccount,
  startService,
  trackOver,
  until,
} from '../support/service.ts'
import { createDatabase } from '../support/services.ts'

afterEach(closeAll)

const NUMBER = '+49 170 5550101'
const DIGITS = '491705550101'
const CALLBACK = { url: 'http://127.0.0.1:9/taken-by-nobody', secret: `whsec_${'A'.repeat(32)}` }

/** Every row of every table, as text: ours and, where the queues are in Postgres, theirs. */
async function everythingIn({ sql }: Pick<Service, 'sql'>): Promise<string> {
  const tables = await sql`
    SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
    WHERE table_schema IN ('lastword', 'bullmq') AND table_type = 'BASE TABLE'`
  const rows = await Promise.all(
    tables.map(({ name }) => sql.unsafe(`SELECT row_to_json(t)::text AS row FROM ${name} t`)),
  )
  return rows
    .flat()
    .map(({ row }) => row)
    .join('\n')
}

async function everythingQueued(service: Service, names: readonly string[]): Promise<string> {
  const all = await Promise.all(
    names.map((name) => service.queue(name).getJobs(['waiting', 'active', 'delayed', 'completed', 'failed'])),
  )
  return JSON.stringify(all.flat().map((job) => [job?.data, job?.returnvalue, job?.failedReason]))
}

it('erases while the queues are away, and asks for a number again, which their jobs may hold', async () => {
  const { url: databaseUrl, drop } = await createDatabase()
  closeLater(drop)
  const { hostname, port } = new URL(databaseUrl)
  const proxy = await openProxy({ host: hostname, port: Number(port) })
  closeLater(() => proxy.close())
  const config = readConfig({
    PORT: '0',
    LOG_LEVEL: 'silent',
    DATABASE_URL: databaseUrl,
    QUEUE_URL: Object.assign(new URL(databaseUrl), { host: `127.0.0.1:${proxy.port}` }).href,
    ACCOUNTS: JSON.stringify([{ name: 'cm', provider: 'cm', productToken: 'product-token' }]),
  })
  const { url, close } = await start(config, { api: true, workers: false })
  closeLater(close)
  if (!url) return expect.fail('Expected an API')
  const client = createClient({ url })
  const order = (messageId: string) => ({ messageId, recipient: NUMBER })
  await client.track({ account: 'cm', messages: [order('1'), order('2')] })
  await proxy.cut()
  const remove = (path: string) => fetch(`${url}${path}`, { method: 'DELETE' })
  expect((await remove('/v1/messages/cm/1')).status).toBe(204)
  const away = await remove(`/v1/recipients/${DIGITS}`)
  expect([away.status, away.headers.get('retry-after') !== null]).toEqual([503, true])
  expect(await away.json()).toMatchObject({ code: 'UNAVAILABLE', detail: expect.stringContaining('erased') })
  for (const id of ['1', '2']) await expect(client.get('cm', id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await proxy.restore()
  await until(async () => expect((await remove(`/v1/recipients/${DIGITS}`)).status).toBe(404))
})

describe.each(['redis', 'postgres'] as const)('with the queues in %s', (backend) => {
  it('erases everything of a number: tables, jobs, and what the app has not read yet', {
    timeout: 60_000,
  }, async () => {
    const sandbox = await openSandbox()
    const account = sevenAccount(sandbox, { callback: CALLBACK, changesQueue: 'status-changes', query: 'off' })
    const service = await startService({
      backend,
      accounts: [account],
      environment: { CALLBACK_ALLOW_PRIVATE: 'true' },
    })
    const { url } = service
    const recipients = { '1': NUMBER, '2': '0049-170-5550101', '3': '+49 170 5550199' }
    const messages = Object.entries(recipients).map(([messageId, recipient]) => ({ messageId, recipient }))
    await service.queue('track').add('order', { v: 1, account: 'seven', messages: messages.slice(1) })
    await service
      .queue('track')
      .add('wrong', { v: 1, account: 'nobody', messages: [{ messageId: 'x', recipient: NUMBER }] })
    const client = createClient({ url })
    await client.track({
      account: 'seven',
      messages: [{ ...messages[0], messageId: '1', metadata: { order: 'first-of-all' } }],
    })
    await until(async () => expect(await messageStates(service)).toHaveLength(3))
    for (const messageId of ['1', '2', '3']) expect(await sendReceipt(url, messageId, 'NOTDELIVERED')).toBe(200)
    await until(async () => expect(await service.queue('status-changes').getWaitingCount()).toBe(3))
    await until(async () => expect(await service.sql`SELECT FROM lastword.callback_attempts`).toHaveLength(3))
    const queues = ['track', 'status-changes', 'callbacks']
    expect(await everythingQueued(service, queues)).toContain('5550101')

    expect(await client.eraseRecipient('0170 5550101').catch((error) => error.code)).toBe('NOT_FOUND')
    expect(await client.eraseRecipient(NUMBER)).toBe(2)
    const left = `${await everythingIn(service)}${await everythingQueued(service, queues)}`
    expect(left).not.toMatch(/5550101|first-of-all/)
    expect(left).toContain('5550199')
    expect((await messageStates(service)).map(({ messageId }) => messageId)).toEqual(['3'])
    const { changes } = (await client.changes({ follow: false }).next()).value ?? { changes: [] }
    expect(changes.map(({ messageId }) => messageId)).toEqual(['3'])
    for (const table of ['status_reports', 'changes', 'callbacks', 'failures']) {
      expect(await service.sql.unsafe(`SELECT FROM lastword.${table}`), table).toHaveLength(1)
    }
    expect(await service.sql`SELECT FROM lastword.message_metadata`).toHaveLength(0)
    expect(await service.sql`SELECT DISTINCT message FROM lastword.callback_attempts`).toHaveLength(1)
    await expect(client.eraseRecipient(NUMBER)).rejects.toMatchObject({ code: 'NOT_FOUND' })

    // A receipt that comes later does not bring it back, and tracking it anew begins anew.
    expect(await sendReceipt(url, '1', 'DELIVERED')).toBe(200)
    expect(await everythingIn(service)).not.toContain(DIGITS)
    expect((await messageStates(service)).map(({ messageId }) => messageId)).toEqual(['3'])
    await trackOver(url, ['1'])
    expect(await sendReceipt(url, '1', 'DELIVERED')).toBe(200)
    expect(await client.get('seven', '1')).toMatchObject({ status: 'delivered', reports: [{ status: 'delivered' }] })

    // An API that died before the queues had forgotten a message: a worker has them forget it.
    expect(await everythingQueued(service, queues)).toContain('5550199')
    await service.sql`INSERT INTO lastword.forgetting (account, message_id) VALUES ('seven', '3')`
    await until(async () => {
      expect(await service.sql`SELECT FROM lastword.forgetting`).toHaveLength(0)
      expect(await everythingQueued(service, ['track', 'status-changes'])).not.toContain('5550199')
    })
  })

  it('erases in the queues of an account that is configured no more, too', { timeout: 60_000 }, async () => {
    const account = (name: string, changesQueue: string) => ({
      name,
      provider: 'seven',
      apiKey: `key-of-${name}`,
      query: 'off',
      changesQueue,
    })
    const service = await startService({
      backend,
      accounts: [account('seven', 'old-changes'), account('gone', 'gone-changes')],
    })
    const client = createClient({ url: service.url })
    for (const name of ['seven', 'gone']) {
      await client.track({ account: name, messages: [{ messageId: '1', recipient: NUMBER }] })
      expect(await sendReceipt(service.url, '1', 'DELIVERED', name)).toBe(200)
    }
    const queues = ['old-changes', 'gone-changes']
    await until(async () => {
      for (const name of queues) expect(await service.queue(name).getWaitingCount()).toBe(1)
    })
    await service.close()
    const again = await startService({ installation: service, accounts: [account('seven', 'new-changes')] })
    expect(await createClient({ url: again.url }).eraseRecipient(NUMBER)).toBe(2)
    expect(await everythingQueued({ ...again, queue: service.queue }, queues)).toBe('[]')
  })

  it('passes over a job that is removed while it is looked at, and leaves those alone that hold nothing of it', async () => {
    const { queue, queues } = await createInstallation(backend)
    const track = queue('track')
    const messages = [{ account: 'seven', messageId: '1', recipientKey: '' }]
    await track.add('order', { v: 1, account: 'seven', messages: [...messages, { messageId: '2' }] })
    const foreign = ['seven 1', { messages: 1 }, { messageIds: ['1'], account: 'other' }]
    for (const data of foreign) await track.add('foreign', data)
    const getJob: typeof track.getJob = async (id) => {
      const job = await track.getJob(id)
      await job?.remove()
      return job
    }
    const erased = { messages, isErasedNumber: () => false }
    const findJobIds: typeof queues.findJobIds = (_queue, holds) => queues.findJobIds(track, holds)
    await forgetInJobs({ findJobIds }, [Object.create(track, { getJob: { value: getJob } })], erased)
    const left = await track.getJobs('waiting')
    expect(left.map(({ data }) => data)).toEqual(expect.arrayContaining(foreign))
    expect(left).toHaveLength(foreign.length)
  })

  it('leaves those alone that are for others under the same ID', async () => {
    const { queue, queues } = await createInstallation(backend)
    const [track, told] = [queue('track'), queue('told')]
    const order = (...recipients: (string | undefined)[]) => ({
      v: 1,
      account: 'cm',
      messages: recipients.map((recipient) => ({ messageId: 'news-7', recipient })),
    })
    const change = (recipient: string | null) => ({ v: 1, account: 'cm', messageId: 'news-7', recipient })
    await track.add(
      'order',
      order('+31 6 12345678', '612345678', '0612345678', '0031612345679', '0612345679', undefined),
    )
    for (const recipient of ['+31612345678', '612345678', '31612345679', null])
      await told.add('done', change(recipient))
    const messages = [{ account: 'cm', messageId: 'news-7', recipientKey: '31612345678' }]
    const { accounts } = readConfig({
      ACCOUNTS: JSON.stringify([
        { name: 'cm', provider: 'cm', productToken: 'product-token', defaultCountry: 'NL', changesQueue: 'told' },
      ]),
    })
    await openQueues(queues, accounts).forget({ messages, isErasedNumber: () => false })
    // One that does not say whose it is may be of the erased person.
    expect((await track.getJobs('waiting')).map(({ data }) => data)).toEqual([order('0031612345679', '0612345679')])
    expect((await told.getJobs('waiting')).map(({ data }) => data)).toEqual([change('31612345679')])
    await openQueues(queues, []).forget({ messages, isErasedNumber: () => false })
    expect(await track.getJobs('waiting')).toHaveLength(0)
  })

  it('looks through more jobs than are read at once', { timeout: 60_000 }, async () => {
    const { queue, queues } = await createInstallation(backend)
    const track = queue('track')
    const order = (messageId: string) => ({ v: 1, account: 'seven', messages: [{ messageId }, { messageId: 'other' }] })
    const count = 2 * JOBS_A_PAGE + 1
    await track.addBulk(Array.from({ length: count }, (_, index) => ({ name: 'order', data: order(`${index % 3}`) })))
    const messages = [{ account: 'seven', messageId: '1', recipientKey: '' }]
    await forgetInJobs(queues, [track], { messages, isErasedNumber: () => false })
    const left = await track.getJobs('waiting')
    expect(left).toHaveLength(count)
    const holding = left.filter(({ data }) => JSON.stringify(data).includes('"1"'))
    expect(holding).toHaveLength(0)
  })

  it('drops the answer about a message that was erased while a batch was asking', { timeout: 60_000 }, async () => {
    const sandbox = await openSandbox({ knobs: { latencyMs: 2_000 } })
    const service = await startService({ backend, accounts: [sevenAccount(sandbox)] })
    const messageIds = sandbox.send(3, { sentAt: minutesAgo(600) })
    await trackOver(service.url, messageIds, { sentAt: minutesAgo(600) })
    await until(() => expect(sandbox.stats().requests).toBe(1))
    const client = createClient({ url: service.url })
    const [erased = '', ...others] = messageIds
    await client.erase('seven', erased)
    await expect(client.get('seven', erased)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await until(async () => {
      const states = await messageStates(service)
      expect(states.map(({ messageId }) => messageId)).toEqual(others)
      for (const { status } of states) expect(status).not.toBeNull()
    })
    const queued = await everythingQueued(service, ['status-query.seven', 'track'])
    expect(queued).toContain(others[0])
    expect(queued).not.toContain(erased)
    expect(await everythingIn(service)).not.toContain(erased)
    await expect(client.erase('seven', erased)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
