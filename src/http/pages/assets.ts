/** The files that the pages load: all of them from here. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

const ASSETS = {
  'style.css': 'text/css; charset=utf-8',
  'live.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
}

export function registerAssets(server: FastifyInstance): void {
  for (const [name, type] of Object.entries(ASSETS)) {
    const content = readFileSync(new URL(`./assets/${name}`, import.meta.url))
    const etag = `"${createHash('sha256').update(content).digest('hex').slice(0, 16)}"`
    server.get(`/assets/${name}`, async (request, reply) => {
      // Asked for each time and answered without a body: a new version is seen at once.
      reply.headers({ etag, 'cache-control': 'no-cache' })
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.type(type).send(content)
    })
  }
}
