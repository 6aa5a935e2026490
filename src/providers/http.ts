/**
 * Requests to a provider: one undici agent per account, with time-outs and a cap on the size of an answer. Answers that
 * are not a success become a ProviderError that says what to do about it.
 *
 * Error messages name the status and the cause, never the URL or a header: they hold message IDs and credentials.
 */

import { type Dispatcher, errors } from 'undici'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError, ProviderError, type ProviderResponse } from '../core/errors.ts'
import { kindOfStatus, type ProviderErrorKind } from '../core/provider-failure.ts'
import { readRetryAfter } from '../core/retry-after.ts'
import { isTimeout, withDeadline } from '../deadline.ts'
import { createAgent, type ProxySettings } from '../proxy.ts'
import { decodeText, inflateBody } from './body-text.ts'

export interface ProviderHttpOptions {
  baseUrl: string
  timeoutMs: number
  /** The most requests under way at once. */
  connections: number
  proxy?: ProxySettings | undefined
}

export interface ProviderHttp {
  /** GETs a path below the base URL. Resolves for 2xx only. */
  get(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<ProviderResponse>
  /** POSTs a JSON body to a path below the base URL. Resolves for 2xx only. */
  post(path: string, headers: Record<string, string>, body: unknown, signal: AbortSignal): Promise<ProviderResponse>
  /** DELETEs with a JSON body. Resolves for 2xx only. */
  delete(path: string, headers: Record<string, string>, body: unknown, signal: AbortSignal): Promise<ProviderResponse>
  close(): Promise<void>
}

/** 100 IDs answer in about 10 kB; a page of 7,500 transactions in about 4 MB. */
const MAX_RESPONSE_BYTES = 16 * 1024 * 1024
/** The longest body of an error that is read; more is a page for people. */
const MAX_ERROR_BYTES = 64 * 1024

export function createProviderHttp({ baseUrl, timeoutMs, connections, proxy = {} }: ProviderHttpOptions): ProviderHttp {
  const base = new URL(baseUrl)
  const agent = createAgent(proxy, { connections, connectTimeout: timeoutMs, pipelining: 1 })
  const prefix = base.pathname.replace(/\/$/, '')

  /** Follows redirects within the provider's host; to no other, because the request carries credentials. */
  async function follow(request: Dispatcher.RequestOptions, from = base, hops = 0): Promise<Dispatcher.ResponseData> {
    const response = await agent.request({ ...request, origin: from.origin })
    const target = isRedirect(response.statusCode, request.method)
      ? locationOf(response.headers, from.origin + request.path)
      : undefined
    if (!target) return response
    await response.body.dump().catch(() => {})
    const isSecured = from.protocol === 'http:' && target.protocol === 'https:' && target.host === from.host
    if (target.origin !== from.origin && !isSecured) {
      const place = target.origin + target.pathname
      throw new ProviderError('account', `the provider has moved to ${place}; set baseUrl accordingly`)
    }
    if (hops === MOST_HOPS) throw new ProviderError('account', 'the provider redirects without end; check baseUrl')
    return follow({ ...request, path: target.pathname + target.search }, target, hops + 1)
  }

  async function send(
    request: Omit<Dispatcher.RequestOptions, 'signal'>,
    signal: AbortSignal,
  ): Promise<ProviderResponse> {
    let hasAnswered = false
    try {
      return await withDeadline(timeoutMs, signal, async (deadline) => {
        const { statusCode, headers, body } = await follow({
          ...request,
          path: prefix + request.path,
          signal: deadline,
        })
        hasAnswered = true
        if (statusCode >= 200 && statusCode < 300) {
          return { status: statusCode, headers, text: await readText(body, headers, MAX_RESPONSE_BYTES) }
        }
        // A body that breaks off takes nothing from the status.
        const text = await readText(body, headers, MAX_ERROR_BYTES).catch(() => '')
        throw errorOf({ status: statusCode, headers, text })
      })
    } catch (error) {
      if (error instanceof ProviderError || signal.aborted) throw error
      const kind = hasAnswered ? 'transient' : 'unreachable'
      throw new ProviderError(kind, `the provider did not answer: ${reasonOf(error, timeoutMs)}`, {
        // An HTTPParserError carries what the provider sent, which may repeat message IDs and credentials.
        cause: error instanceof errors.HTTPParserError ? undefined : error,
      })
    }
  }

  return {
    get: (path, headers, signal) => send({ method: 'GET', path, headers }, signal),
    post: (path, headers, body, signal) => send({ method: 'POST', path, ...json(headers, body) }, signal),
    delete: (path, headers, body, signal) => send({ method: 'DELETE', path, ...json(headers, body) }, signal),
    close: () => agent.close(),
  }
}

function json(headers: Record<string, string>, body: unknown) {
  return { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

/** The text of an answer, inflated where it was compressed, whether that was asked for or not. */
async function readText(
  body: Dispatcher.ResponseData['body'],
  headers: ProviderResponse['headers'],
  most: number,
): Promise<string> {
  const [encoding = '', type = ''] = ['content-encoding', 'content-type'].map((name) => String(headers[name] ?? ''))
  try {
    return decodeText(await inflateBody(await readCapped(body, most), encoding, most), type)
  } catch (error) {
    if (!(error instanceof LastwordError)) throw error
    throw tooLarge(most)
  }
}

async function readCapped(body: Dispatcher.ResponseData['body'], most: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > most) throw tooLarge(most)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(most: number): ProviderError {
  return new ProviderError('transient', `the provider's answer is larger than ${most} bytes`)
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 307, 308])
const SEE_OTHER = 303
const MOST_HOPS = 5

function isRedirect(status: number, method: string): boolean {
  return REDIRECTS.has(status) || (status === SEE_OTHER && method === 'GET')
}

function locationOf(headers: ProviderResponse['headers'], from: string): URL | undefined {
  const location = [headers.location ?? []].flat()[0]
  return location !== undefined && URL.canParse(location, from) ? new URL(location, from) : undefined
}

function errorOf(response: ProviderResponse): ProviderError {
  const { status, headers } = response
  const said = readRetryAfter(headers, Date.now())
  const kind = kindOfStatus(status, said)
  const meaning = MEANT[kind] ?? ''
  const retryAfterMs = kind === 'throttled' ? said : undefined
  return new ProviderError(kind, `the provider answered HTTP ${status}${meaning}`, { retryAfterMs, response })
}

const MEANT: Partial<Record<ProviderErrorKind, string>> = {
  account: ': the credentials are refused',
  gone: ': the look-up does not exist there',
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (isTimeout(error)) return `no answer within ${timeoutMs} ms`
  return errorCodeOf(error) ?? error.name
}
