/**
 * Answers of seven.io's interfaces, and the many shapes of its errors.
 *
 * Source: https://docs.seven.io/en/rest-api/response-codes. Errors often come with HTTP 200, as a bare number, a quoted
 * number, or an object with `code` or `error_code`.
 */
import type { z } from 'zod'
import { ProviderError } from '../../core/errors.ts'
import { readRetryAfter } from '../../core/retry-after.ts'
import type { ProviderHttp } from '../http.ts'
import { readJson } from '../json-text.ts'
import { type SevenAccount, sevenHeaders } from './account.ts'

/** Codes that say more than "it did not work". */
const ERROR_CODES: ReadonlyMap<string, readonly ['account' | 'request' | 'throttled' | 'gone', string]> = new Map([
  ['300', ['account', 'the API key is missing']],
  ['403', ['throttled', 'the limit of the account is reached']],
  ['404', ['gone', 'the look-up does not exist there']],
  ['410', ['gone', 'the look-up does not exist there']],
  ['429', ['throttled', 'too many requests']],
  ['600', ['request', 'carrier or sending error, or an unknown message ID']],
  ['900', ['account', 'the API key is wrong']],
  ['901', ['request', 'a message ID is wrong']],
  ['902', ['account', 'the API key lacks the right to use this interface']],
  ['903', ['account', 'the IP address is not allowed']],
])

/** GETs a text. A known code in the body of an error says more than the error's HTTP status, and counts instead. */
export async function getText(
  http: ProviderHttp,
  account: SevenAccount,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    const { text, headers } = await http.get(path, sevenHeaders(account), signal)
    throwIfAskedToWait(text, readRetryAfter(headers, Date.now()))
    return text
  } catch (error) {
    if (error instanceof ProviderError && error.response && error.retryAfterMs === undefined) {
      const json = readJson(error.response.text)
      const code = json.ok ? readCode(json.value) : undefined
      if (code !== undefined && ERROR_CODES.has(code)) throwCode(code)
    }
    throw error
  }
}

/** A success, too, may hold the code of a limit, with a header that says how long it lasts. */
function throwIfAskedToWait(text: string, retryAfterMs: number | undefined): void {
  if (retryAfterMs === undefined) return
  const json = readJson(text)
  const code = json.ok ? readCode(json.value) : undefined
  if (code !== undefined && ERROR_CODES.get(code)?.[0] === 'throttled') throwCode(code, retryAfterMs)
}

/** Reads an answer that ought to be JSON, and throws the error it stands for. */
export function parseAnswer(text: string): unknown {
  const answer = parseJson(text)
  throwIfErrorCode(answer)
  return answer
}

export function parseJson(text: string): unknown {
  const json = readJson(text)
  if (json.ok) return json.value
  const found = text.trim() === '' ? 'an empty body' : `${text.length} characters that are not JSON`
  throw new ProviderError('transient', `the provider sent ${found}`)
}

export function throwIfErrorCode(answer: unknown): void {
  const code = readCode(answer)
  if (code !== undefined) throwCode(code)
}

function throwCode(code: string, retryAfterMs?: number): never {
  const [kind, meaning] = ERROR_CODES.get(code) ?? (['transient', 'an error without a known meaning'] as const)
  throw new ProviderError(kind, `the provider answered with code ${code.slice(0, 20)}: ${meaning}`, { retryAfterMs })
}

function readCode(answer: unknown): string | undefined {
  const value = isObject(answer) ? codeOf(answer) : answer
  return typeof value === 'string' || typeof value === 'number' ? String(value).trim() : undefined
}

function codeOf(answer: object): unknown {
  return 'code' in answer ? answer.code : 'error_code' in answer ? answer.error_code : undefined
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * The rows of a list that can be read: one that cannot, or a null in its place, must not cost the others their reports.
 * `total` counts all of them. A list of which nothing can be read, or no list, is a broken answer.
 */
export function readRows<T>(answer: unknown, schema: z.ZodType<T>, shape: string): { rows: T[]; total: number } {
  if (Array.isArray(answer)) {
    const present = answer.filter((row) => row !== null)
    const rows = present.flatMap((row) => schema.safeParse(row).data ?? [])
    if (rows.length > 0 || present.length === 0) return { rows, total: answer.length }
  }
  throw new ProviderError('transient', `the provider sent an answer that is not a list of ${shape}`)
}
