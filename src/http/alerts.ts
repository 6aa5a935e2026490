/** The alerts: those that last, and what ended of late. */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { findAlerts } from '../db/alerts.ts'
import type { Db } from '../db/client.ts'
import { named } from '../schema-names.ts'
import { AT, field, timeSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'
import { alertShape } from './openapi/webhooks.ts'

const alertSchema = named(
  'Alert',
  z.object({
    id: z.int().meta({ examples: [12], description: 'Its number.' }),
    ...alertShape,
    begunAt: field(timeSchema, AT, 'When it was told.'),
    until: field(timeSchema.nullable(), null, 'When it was gone; `null` while it lasts.'),
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
