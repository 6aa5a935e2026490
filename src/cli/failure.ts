/** How a command that fails ends: with one sentence for the operator, and an exit code. */
import { CommanderError } from 'commander'
import { type ErrorCode, LastwordError } from '../core/errors.ts'
import { describeRecipients } from './messages.ts'

const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: 2,
  INPUT_INVALID: 2,
  UNAUTHORIZED: 2,
  FORBIDDEN: 2,
  AMBIGUOUS: 2,
  NOT_FOUND: 3,
}

/** Tells on standard error what is for the operator, and returns the exit code; throws any other error again. */
export function tellFailure(error: unknown): number {
  // Commander has told already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (!(error instanceof LastwordError)) throw error
  console.error(`lastword: ${error.message}`)
  if (error.code === 'AMBIGUOUS') console.error(describeRecipients(error.extra?.recipients))
  return EXIT_CODES[error.code] ?? 1
}
