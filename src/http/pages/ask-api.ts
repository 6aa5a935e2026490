/**
 * The pages are a client of the API within the process: a page shows answers of the API, and a form is a request to it. So
 * both have the same keys, checks, records and sentences, and nothing can be seen or done here that programs cannot.
 */
import type { FastifyRequest, InjectOptions } from 'fastify'
import type { Problem } from './frame.tsx'

export type Answered<T> = { ok: true; status: number; body: T } | { ok: false; problem: Problem; body: unknown }

type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface ApiRequest {
  method?: 'GET' | 'POST' | 'DELETE'
  path: string
  query?: Query
  body?: object
}

/** The headers by which a request is let in. */
const PASSED_ON = ['authorization', 'host', 'origin', 'sec-fetch-site', 'cookie'] as const

/** Asks the API on behalf of a request. */
export async function askApi<T>(request: FastifyRequest, asked: ApiRequest): Promise<Answered<T>> {
  const { method = 'GET', path, query = {}, body } = asked
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]))
  const headers = PASSED_ON.flatMap((name) => {
    const value = request.headers[name]
    return value === undefined ? [] : [[name, String(value)]]
  })
  const injected: InjectOptions = {
    method,
    url: given.length > 0 ? `${path}?${new URLSearchParams(given)}` : path,
    headers: Object.fromEntries(headers),
    remoteAddress: request.ip,
    ...(body === undefined ? {} : { payload: body }),
  }
  const answer = await request.server.inject(injected)
  const isJson = String(answer.headers['content-type']).includes('json')
  const read: unknown = isJson && answer.body ? JSON.parse(answer.body) : undefined
  if (answer.statusCode < 300) return { ok: true, status: answer.statusCode, body: read as T }
  return { ok: false, problem: problemOf(answer.statusCode, read), body: read }
}

interface ProblemDocument extends Problem {
  /** All mistakes; the detail tells the first. */
  errors: { path: string; message: string }[]
}

function problemOf(status: number, body: unknown): Problem {
  const {
    title = 'Failed',
    detail = `The answer is HTTP ${status}.`,
    errors = [],
  } = (body ?? {}) as Partial<ProblemDocument>
  const further = errors.slice(1).map(({ path, message }) => ` ${path}: ${message}.`)
  return { status, title, detail: detail + further.join('') }
}

/** An answer that a page cannot do without. Throws the problem instead. */
export async function needApi<T>(request: FastifyRequest, asked: ApiRequest): Promise<T> {
  const answer = await askApi<T>(request, asked)
  if (answer.ok) return answer.body
  throw new PageProblem(answer.problem)
}

/** A problem that is all there is to show. */
export class PageProblem extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail)
    this.problem = problem
  }
}
