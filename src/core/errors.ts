/**
 * Every error Lastword raises on purpose, in one list: a code, the HTTP status it becomes, and whether trying again can
 * help. Messages say what was expected, what was found and what to do, and never hold a secret or a phone number.
 */
import type { ProviderErrorKind } from './provider-failure.ts'

const CODES = {
  /** The environment or the accounts file is wrong: the process does not start. */
  CONFIG_INVALID: { status: 500, title: 'Invalid configuration', retryable: false },
  /** The database, the queue or the embedded server cannot be reached or started. */
  UNAVAILABLE: { status: 503, title: 'Temporarily unavailable', retryable: true },
  /** The database or the queue answers and can never serve: waiting does not help. */
  UNUSABLE: { status: 503, title: 'Cannot be used', retryable: false },
  INPUT_INVALID: { status: 400, title: 'Invalid request', retryable: false },
  UNAUTHORIZED: { status: 401, title: 'Unauthorized', retryable: false },
  FORBIDDEN: { status: 403, title: 'Forbidden', retryable: false },
  TOO_LARGE: { status: 413, title: 'Too large', retryable: false },
  NOT_FOUND: { status: 404, title: 'Not found', retryable: false },
  /** The thing asked for existed, and has been deleted for its age. */
  GONE: { status: 410, title: 'Gone', retryable: false },
  AMBIGUOUS: { status: 409, title: 'Several recipients', retryable: false },
  CONFLICT: { status: 409, title: 'Conflict', retryable: false },
  /** A job of a version this worker does not know, or that is not what its version says. */
  JOB_REFUSED: { status: 400, title: 'Job refused', retryable: false },
} as const

export type ErrorCode = keyof typeof CODES

/** One thing that is wrong with an input: where, and what was expected there. */
export interface Issue {
  path: string
  message: string
}

/** The path of a value within another, as in `messages[1].sentAt`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index ? '.' : ''}${String(key)}`)).join('')
}

export interface LastwordErrorOptions {
  cause?: unknown
  issues?: Issue[]
  /** Further members of the problem document. */
  extra?: Record<string, unknown>
}

/** An app may hold this class more than once: by `import` and `require`, and from `lastword` and `lastword-client`. */
const BRAND = Symbol.for('lastword.LastwordError')

export class LastwordError extends Error {
  static {
    Object.defineProperty(LastwordError.prototype, BRAND, { value: true })
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    const isError = typeof value === 'object' && value !== null && BRAND in value
    // biome-ignore lint/complexity/noThisInStatic: `this` may be a subclass, whose instances are told as ever
    return this === LastwordError ? isError : super[Symbol.hasInstance](value)
  }

  override readonly name = 'LastwordError'
  readonly code: ErrorCode
  readonly issues: Issue[] | undefined
  readonly extra: Record<string, unknown> | undefined

  constructor(code: ErrorCode, message: string, { cause, issues, extra }: LastwordErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.issues = issues
    this.extra = extra
  }

  get status(): number {
    return CODES[this.code].status
  }

  get title(): string {
    return CODES[this.code].title
  }

  get retryable(): boolean {
    return CODES[this.code].retryable
  }
}

/** An answer of a provider, with the names of its headers in lower case. */
export interface ProviderResponse {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

export interface ProviderErrorOptions {
  retryAfterMs?: number | undefined
  /** The answer that was no success, for the provider's module to read: it may name message IDs. */
  response?: ProviderResponse | undefined
  cause?: unknown
}

/** Why a status query brought no answer; provider-failure.ts says what follows from its kind. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
  readonly kind: ProviderErrorKind
  readonly retryAfterMs: number | undefined
  readonly #response: ProviderResponse | undefined

  constructor(kind: ProviderErrorKind, message: string, { retryAfterMs, response, cause }: ProviderErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.kind = kind
    this.retryAfterMs = retryAfterMs
    this.#response = response
  }

  /** Not a field, so that no log prints it. */
  get response(): ProviderResponse | undefined {
    return this.#response
  }
}
