/** Mistakes in the URLs of servers. */
import type { LastwordError } from '../core/errors.ts'

/** Makes the error, which names the variable that the URL stands in. */
export type Invalid = (found: string, expected: string, cause?: unknown) => LastwordError

/** A key with an `@` is a part of the password, which has a question mark. */
export function unknownParameter(key: string, invalid: Invalid): LastwordError {
  if (key.includes('@')) return invalid('a question mark before the @', 'a password that has %3F in its place')
  return invalid(`the unknown parameter "${key}"`, 'a URL without it')
}
