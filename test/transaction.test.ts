/** `track(tx, order)`: "sent" and "tracked" commit together, or neither does. */
import { sql as query } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LastwordError, type Order, type Transaction, track } from '../src/index.ts'
import { type Api, startApi } from './support/api.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  minutesAgo,
  ONE_MINUTE,
  openSandbox,
  sevenAccount,
  startService,
  statusesOf,
  truthsOf,
} from './support/service.ts'
import { createEmptyDatabase } from './support/services.ts'

const SECRET = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
const ACCOUNTS = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', callback: { secret: SECRET } },
  {
    name: 'silent',
    provider: 'seven',
    apiKey: 'seven-api-key',
    query: 'off',
    polling: { window: '2d' },
    messageIds: 'any',
  },
  { name: 'cm', provider: 'cm', productToken: 'product-token', defaultCountry: 'NL' },
])

let api: Api
let sql: postgres.Sql
beforeAll(async () => {
  api = await startApi({ ACCOUNTS })
  // A client as an app may have it, with other names of columns and other parsers than ours.
  sql = postgres(api.databaseUrl, { max: 3, onnotice: () => {}, transform: postgres.toPascal })
  await sql`CREATE TABLE texts (message_id text PRIMARY KEY)`
})
afterAll(async () => {
  await sql.end()
  await api.close()
  await closeAll()
})
beforeEach(async () => {
  await sql`DELETE FROM lastword.messages`
  await sql`DELETE FROM texts`
})

const order = (...messageIds: string[]): Order => ({
  account: 'seven',
  messages: messageIds.map((messageId) => ({ messageId })),
})

type Begin = (
  work: (tx: Transaction, send: (messageId: string) => Promise<unknown>) => Promise<void>,
) => Promise<unknown>

/** How apps begin a transaction; `send` writes down in it that a message was sent. */
const CLIENTS: [string, Begin][] = [
  ['postgres.js', (work) => sql.begin((tx) => work(tx, (id) => tx`INSERT INTO texts VALUES (${id})`))],
  [
    'a savepoint of postgres.js',
    (work) => sql.begin((tx) => tx.savepoint((inner) => work(inner, (id) => inner`INSERT INTO texts VALUES (${id})`))),
  ],
  [
    'drizzle',
    (work) => drizzle(sql).transaction((tx) => work(tx, (id) => tx.execute(query`INSERT INTO texts VALUES (${id})`))),
  ],
]

const idsIn = async (table: 'texts' | 'lastword.messages') => {
  const rows = await sql.unsafe(`SELECT message_id FROM ${table} ORDER BY 1`).values()
  return rows.flat()
}

describe.each(CLIENTS)('track in a transaction of %s', (_name, begin) => {
  it('tracks when it commits', async () => {
    await begin(async (tx, send) => {
      await send('1')
      expect(await track(tx, order('1', '2'))).toEqual({ tracked: 2, alreadyTracked: 0 })
      expect(await track(tx, order('2', '3'))).toEqual({ tracked: 1, alreadyTracked: 1 })
      expect((await api.get('/v1/messages/seven/1')).status).toBe(404)
    })
    expect(await idsIn('texts')).toEqual(['1'])
    expect(await idsIn('lastword.messages')).toEqual(['1', '2', '3'])
    expect((await api.get('/v1/messages/seven/1')).body).toMatchObject({ messageId: '1', status: null, final: false })
  })

  it('tracks nothing when it is rolled back', async () => {
    const rolledBack = begin(async (tx, send) => {
      await send('1')
      await track(tx, order('1'))
      throw new Error('the provider refused')
    })
    await expect(rolledBack).rejects.toThrow('the provider refused')
    expect(await idsIn('texts')).toEqual([])
    expect(await idsIn('lastword.messages')).toEqual([])
  })

  it('leaves the transaction usable when nothing can be tracked', async () => {
    await begin(async (tx, send) => {
      await send('1')
      await expect(track(tx, { account: 'nobody', messages: [{ messageId: '1' }] })).rejects.toMatchObject({
        code: 'NOT_FOUND',
      })
      await expect(track(tx, order('1', '?'))).rejects.toMatchObject({ code: 'INPUT_INVALID' })
      await send('2')
    })
    expect(await idsIn('texts')).toEqual(['1', '2'])
    expect(await idsIn('lastword.messages')).toEqual([])
  })

  it('binds recipients where the reference alone is no key', async () => {
    const messages = [
      { messageId: 'R1', recipient: '+31612345678' },
      { messageId: 'R1', recipient: '0031698765432' },
    ]
    await begin(async (tx) => {
      expect(await track(tx, { account: 'cm', messages })).toEqual({ tracked: 2, alreadyTracked: 0 })
    })
    await begin(async (tx) => {
      expect(await track(tx, { account: 'cm', messages: [{ messageId: 'R1' }] })).toEqual({
        tracked: 0,
        alreadyTracked: 1,
      })
    })
  })
})

describe('a reference that is used again', () => {
  it('begins another life, with the receipts that came before', async () => {
    const send = async (sentAt: Date) => {
      const messages = [{ messageId: 'R2', recipient: '06 12345678', sentAt }]
      expect(await track(sql, { account: 'cm', messages })).toEqual({ tracked: 1, alreadyTracked: 0 })
    }
    const receipt = (code: number, at: Date) => {
      const received = at.toLocaleString('sv-SE', { timeZone: 'Europe/Amsterdam' }).replace(' ', 'T')
      const msg = { received, to: '0031612345678', reference: 'R2', status: { code } }
      return api.post('/webhooks/cm', { messages: { msg } })
    }
    await send(minutesAgo(60))
    await receipt(2, minutesAgo(59))
    await receipt(3, minutesAgo(9))
    await send(minutesAgo(10))
    expect((await api.get('/v1/messages/cm/R2?recipient=0612345678')).body).toMatchObject({
      recipient: '06 12345678',
      status: 'failed',
      final: true,
      nextPollAt: null,
      reports: [
        { status: 'delivered', earlierLife: true },
        { status: 'failed', outcome: 'applied' },
      ],
    })
  })
})

describe('track', () => {
  it('begins a transaction of its own where there is none', async () => {
    expect(await track(sql, order('1'))).toEqual({ tracked: 1, alreadyTracked: 0 })
    expect(await track(drizzle(sql), order('2'))).toEqual({ tracked: 1, alreadyTracked: 0 })
    expect(await idsIn('lastword.messages')).toEqual(['1', '2'])
  })

  it("leaves the parsers of the app's client alone", async () => {
    const own = postgres(api.databaseUrl, { max: 1, onnotice: () => {} })
    closeLater(() => own.end())
    await own.begin((tx) => track(tx, order('1')))
    const [row] = await own`SELECT sent_at FROM lastword.messages`
    expect(row?.sent_at).toBeInstanceOf(Date)
  })

  it('keeps everything that was given', async () => {
    const sentAt = minutesAgo(3)
    const message = {
      messageId: 7,
      sentAt,
      recipient: '+49170',
      metadata: { a: ['"', null] },
      callbackUrl: 'https://a.example/b',
    }
    await track(sql, { account: 'seven', messages: [message] })
    const { body } = await api.get('/v1/messages/seven/7')
    expect(body).toMatchObject({ sentAt: sentAt.toISOString(), recipient: '+49170', metadata: { a: ['"', null] } })
    const [row] = await sql.unsafe('SELECT callback_url FROM lastword.messages').values()
    expect(row).toEqual(['https://a.example/b'])
  })

  it('refuses a URL for callbacks that nobody could sign', async () => {
    const message = { messageId: '7', callbackUrl: 'https://a.example/b' }
    await expect(track(sql, { account: 'silent', messages: [message] })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('account "silent" has no callback secret to sign with'),
    })
  })

  it('gives an account that is never polled no poll before its window ends', async () => {
    await track(sql, { account: 'silent', messages: [{ messageId: '1' }] })
    await track(sql, { account: 'silent', messages: [{ messageId: 'foo' }] })
    const foreign = track(sql, { account: 'seven', messages: [{ messageId: 'foo' }] })
    await expect(foreign).rejects.toMatchObject({ code: 'INPUT_INVALID', message: /expected only digits/ })
    const [row] = await sql
      .unsafe("SELECT due_at = window_ends_at, window_ends_at - sent_at = '2d' FROM lastword.messages")
      .values()
    expect(row).toEqual([true, true])
  })

  it('refuses what the API refuses, by the same path', async () => {
    const wrong = { account: 'seven', messages: [{ messageId: '1' }, { messageId: '2', sentAt: new Date(0) }] }
    const path = 'messages[1].sentAt'
    const error = await track(sql, wrong).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(LastwordError)
    expect(error).toMatchObject({ code: 'INPUT_INVALID', issues: [{ path, message: expect.any(String) }] })
    expect(await idsIn('lastword.messages')).toEqual([])
    expect((await api.post('/v1/messages', wrong)).body).toMatchObject({ errors: [{ path }] })
  })

  it('takes a date that is none for a mistake', async () => {
    const wrong = { account: 'seven', messages: [{ messageId: '1', sentAt: new Date(Number.NaN) }] }
    await expect(track(sql, wrong)).rejects.toMatchObject({ issues: [{ path: 'messages[0].sentAt' }] })
  })

  it('says that the service has not been started with an account', async () => {
    await expect(track(sql, { account: 'nobody', messages: [{ messageId: '1' }] })).rejects.toThrow(
      'The account "nobody" is not known in this database: start the service',
    )
  })

  it('says that the database is not the one of the service, and the transaction goes on', async () => {
    const { url, drop } = await createEmptyDatabase()
    closeLater(drop)
    const own = postgres(url, { max: 1, onnotice: () => {} })
    closeLater(() => own.end())
    await own.begin(async (tx) => {
      await expect(track(tx, order('1'))).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('lastword migrate'),
      })
      expect(await tx`SELECT 1 AS one`).toEqual([{ one: 1 }])
    })
  })

  it('refuses what is not a transaction', async () => {
    for (const wrong of [undefined, {}, 'sql', () => {}]) {
      await expect(track(wrong as unknown as Transaction, order('1'))).rejects.toThrow(TypeError)
    }
  })
})

it('is found by the next dispatch', async () => {
  const sandbox = await openSandbox({ law: ONE_MINUTE })
  const installation = await createInstallation('postgres')
  await startService({ installation, accounts: [sevenAccount(sandbox)] })
  const sentAt = minutesAgo(5)
  await installation.sql.begin(async (tx) => {
    const messages = sandbox.send(20, { sentAt }).map((messageId) => ({ messageId, sentAt }))
    await track(tx, { account: 'seven', messages })
  })
  await allSettled(installation)
  expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
})
