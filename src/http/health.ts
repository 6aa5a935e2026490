/** Liveness, readiness and metrics. */
import { sql } from 'drizzle-orm'
import type { FastifyInstance } from 'fastify'
import { type Db, describeDatabaseError } from '../db/client.ts'
import { isMigrated } from '../db/migrate.ts'

export interface HealthOptions {
  db: Db
  pingQueues(): Promise<void>
}

const CHECK_WITHIN_MS = 3_000

export function registerHealthRoutes(server: FastifyInstance, { db, pingQueues }: HealthOptions): void {
  server.get('/health/live', () => ({ status: 'ok' }))

  server.get('/health/ready', async (_request, reply) => {
    const [database, migrations, queue] = await Promise.all([
      check(() => db.execute(sql`SELECT 1`)),
      check(async () => {
        if (!(await isMigrated(db))) throw new Error('migrations are missing: run lastword migrate')
      }),
      check(pingQueues),
    ])
    const ready = [database, migrations, queue].every((result) => result === 'ok')
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'unavailable', database, migrations, queue })
  })
}

/** 'ok', or what is wrong. */
async function check(probe: () => Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_WITHIN_MS} ms`)), CHECK_WITHIN_MS)
  })
  try {
    await Promise.race([probe(), tooLate])
    return 'ok'
  } catch (error) {
    return describeDatabaseError(error)
  } finally {
    clearTimeout(timer)
  }
}
