/**
 * The needs of tests of the tables and of HTTP: a migrated database of their own, or the API on one, in this process
 * and without workers. `close` leaves nothing behind.
 */
import { expect } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { type Database, openDatabase } from '../../src/db/connection.ts'
import { start } from '../../src/runtime.ts'
import { createDatabase } from './services.ts'

export interface Tables extends Database {
  url: string
}

/** A database with all migrations applied. */
export async function openTables(): Promise<Tables> {
  const { url, drop } = await createDatabase()
  const database = await openDatabase(url)
  return {
    url,
    ...database,
    async close() {
      await database.close()
      await drop()
    },
  }
}

export interface Answer {
  status: number
  headers: Headers
  /** The content type, without its parameters. */
  type: string
  /** The parsed JSON, or the text where it is none. */
  body: unknown
}

export interface Api {
  /** Where it listens, without a slash at the end. */
  url: string
  /** A look into its database, past the API. */
  db: Database['db']
  databaseUrl: string
  get(path: string, init?: RequestInit): Promise<Answer>
  /** Sends JSON; a string or bytes as they are, still called JSON unless `init` says otherwise. */
  post(path: string, body?: unknown, init?: RequestInit): Promise<Answer>
  close(): Promise<void>
}

/** The accounts that `startApi` configures by default. */
const ACCOUNTS = JSON.stringify([{ name: 'seven', provider: 'seven', apiKey: 'seven-api-key' }])

/**
 * The API, its queues in the database, configured by environment variables over these defaults: one account "seven"
 * with neither token nor signing key, no API keys, any free port.
 */
export async function startApi(environment: Readonly<Record<string, string>> = {}): Promise<Api> {
  const { url: databaseUrl, drop } = await createDatabase()
  try {
    const defaults = { PORT: '0', LOG_LEVEL: 'silent', ACCOUNTS, DATABASE_URL: databaseUrl }
    const runtime = await start(readConfig(environment, defaults), { api: true, workers: false })
    const database = await openDatabase(databaseUrl, { maxConnections: 2 })
    const url = `http://127.0.0.1:${new URL(runtime.url ?? '').port}`
    return {
      url,
      db: database.db,
      databaseUrl,
      get: (path, init) => ask(url + path, init),
      post: (path, body, init) => ask(url + path, withBody(body, init)),
      async close() {
        await runtime.close()
        await database.close()
        await drop()
      },
    }
  } catch (error) {
    await drop()
    throw error
  }
}

function withBody(body: unknown, init: RequestInit = {}): RequestInit {
  if (body === undefined) return { method: 'POST', ...init }
  const text = typeof body === 'string' ? body : body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body)
  return { method: 'POST', ...init, body: text, headers: { 'content-type': 'application/json', ...init.headers } }
}

async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  const [type = ''] = response.headers.get('content-type')?.split(';') ?? []
  const body = type.endsWith('json') && text ? JSON.parse(text) : text
  return { status: response.status, headers: response.headers, type, body }
}

/** Expects a problem document (RFC 9457) and nothing more than these members. */
export function expectProblem(answer: Answer, problem: { status: number } & Record<string, unknown>): void {
  expect(answer.body).toEqual({ type: 'about:blank', ...problem })
  expect(answer.status).toBe(problem.status)
  expect(answer.type).toBe('application/problem+json')
}

/** A time as the API writes it. */
export const anyTime: unknown = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
