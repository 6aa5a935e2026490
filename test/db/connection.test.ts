import { setTimeout as delay } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/db/connection.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'
import { until } from '../support/service.ts'
import { createDatabase } from '../support/services.ts'

let proxy: TcpProxy
let database: Database
let drop: () => Promise<void>

beforeAll(async () => {
  const created = await createDatabase()
  drop = created.drop
  const url = new URL(created.url)
  proxy = await openProxy({ host: url.hostname, port: Number(url.port) })
  url.port = String(proxy.port)
  database = await openDatabase(url.href, { maxConnections: 3 })
})

afterAll(async () => {
  await database?.close()
  await proxy?.close()
  await drop?.()
})

/** Takes the connections away, and waits until everybody has noticed. */
async function cut(): Promise<void> {
  await proxy.cut()
  await delay(50)
}

const SLOW = sql`SELECT pg_sleep(0.2)`

describe('a transaction whose connection is lost', () => {
  it.each([
    ['during a statement', async () => void setTimeout(() => proxy.cut(), 50), async () => {}],
    ['between two statements', cut, async () => {}],
    ['and that goes on all the same', async () => void setTimeout(() => proxy.cut(), 50), cut],
    ['before it is committed', async () => {}, cut],
  ])('rejects %s, and harms nobody else', async (_when, before, after) => {
    const run = database.db.transaction(async (transaction) => {
      await transaction.execute(sql`SELECT 1`)
      await before()
      await transaction.execute(SLOW).catch(() => {})
      await transaction.transaction((inner) => inner.execute(sql`SELECT 2`)).catch(() => {})
      await after()
    })
    await expect(run).rejects.toMatchObject({ code: expect.stringMatching(/^(CONNECTION_CLOSED|ECONNRESET)$/) })
    await proxy.restore()
    await until(async () => {
      const all = Array.from({ length: 10 }, () =>
        database.db.transaction((one) => one.execute(sql`SELECT 3 AS three`)),
      )
      for (const rows of await Promise.all(all)) expect(rows[0]).toEqual({ three: 3 })
    })
  })

  it('is the fate of many at once, and all goes on afterwards', { timeout: 60_000 }, async () => {
    let isOver = false
    const loops = Array.from({ length: 12 }, async () => {
      while (!isOver) await database.db.transaction((one) => one.execute(sql`SELECT 1`)).catch(() => delay(5))
    })
    for (let round = 0; round < 40; round++) {
      await delay(10 + (round % 5) * 8)
      await proxy.cut()
      await delay((round % 4) * 10)
      await proxy.restore()
    }
    isOver = true
    await Promise.all(loops)
    await until(async () => expect(await database.takesWrites()).toBe(true))
  })
})
