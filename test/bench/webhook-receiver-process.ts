/**
 * The rivals of our webhook route: `webhook-receiver-process.js bare`, a Fastify route that reads the receipt,
 * stores nothing and answers 204, and `… one-statement URL`, which runs one prepared statement a request before that.
 */
import { fastify } from 'fastify'
import postgres from 'postgres'

interface Receipt {
  data: { msg_id: string; status: string; timestamp: string }
}

const DATABASE_CONNECTIONS = 10
const STATUSES: Readonly<Record<string, string>> = {
  DELIVERED: 'delivered',
  NOTDELIVERED: 'undelivered',
  EXPIRED: 'expired',
  REJECTED: 'rejected',
  FAILED: 'failed',
}

const [, , kind, databaseUrl = ''] = process.argv
const sql = kind === 'bare' ? undefined : postgres(databaseUrl, { max: DATABASE_CONNECTIONS })
const server = fastify()
server.post<{ Body: Receipt }>('/webhooks/seven', async (request, reply) => {
  const { msg_id, status, timestamp } = request.body.data
  if (sql) {
    await sql`
      UPDATE messages SET status = ${STATUSES[status] ?? null}, final = true,
        status_at = ${timestamp}::timestamp AT TIME ZONE 'Europe/Berlin'
      WHERE message_id = ${msg_id} AND NOT final`
  }
  return reply.code(204).send()
})
console.log(`receiving at ${await server.listen({ host: '127.0.0.1', port: 0 })} `)
process.once('SIGTERM', () => void server.close().then(() => sql?.end()))
