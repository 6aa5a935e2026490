/**
 * Requests to a provider: one undici pool per account, with time-outs and a cap on the size of an answer. Answers that
 * are not a success become a ProviderError that says what to do about it.
 *
 * Error messages name the status and the cause, never the URL or a header: they hold message IDs and credentials.
 */
import { type Dispatcher, errors, Pool } from 'undici'
import { ProviderError } from '../core/errors.ts'
import { isTimeout, withDeadline } from '../deadline.ts'

export interface ProviderHttpOptions {
  baseUrl: string
  timeoutMs: number
  /** The most requests under way at once. */
  connections: number
}

interface ProviderResponse {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

export interface ProviderHttp {
  /** GETs a path below the base URL. Resolves for 2xx only. */
  get(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<ProviderResponse>
  /** POSTs a JSON body to a path below the base URL. Resolves for 2xx only. */
  post(path: string, headers: Record<string, string>, body: unknown, signal: AbortSignal): Promise<ProviderResponse>
  close(): Promise<void>
}

/** 100 IDs answer in about 10 kB; a page of 7,500 transactions in about 4 MB. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024

export function createProviderHttp({ baseUrl, timeoutMs, connections }: ProviderHttpOptions): ProviderHttp {
  const base = new URL(baseUrl)
  const pool = new Pool(base.origin, { connections, connectTimeout: timeoutMs, pipelining: 1 })
  const prefix = base.pathname.replace(/\/$/, '')

  async function send(
    request: Omit<Dispatcher.RequestOptions, 'signal'>,
    signal: AbortSignal,
  ): Promise<ProviderResponse> {
    try {
      return await withDeadline(timeoutMs, signal, async (deadline) => {
        const response = await pool.request({ ...request, path: prefix + request.path, signal: deadline })
        const error = errorOfStatus(response.statusCode, response.headers)
        if (error) {
          // Read to its end for the sake of the connection; a body that breaks off takes nothing from the status.
          await response.body.dump().catch(() => {})
          throw error
        }
        const text = await readCapped(response.body)
        return { status: response.statusCode, headers: response.headers, text }
      })
    } catch (error) {
      if (error instanceof ProviderError || signal.aborted) throw error
      throw new ProviderError('transient', `the provider did not answer: ${reasonOf(error, timeoutMs)}`, {
        // An HTTPParserError carries what the provider sent, which may repeat message IDs and credentials.
        cause: error instanceof errors.HTTPParserError ? undefined : error,
      })
    }
  }

  return {
    get: (path, headers, signal) => send({ method: 'GET', path, headers }, signal),
    post(path, headers, body, signal) {
      const json = { ...headers, 'content-type': 'application/json' }
      return send({ method: 'POST', path, headers: json, body: JSON.stringify(body) }, signal)
    },
    close: () => pool.close(),
  }
}

async function readCapped(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > MAX_RESPONSE_BYTES) {
      throw new ProviderError('transient', `the provider's answer is larger than ${MAX_RESPONSE_BYTES} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function errorOfStatus(status: number, headers: ProviderResponse['headers']): ProviderError | undefined {
  if (status >= 200 && status < 300) return undefined
  const said = `the provider answered HTTP ${status}`
  if (status === 429) {
    const retryAfterMs = parseRetryAfter(headers['retry-after'], Date.now())
    return new ProviderError('throttled', said, retryAfterMs === undefined ? {} : { retryAfterMs })
  }
  if (status === 401 || status === 403) return new ProviderError('account', `${said}: the credentials are refused`)
  if (status === 404 || status === 410) return new ProviderError('gone', `${said}: the look-up does not exist there`)
  if (status >= 400 && status < 500 && status !== 408) return new ProviderError('request', said)
  return new ProviderError('transient', said)
}

/** Milliseconds to wait, of a `Retry-After` in seconds or as an HTTP date; undefined when it is neither. */
export function parseRetryAfter(header: string | string[] | undefined, now: number): number | undefined {
  const value = (Array.isArray(header) ? header[0] : header)?.trim()
  if (!value) return undefined
  const ms = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(ms) ? undefined : Math.max(ms, 0)
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (isTimeout(error)) return `no answer within ${timeoutMs} ms`
  return 'code' in error && typeof error.code === 'string' ? `${error.code}` : error.name
}
