/** seven.io's interface for webhook subscriptions (https://docs.seven.io/en/rest-api/endpoints/webhooks). */
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { formatBerlinTime } from '../berlin-time.ts'

const EVENT_TYPES = ['dlr', 'rcs', 'sms_mo', 'tracking', 'voice_call', 'voice_dtmf', 'voice_status'] as const

const hookSchema = z.object({
  target_url: z.url({ protocol: /^https?$/ }),
  event_type: z.enum(EVENT_TYPES),
  request_method: z.enum(['GET', 'JSON', 'POST']).default('POST'),
  event_filter: z.string().nullable().default(null),
})

/** A subscription as it is listed. */
export interface Hook extends z.output<typeof hookSchema> {
  id: string
  created: string
  enabled: boolean
}

interface HookRoutes {
  hooks: Hook[]
  apiKey: string
}

const WRONG_KEY = '900'

/** Adds the routes; `hooks` is what they list, add to and delete from. */
export function addHookRoutes(app: FastifyInstance, { hooks, apiKey }: HookRoutes): void {
  let lastId = 0
  app.get('/api/hooks', async (request, reply) => {
    reply.type('application/json')
    if (request.headers['x-api-key'] !== apiKey) return reply.send(WRONG_KEY)
    return reply.send(JSON.stringify({ success: true, hooks }))
  })

  app.post('/api/hooks', async (request, reply) => {
    reply.type('application/json')
    if (request.headers['x-api-key'] !== apiKey) return reply.send(WRONG_KEY)
    const wanted = hookSchema.safeParse(request.body)
    if (!wanted.success) {
      const error_message = `Invalid ${wanted.error.issues.map(({ path }) => path.join('.')).join(', ')}`
      return reply.send(JSON.stringify({ success: false, error_message }))
    }
    lastId += 1
    const id = lastId
    const { target_url, event_type, event_filter, request_method } = wanted.data
    const created = formatBerlinTime(new Date(), 3).slice(0, 'yyyy-mm-dd hh:mm:ss'.length)
    hooks.push({ id: String(id), target_url, event_type, event_filter, request_method, created, enabled: true })
    return reply.send(JSON.stringify({ success: true, id }))
  })

  app.delete('/api/hooks', async (request, reply) => {
    reply.type('application/json')
    if (request.headers['x-api-key'] !== apiKey) return reply.send(WRONG_KEY)
    const { id } = { ...Object(request.query), ...Object(request.body) }
    const index = hooks.findIndex((hook) => hook.id === String(id))
    if (index >= 0) hooks.splice(index, 1)
    return reply.send(JSON.stringify({ success: index >= 0 }))
  })
}
