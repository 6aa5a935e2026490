/**
 * Delivery receipts. A receipt is answered 2xx only when Postgres has it; while the database is away the answer is 503,
 * which makes the provider try again.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { isLoopback } from '../config.ts'
import { LastwordError } from '../core/errors.ts'
import type { Db } from '../db/client.ts'
import { rememberNonce } from '../db/nonces.ts'
import type { ReportWriter } from '../db/report-writer.ts'
import { isTimeout, orAborted, withDeadline } from '../deadline.ts'
import type { Learner } from '../learner.ts'
import type { Metrics } from '../metrics.ts'
import type { Account } from '../providers/account.ts'
import { MOST_BODY_BYTES } from '../providers/body-text.ts'
import { readWebhook } from '../providers/receipt.ts'
import { providerOf } from '../providers/registry.ts'
import type { Tracing } from '../tracing.ts'
import type { Accounts } from '../tracking.ts'
import { isSameSecret } from './auth.ts'
import { isForeign } from './doors.ts'
import { sendError, sendProblem } from './errors.ts'
import { webhookAnswerSchema } from './openapi/answers.ts'
import type { RouteDoc } from './openapi/openapi.ts'
import type { Refuse } from './refusals.ts'

export interface WebhookRoutesOptions {
  db: Db
  accounts: Accounts
  writer: ReportWriter
  learner: Learner
  metrics: Metrics
  tracing: Tracing
  host: string
  publicUrl: string | undefined
  refuse: Refuse
}

/** Providers wait five seconds at least; an answer after that is as good as none. */
const COMMIT_WITHIN_MS = 4_500

interface WebhookPath {
  account: string
  token?: string
}

type WebhookHttpRequest = FastifyRequest<{ Params: WebhookPath }>

const URLS = ['/webhooks/:account', '/webhooks/:account/:token']
export const WEBHOOK_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST'])
const ALLOWED = [...WEBHOOK_METHODS].join(', ')

/** Registers the public webhook routes on a server scope of their own: bodies are kept raw there, whatever their type. */
export function registerWebhookRoutes(server: FastifyInstance, options: WebhookRoutesOptions): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MOST_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  )
  // The server would refuse a content type that is none; here it is a hint for whoever reads the body.
  server.decorateRequest('contentType', '')
  server.addHook('onRequest', async (request) => {
    request.setDecorator('contentType', request.raw.headers['content-type'] ?? '')
    delete request.raw.headers['content-type']
  })
  server.setErrorHandler(async (error, request, reply) => {
    if (!(error instanceof LastwordError) || error.code !== 'UNAUTHORIZED') return sendError(error, request, reply)
    const asked = request as WebhookHttpRequest
    const account = findAccount(options, asked)
    const secret = hasItsToken(account, asked.params.token) ? 'signature' : 'token'
    return options.refuse(secret, error, request, reply, { account: account.name })
  })
  for (const url of URLS) {
    for (const method of ['GET', 'POST'] as const) {
      server.route<{ Params: WebhookPath }>({
        method,
        url,
        config: { doc: describeWebhook(method, url.endsWith('/:token')) },
        exposeHeadRoute: false,
        handler: (request, reply) => receive(options, request, reply),
      })
    }
    // A link checker's request: it changes nothing.
    server.head<{ Params: WebhookPath }>(url, (request, reply) => {
      authorize(findAccount(options, request), request, options)
      return reply.send()
    })
  }
}

const pathSchema = z.object({ account: z.string().describe('The name of the account.') })
const tokenPathSchema = pathSchema.extend({ token: z.string().describe('The `webhookToken` of the account.') })

function describeWebhook(method: 'GET' | 'POST', hasToken: boolean): RouteDoc {
  const isPost = method === 'POST'
  return {
    operationId: `receiveReceipt${isPost ? '' : 'ByGet'}${hasToken ? 'WithToken' : ''}`,
    tag: 'Webhooks',
    summary: `Deliver a receipt${isPost ? '' : ' in the query'}${hasToken ? ', with a token' : ''}`,
    description: hasToken
      ? 'For accounts with a `webhookToken`. With a `signingKey` the signature is required too.'
      : 'For the provider. JSON, XML, forms and fields in the query are read, one receipt or many, compressed or not, in any charset, whatever the content type says. With a `signingKey` the signature is required; an account with neither key nor token takes receipts on a loopback `HOST` only. 200 means that the database has the receipt; after 503 the provider tries again.',
    isPublic: true,
    params: hasToken ? tokenPathSchema : pathSchema,
    ...(isPost ? { body: z.unknown().describe('In the provider’s own words.'), consumes: '*/*' } : {}),
    response: { 200: webhookAnswerSchema.describe('Stored.') },
    problems: [
      'unreadableReceipt',
      'wrongToken',
      'tooManyWrong',
      'noToken',
      'noAccount',
      ...(isPost ? (['tooLarge'] as const) : []),
    ],
  }
}

/** Answers other methods, so that whoever set one up learns which would do. */
export function refuseWebhookMethod(reply: FastifyReply): FastifyReply {
  const detail = `Expected one of ${ALLOWED}.`
  return sendProblem(reply.header('allow', ALLOWED), 405, 'Method not allowed', detail, { code: 'METHOD_NOT_ALLOWED' })
}

function findAccount({ accounts }: WebhookRoutesOptions, { params }: WebhookHttpRequest): Account {
  const account = accounts.get(params.account)
  if (account) return account
  throw new LastwordError('NOT_FOUND', 'No such account is configured here; correct the webhook URL.')
}

/** The body of a GET, which the server leaves unread; some senders put their fields there. */
async function bodyOf(request: WebhookHttpRequest): Promise<Buffer> {
  if (Buffer.isBuffer(request.body)) return request.body
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of request.raw) {
    bytes += piece.length
    if (bytes > MOST_BODY_BYTES) {
      throw new LastwordError('TOO_LARGE', `The body is too large; expected at most ${MOST_BODY_BYTES} bytes.`)
    }
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

async function receive(options: WebhookRoutesOptions, request: WebhookHttpRequest, reply: FastifyReply) {
  const { writer, learner, metrics, tracing, publicUrl } = options
  const account = findAccount(options, request)
  const provider = providerOf(account)
  const { webhookAnswer } = provider
  const answer = (stored: { reports: number; ignored?: string }) =>
    webhookAnswer ? reply.type(webhookAnswer.contentType).send(webhookAnswer.body) : stored
  try {
    authorize(account, request, options)
    const {
      reports,
      ignored,
      passedOver = 0,
      skipped,
      nonce,
    } = await readWebhook(provider, account, {
      method: request.method,
      publicUrl: publicUrl && publicUrl + request.raw.url,
      path: request.raw.url ?? '',
      headers: { ...request.headers, 'content-type': request.getDecorator<string>('contentType') },
      body: await bodyOf(request),
      receivedAt: new Date(),
    })
    if (ignored !== undefined) {
      request.log.info({ account: account.name, ignored }, 'a webhook without a delivery receipt was accepted')
      metrics.webhooks.inc({ account: account.name, result: 'ignored' })
      return answer({ reports: 0, ignored })
    }
    if (nonce && !(await withinPatience(rememberNonce(options.db, { account: account.name, ...nonce })))) {
      throw new LastwordError('UNAUTHORIZED', 'The nonce of the signature was used before, with another body.')
    }
    const told = reports.map(({ messageId }) => messageId)
    const applied = await withinPatience(tracing.receipt(account.name, told, () => writer.write(reports)))
    metrics.observeReports(applied, learner.now(), request.log)
    learner.observeReports(applied)
    if (skipped) {
      metrics.webhooks.inc({ account: account.name, result: 'skipped a message' }, skipped.length)
      request.log.warn({ account: account.name, skipped }, 'a webhook holds messages that cannot be read')
    }
    if (passedOver > 0) metrics.webhooks.inc({ account: account.name, result: 'passed over a message' }, passedOver)
    metrics.webhooks.inc({ account: account.name, result: 'accepted' })
    return answer({ reports: reports.length })
  } catch (error) {
    const code = error instanceof LastwordError ? error.code.toLowerCase() : 'failed'
    metrics.webhooks.inc({ account: account.name, result: code })
    throw error
  }
}

/** True where the account asks for no token, too. */
function hasItsToken({ webhookToken }: Account, token: string | undefined): boolean {
  if (webhookToken === undefined) return true
  return token !== undefined && webhookToken.some((known) => isSameSecret(token, known))
}

/**
 * With a token the URL must end with it; an account with neither token nor signing key is open to this machine only, and not
 * to the pages of others that a browser shows here.
 */
function authorize(account: Account, request: WebhookHttpRequest, options: WebhookRoutesOptions): void {
  if (account.webhookToken !== undefined) {
    if (hasItsToken(account, request.params.token)) return
    throw new LastwordError('UNAUTHORIZED', 'Expected the webhook token of this account at the end of the URL.')
  }
  if (account.signingKey !== undefined) return
  if (isForeign(request, options)) {
    throw new LastwordError(
      'FORBIDDEN',
      'Expected a request of a provider, found one that a page of another site has made.',
    )
  }
  if (isLoopback(options.host)) return
  throw new LastwordError(
    'FORBIDDEN',
    `Account "${account.name}" has neither a signingKey nor a webhookToken, so it takes webhooks on a loopback HOST only.`,
  )
}

async function withinPatience<T>(commit: Promise<T>): Promise<T> {
  try {
    return await withDeadline(COMMIT_WITHIN_MS, undefined, (signal) => orAborted(commit, signal))
  } catch (error) {
    if (!isTimeout(error)) throw error
    throw new LastwordError('UNAVAILABLE', 'The database did not commit the receipt in time. Send it again.')
  }
}
