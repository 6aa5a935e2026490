/** The alerts: those that last, and what ended of late. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { ALERT_KINDS } from '../core/alerts.ts'
import { findAlerts } from '../db/alerts.ts'
import type { Db } from '../db/client.ts'
import { named } from '../schema-names.ts'
import type { RouteDoc } from './openapi/openapi.ts'

const timeSchema = z.iso.datetime()
const AT = '2026-01-31T10:00:00.000Z'

const alertSchema = named(
  'Alert',
  z.object({
    id: z.int().meta({ examples: [12], description: 'Its number.' }),
    kind: z.enum(ALERT_KINDS).meta({ examples: ['queue-paused'], description: 'The kind of condition.' }),
    subject: z.string().meta({ examples: ['dispatch'], description: 'An account, a receiver, a queue, a machine.' }),
    message: z.string().meta({
      examples: ['The queue "dispatch" is paused: its jobs wait until it is resumed.'],
      description: 'A sentence for people.',
    }),
    since: timeSchema.meta({ examples: [AT], description: 'Since when the condition holds, as far as it is known.' }),
    begunAt: timeSchema.meta({ examples: [AT], description: 'When it was told.' }),
    until: timeSchema.nullable().meta({ examples: [null], description: 'When it was gone; `null` while it lasts.' }),
  }),
)

const LIST: RouteDoc = {
  operationId: 'listAlerts',
  tag: 'Operation',
  summary: 'Conditions that need somebody',
  description:
    'What the operator is told of at `ALERT_URL` and in the log, once when it begins and once when it is over: the alerts that last, then those that ended within 30 days, the latest of each first, 1,000 at most. That the database is away is told by each process for itself, and stands here never.',
  response: { 200: z.object({ alerts: z.array(alertSchema) }).describe('The alerts.') },
}

export function registerAlertRoutes(server: FastifyInstance, { db }: { db: Db }): void {
  server.get('/v1/alerts', { config: { doc: LIST } }, async () => ({ alerts: await findAlerts(db) }))
}
