/** Errors as RFC 9457 problem documents, in one place. */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { LastwordError } from '../core/errors.ts'
import { describeDatabaseError, isDatabaseUnavailable } from '../db/client.ts'

/** Seconds after which a caller may try again when the database is away. */
const RETRY_AFTER_S = 5

export function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, title, detail, extra, isRetryable } = describeError(error, request)
  if (isRetryable) reply.header('retry-after', RETRY_AFTER_S)
  return sendProblem(reply, status, title, detail, extra)
}

export interface DescribedError {
  status: number
  title: string
  detail: string
  extra: Record<string, unknown>
  isRetryable: boolean
}

/** An error as it is answered; the log has it when it is not the caller's. */
export function describeError(error: unknown, request: FastifyRequest): DescribedError {
  if (isBrokenOff(request)) {
    const detail = 'The request ended before its body did.'
    return { status: 400, title: 'Invalid request', detail, extra: { code: 'INPUT_INVALID' }, isRetryable: false }
  }
  const known = toLastwordError(error)
  if (known) {
    const { status, title, message: detail, code, issues, extra, retryable: isRetryable } = known
    if (isRetryable) request.log.warn({ err: error }, detail)
    return { status, title, detail, extra: { code, ...(issues ? { errors: issues } : {}), ...extra }, isRetryable }
  }
  if (isFastifyError(error) && error.statusCode !== undefined && error.statusCode < 500) {
    const extra = { code: 'INPUT_INVALID' }
    return { status: error.statusCode, title: 'Invalid request', detail: explain(error), extra, isRetryable: false }
  }
  request.log.error({ err: error }, 'a request failed')
  const detail = 'The request failed for a reason that stands in the log.'
  return { status: 500, title: 'Internal error', detail, extra: { code: 'INTERNAL' }, isRetryable: false }
}

/** The client hung up, or was too slow: its connection's error says nothing of the database's. */
function isBrokenOff({ raw }: FastifyRequest): boolean {
  return raw.destroyed && raw.complete === false
}

export function sendProblem(
  reply: FastifyReply,
  status: number,
  title: string,
  detail: string,
  extra: Record<string, unknown> = {},
): FastifyReply {
  const problem = { type: 'about:blank', title, status, detail, ...extra }
  return reply.code(status).header('content-type', 'application/problem+json').send(JSON.stringify(problem))
}

export function sendNotFound(reply: FastifyReply): FastifyReply {
  return sendProblem(reply, 404, 'Not found', 'There is nothing at this URL.', { code: 'NOT_FOUND' })
}

/** Requests that Node cannot read, by its codes; any other is none of HTTP. */
const BROKEN: Record<string, readonly [status: number, title: string, detail: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Too large', 'The headers are too large; expected at most 16 KiB with the URL.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Too slow', 'The request did not come to its end in time; send it again.'],
}
const NO_HTTP = [400, 'Invalid request', 'Expected a request of HTTP/1.1, found one that cannot be read.'] as const

/** Answers a request that is no request yet, and closes its connection. */
export function answerBroken(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const [status, title, detail] = BROKEN[error.code ?? ''] ?? NO_HTTP
  const body = JSON.stringify({ type: 'about:blank', title, status, detail, code: 'INPUT_INVALID' })
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/problem+json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    )
  }
  socket.destroy(error)
}

function toLastwordError(error: unknown): LastwordError | undefined {
  if (error instanceof LastwordError) return error
  if (!isDatabaseUnavailable(error)) return undefined
  return new LastwordError(
    'UNAVAILABLE',
    `The database does not answer (${describeDatabaseError(error)}). Try again shortly.`,
  )
}

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
}

function explain(error: FastifyError): string {
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return 'Expected a body of type application/json.'
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return 'The body is too large; send it in several requests.'
    case 'FST_ERR_BAD_URL':
      return 'Expected a URL whose percent signs are followed by two hexadecimal digits each, of UTF-8 text.'
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return 'Expected a JSON body, found text that is not JSON.'
    default:
      return error instanceof SyntaxError ? 'Expected a JSON body, found text that is not JSON.' : error.message
  }
}
