/** `lastword health`: whether the process of this configuration is ready. */

import { request } from 'undici'
import { errorCodeOf } from '../core/error-code.ts'

const ANSWER_WITHIN_MS = 5_000

/** Asks at the first of these URLs that answers, and prints what it says; false unless the process is ready. */
export async function checkHealth(urls: readonly string[], print: (line: string) => void): Promise<boolean> {
  const timeouts = { headersTimeout: ANSWER_WITHIN_MS, bodyTimeout: ANSWER_WITHIN_MS }
  const failures: string[] = []
  for (const url of urls) {
    try {
      const { statusCode, body } = await request(`${url}/health/ready`, timeouts)
      print(await body.text())
      return statusCode === 200
    } catch (error) {
      const code = errorCodeOf(error) ?? String(error)
      failures.push(`${url} does not answer (${code}).`)
    }
  }
  for (const failure of failures) print(failure)
  return false
}
