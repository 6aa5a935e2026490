/** One request to the service, and what its answers and failures mean. */

import { type ErrorCode, type Issue, LastwordError } from '../core/errors.ts'
import { isTimeout, withDeadline } from '../deadline.ts'

/**
 * The end of a request to the service: `code` and `issues` as the service gave them, `status` of the answer. Without an
 * answer, and for answers that are not the service's own (a proxy's), `code` is what comes nearest.
 */
export class RequestError extends LastwordError {
  readonly #status: number
  /** The wait before another attempt that the service asked for. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      status: number
      retryAfterMs?: number | undefined
      issues?: Issue[] | undefined
      recipients?: unknown
      cause?: unknown
    },
  ) {
    const { issues, recipients, cause } = options
    super(code, message, {
      cause,
      ...(issues ? { issues } : {}),
      ...(recipients === undefined ? {} : { extra: { recipients } }),
    })
    this.#status = options.status
    this.retryAfterMs = options.retryAfterMs
  }

  /** The HTTP status of the answer; 0 when there was none. */
  override get status(): number {
    return this.#status
  }

  /** True when the same request may succeed a little later. */
  override get retryable(): boolean {
    return this.#status === 0 || this.#status === 429 || this.#status >= 500
  }
}

export interface ServiceAddress {
  /** Where the service listens, with the path below which it stands behind a proxy. */
  url: string
  apiKey?: string | undefined
  /** How long one request may take. */
  timeoutMs: number
}

export interface ServiceRequest {
  method?: 'GET' | 'POST' | 'DELETE'
  path: string
  query?: Readonly<Record<string, string | number | boolean | undefined>>
  body?: unknown
  signal?: AbortSignal | undefined
}

/** Asks once. Throws a RequestError, or the signal's reason when it is aborted. */
export async function ask(address: ServiceAddress, request: ServiceRequest): Promise<unknown> {
  const { signal } = request
  try {
    return await withDeadline(address.timeoutMs, signal, async (deadline) => {
      const response = await fetch(urlOf(address, request), {
        method: request.method ?? 'GET',
        headers: headersOf(address, request),
        body: request.body === undefined ? null : JSON.stringify(request.body),
        // A key must not follow a redirect.
        redirect: 'manual',
        signal: deadline,
      })
      return readAnswer(response, await response.text())
    })
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof LastwordError) throw error
    const found = isTimeout(error) ? `no answer within ${address.timeoutMs} ms` : reasonOf(error)
    const message = `Lastword at ${originOf(address.url)} does not answer (${found}).`
    throw new RequestError('UNAVAILABLE', message, { status: 0, cause: error })
  }
}

function urlOf({ url }: ServiceAddress, { path, query = {} }: ServiceRequest): string {
  const parameters = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.set(key, String(value))
  return `${url.replace(/\/+$/, '')}${path}${parameters.size > 0 ? `?${parameters}` : ''}`
}

function headersOf({ apiKey }: ServiceAddress, { body }: ServiceRequest): Record<string, string> {
  return {
    accept: 'application/json, application/problem+json',
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  }
}

function readAnswer(response: Response, text: string): unknown {
  const { status, headers } = response
  const json = parseJson(text)
  if (response.ok && (json !== undefined || status === 204)) return json
  const retryAfterMs = readRetryAfter(headers.get('retry-after'))
  const problem = typeof json === 'object' && json !== null ? json : {}
  const detail = 'detail' in problem && typeof problem.detail === 'string' ? problem.detail : undefined
  if (detail === undefined) {
    const what = response.ok ? 'what is not JSON' : `status ${status} and no explanation`
    const message = `Expected an answer of Lastword, found ${what}; is the URL right?`
    throw new RequestError(codeOf(undefined, status), message, { status, retryAfterMs })
  }
  throw new RequestError(codeOf('code' in problem ? problem.code : undefined, status), detail, {
    status,
    retryAfterMs,
    issues: 'errors' in problem ? readIssues(problem.errors) : undefined,
    recipients: 'recipients' in problem ? problem.recipients : undefined,
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const CODES: ReadonlySet<unknown> = new Set<ErrorCode>([
  'INPUT_INVALID',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'NOT_FOUND',
  'GONE',
  'AMBIGUOUS',
  'CONFLICT',
  'UNAVAILABLE',
])

/** An answer of a proxy, or of another server, says nothing about messages. */
function codeOf(code: unknown, status: number): ErrorCode {
  if (CODES.has(code)) return code as ErrorCode
  if (status === 401) return 'UNAUTHORIZED'
  if (status === 403) return 'FORBIDDEN'
  return status === 429 || status >= 500 ? 'UNAVAILABLE' : 'CONFIG_INVALID'
}

function readIssues(errors: unknown): Issue[] | undefined {
  if (!Array.isArray(errors)) return undefined
  return errors.flatMap((issue) =>
    typeof issue?.path === 'string' && typeof issue?.message === 'string'
      ? [{ path: issue.path, message: issue.message }]
      : [],
  )
}

/** Seconds, or a date, of RFC 9110. */
function readRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

/** fetch says only that it failed; why is in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && cause.code !== undefined ? String(cause.code) : cause.message || cause.name
}

/** Without user name and password. */
function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url
}
