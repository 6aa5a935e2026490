/** The environment as the configuration reads it, with secrets from files, and the one form of its errors. */

import { readFileSync } from 'node:fs'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** CONFIG_INVALID for a variable, or for a place within one. */
export function invalid(variable: string, found: string, expected: string, cause?: unknown): LastwordError {
  return new LastwordError('CONFIG_INVALID', `${variable}: found ${found}, expected ${expected}.`, { cause })
}

/**
 * The environment, in which each of these variables that is given as the path of a file, by NAME_FILE, has the text of
 * that file. Throws CONFIG_INVALID where both are given, and for a file that is empty or cannot be read.
 */
export function withFiles(env: Environment, variables: readonly string[]): Environment {
  const read = variables.flatMap((variable) => {
    const path = env[`${variable}_FILE`]
    if (path === undefined) return []
    if (env[variable] === undefined) return [[variable, readTextOf(`${variable}_FILE`, path)]]
    throw invalid(`${variable}_FILE`, `both ${variable} and ${variable}_FILE`, 'one of them')
  })
  return { ...env, ...Object.fromEntries(read) }
}

/** The text of a file, without the line end that editors add. `where` names the place that holds the path. */
export function readTextOf(where: string, path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trimEnd()
  } catch (error) {
    const code = errorCodeOf(error) ?? 'an error'
    throw invalid(where, `${code} when reading "${path}"`, 'the path of a readable file', error)
  }
  if (text === '') throw invalid(where, `nothing in "${path}"`, 'a file with the value')
  return text
}
