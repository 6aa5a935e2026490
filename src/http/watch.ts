/** Where a process without an API can be looked at: liveness, readiness and metrics. */
import { type FastifyInstance, fastify } from 'fastify'
import type { Key } from '../config/keys.ts'
import { guardByKeys } from './auth.ts'
import { createDoors } from './doors.ts'
import { type GaugesOptions, registerGauges } from './gauges.ts'
import { registerHealthRoutes } from './health.ts'

export interface WatchServerOptions extends GaugesOptions {
  keys: readonly Key[]
  host: string
}

export async function createWatchServer(options: WatchServerOptions): Promise<FastifyInstance> {
  const { registry } = options.metrics
  const server = fastify()
  registerHealthRoutes(server, { ...options, hasApi: false })
  registerGauges(options)
  await server.register(async (guarded) => {
    const { keys, host } = options
    guarded.addHook('onRequest', createDoors({ hasKeys: keys.length > 0, host, publicUrl: undefined }))
    guardByKeys(guarded, keys)
    guarded.get('/metrics', { config: { needs: 'metrics' } }, async (_request, reply) =>
      reply.type(registry.contentType).send(await registry.metrics()),
    )
  })
  return server
}
