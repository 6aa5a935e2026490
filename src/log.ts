/** The log: pino, one JSON object a line, with what must never be logged taken out by an option, not by habit. */

import { DrizzleQueryError } from 'drizzle-orm'
import { type DestinationStream, type Logger, type LoggerOptions, pino, stdSerializers } from 'pino'
import { errorCodeOf } from './core/error-code.ts'
import { LastwordError } from './core/errors.ts'

export type Log = Logger

/** Fields that hold a secret or a phone number, beside the secrets of accounts. */
const SECRET_FIELDS = ['authorization', 'recipient']

export interface LogOptions {
  level: string
  /** The fields in which accounts hold secrets, by their names. */
  secretFields: readonly string[]
  /** Where the lines go; the standard output by default. */
  destination?: DestinationStream
}

export function createLog({ level, secretFields, destination }: LogOptions): Log {
  const fields = [...SECRET_FIELDS, ...secretFields]
  const options: LoggerOptions = {
    level,
    base: { pid: process.pid },
    redact: { paths: fields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: '[redacted]' },
    serializers: { err: serializeError, account: nameOfAccount },
    hooks: { streamWrite: withoutControls },
  }
  return destination ? pino(options, destination) : pino(options)
}

/** JSON escapes all control characters but these, and terminals take orders by some of them. */
function withoutControls(line: string): string {
  return line.replace(/[\x7f-\x9f]/g, '?')
}

/** An account is logged by its name alone, so that a field nobody has thought of stays out of the log. */
function nameOfAccount(account: unknown): unknown {
  return typeof account === 'object' && account !== null && 'name' in account ? account.name : account
}

/**
 * A failed query's own message holds its parameters, so only its cause is logged. The stack is for those who look for a
 * fault in the program; an error that a server or the operator is at fault for says all in its sentence.
 */
function serializeError(error: unknown): unknown {
  if (error instanceof DrizzleQueryError) return serializeError(error.cause)
  if (!(error instanceof Error)) return error
  const { type, message, stack, code } = stdSerializers.err(error)
  return isOfServers(error) ? { type, message, code } : { type, message, code, stack }
}

/** Errors that Redis answers with, time-outs of its commands, and those that have a code: of Postgres and of the network. */
function isOfServers(error: Error): boolean {
  if (error instanceof LastwordError) return true
  // Node's own codes (ERR_…) are of faults in the program.
  const code = errorCodeOf(error)
  if (code !== undefined) return !code.startsWith('ERR_')
  return /^[A-Z]+ /.test(error.message) || /^(Command timed out|Connection is closed)/.test(error.message)
}

/** Logs a repeated complaint once a minute: an outage of the queue makes every connection complain at every attempt. */
export function createComplaint(log: Log, subject: string): (error: Error) => void {
  const quietUntil = new Map<string, number>()
  return (given) => {
    // The text of a failed query holds its parameters.
    const error = given instanceof DrizzleQueryError && given.cause instanceof Error ? given.cause : given
    const now = Date.now()
    if ((quietUntil.get(error.message) ?? 0) > now) return
    if (quietUntil.size > 100) quietUntil.clear()
    quietUntil.set(error.message, now + 60_000)
    log.warn({ err: error }, `${subject}: ${error.message || error.name}`)
  }
}
