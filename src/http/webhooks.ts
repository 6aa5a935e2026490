/**
 * Delivery receipts. A receipt is answered 2xx only when Postgres has it; while the database is away the answer is 503,
 * which makes the provider try again.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isLoopback } from '../config.ts'
import { LastwordError } from '../core/errors.ts'
import { rememberNonce } from '../db/accounts.ts'
import type { Db } from '../db/client.ts'
import type { ReportWriter } from '../db/report-writer.ts'
import type { Metrics } from '../metrics.ts'
import type { Account } from '../providers/provider.ts'
import { providerOf } from '../providers/registry.ts'
import type { Accounts } from '../tracking.ts'
import { isSameSecret } from './auth.ts'

export interface WebhookRoutesOptions {
  db: Db
  accounts: Accounts
  writer: ReportWriter
  metrics: Metrics
  host: string
  publicUrl: string | undefined
}

const WEBHOOK_BODY_BYTES = 1024 * 1024
/** Providers wait five seconds at least; an answer after that is as good as none. */
const COMMIT_WITHIN_MS = 4_500

interface WebhookPath {
  account: string
  token?: string
}

/** Registers the public webhook routes on a server scope of their own: bodies are kept raw there. */
export function registerWebhookRoutes(server: FastifyInstance, options: WebhookRoutesOptions): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: WEBHOOK_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  )
  const handler = (request: FastifyRequest<{ Params: WebhookPath }>) => receive(options, request)
  for (const url of ['/webhooks/:account', '/webhooks/:account/:token']) {
    server.route<{ Params: WebhookPath }>({ method: ['GET', 'POST'], url, handler })
  }
}

async function receive(options: WebhookRoutesOptions, request: FastifyRequest<{ Params: WebhookPath }>) {
  const { accounts, writer, metrics, publicUrl } = options
  const account = accounts.get(request.params.account)
  if (!account) throw new LastwordError('NOT_FOUND', 'No such account is configured here; correct the webhook URL.')
  try {
    authorize(account, request.params.token, options.host)
    const { reports, ignored, skipped, nonce } = providerOf(account).readWebhook(account, {
      method: request.method,
      publicUrl: publicUrl && publicUrl + request.raw.url,
      path: request.raw.url ?? '',
      query: request.query as Record<string, unknown>,
      headers: request.headers,
      body: Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0),
      receivedAt: new Date(),
    })
    if (nonce && !(await withinPatience(rememberNonce(options.db, { account: account.name, ...nonce })))) {
      throw new LastwordError('UNAUTHORIZED', 'The nonce of the signature was used before, with another body.')
    }
    const applied = await withinPatience(writer.write(reports))
    metrics.observeReports(applied, request.log)
    if (skipped) {
      metrics.webhooks.inc({ account: account.name, result: 'skipped a message' }, skipped.length)
      request.log.warn({ account: account.name, skipped }, 'a webhook holds messages that cannot be read')
    }
    metrics.webhooks.inc({ account: account.name, result: ignored ? 'ignored' : 'accepted' })
    return ignored ? { reports: 0, ignored } : { reports: reports.length }
  } catch (error) {
    const code = error instanceof LastwordError ? error.code.toLowerCase() : 'failed'
    metrics.webhooks.inc({ account: account.name, result: code })
    throw error
  }
}

/** With a token the URL must end with it; an account with neither token nor signing key is open to this machine only. */
function authorize(account: Account, token: string | undefined, host: string): void {
  if (account.webhookToken !== undefined) {
    if (token !== undefined && isSameSecret(token, account.webhookToken)) return
    throw new LastwordError('UNAUTHORIZED', 'Expected the webhook token of this account at the end of the URL.')
  }
  if (account.signingKey !== undefined || isLoopback(host)) return
  throw new LastwordError(
    'FORBIDDEN',
    `Account "${account.name}" has neither a signingKey nor a webhookToken, so it takes webhooks on a loopback HOST only.`,
  )
}

async function withinPatience<T>(commit: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_resolve, reject) => {
    const giveUp = () =>
      reject(new LastwordError('UNAVAILABLE', 'The database did not commit the receipt in time. Send it again.'))
    timer = setTimeout(giveUp, COMMIT_WITHIN_MS)
  })
  return Promise.race([commit, tooLate]).finally(() => clearTimeout(timer))
}
