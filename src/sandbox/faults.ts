/** The faults of an answer to a status query (or its kin), and their looks on the wire. */
import type { FastifyReply } from 'fastify'
import type { Agenda } from './agenda.ts'
import type { Knobs } from './knobs.ts'
import { pick, type Random } from './random.ts'

const FAULTS = ['rateLimited', 'serverErrors', 'httpError', 'timeouts', 'malformed', 'cutOff', 'errorCode'] as const
type Fault = (typeof FAULTS)[number]

/** An answer as it would be without the fault. */
export interface Answer {
  type: 'application/json' | 'text/plain'
  body: string
}

/** How requests of one kind were answered. */
export interface AnswerCounts {
  requests: number
  /** Requests that got the answer they asked for. */
  answered: number
  faults: Record<Fault, number>
}

export function createAnswerCounts(): AnswerCounts {
  const faults = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>
  return { requests: 0, answered: 0, faults }
}

/** Answers in its time, or with a fault; `onSent` is called when it is the answer itself. */
export type Responder = (
  reply: FastifyReply,
  counts: AnswerCounts,
  prepare: (now: number) => { answer: Answer; onSent: () => void },
) => Promise<unknown>

export interface ResponderOptions {
  knobs: () => Knobs
  random: Random
  agenda: Agenda
}

export function createResponder({ knobs, random, agenda }: ResponderOptions): Responder {
  let turned = knobs().httpError
  let used = 0

  /** Counts from when the knob was turned last. */
  const isOneMore = () => {
    const { httpError } = knobs()
    if (httpError !== turned) used = 0
    turned = httpError
    used += 1
    return httpError.times === null || used <= httpError.times
  }

  return async (reply, counts, prepare) => {
    const { latencyMs } = knobs()
    if (latencyMs > 0) await agenda.pause(latencyMs)
    const { answer, onSent } = prepare(Date.now())
    const fault = drawFault(random, knobs())
    if (fault && (fault !== 'httpError' || isOneMore())) {
      counts.faults[fault] += 1
      return replyWithFault(reply, { fault, answer, knobs: knobs(), random, agenda })
    }
    counts.answered += 1
    onSent()
    return reply.type(answer.type).send(answer.body)
  }
}

const SERVER_ERRORS = [500, 502, 503, 504] as const
/** Longer than any client waits, short enough not to pile up connections. */
const LONGEST_SILENCE_MS = 60_000

/** Draws at most one fault for a request. One number a request, so that turning a knob shifts nothing else. */
function drawFault(random: Random, knobs: Knobs): Fault | undefined {
  let left = random()
  return FAULTS.find((fault) => {
    const knob = knobs[fault]
    left -= typeof knob === 'number' ? knob : knob.share
    return left < 0
  })
}

interface FaultyAnswer {
  fault: Fault
  answer: Answer
  knobs: Knobs
  random: Random
  agenda: Agenda
}

function replyWithFault(reply: FastifyReply, { fault, answer, knobs, random, agenda }: FaultyAnswer): unknown {
  switch (fault) {
    case 'rateLimited':
      return reply.code(429).header('retry-after', retryAfter(knobs)).type('text/plain').send('Too Many Requests')
    case 'serverErrors': {
      const status = pick(SERVER_ERRORS, random)
      return reply.code(status).type('text/html').send(`<html><body><h1>${status}</h1></body></html>`)
    }
    case 'httpError': {
      const { status, retryAfter } = knobs.httpError
      if (retryAfter !== null) reply.header('retry-after', String(retryAfter))
      return reply
        .code(status)
        .type('application/json')
        .send(JSON.stringify({ error: `HTTP ${status}` }))
    }
    case 'timeouts':
      agenda.add(Date.now() + LONGEST_SILENCE_MS, () => reply.raw.destroy())
      return reply.hijack()
    case 'malformed':
      return reply.type(answer.type).send(firstHalf(answer.body))
    case 'cutOff':
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': answer.type, 'content-length': Buffer.byteLength(answer.body) })
      reply.raw.write(firstHalf(answer.body), () => reply.raw.destroy())
      return reply
    case 'errorCode':
      return reply.type('application/json').send(errorCodeBody(knobs.errorCode.code, knobs.errorCode.form))
  }
}

function firstHalf(body: string): string {
  return body.slice(0, Math.floor(body.length / 2))
}

/** An HTTP date has whole seconds: the second but one from now is 1 to 2 seconds away. */
function retryAfter({ rateLimited }: Knobs): string {
  if (rateLimited.retryAfter !== 'date') return String(rateLimited.retryAfter)
  return new Date(Math.floor(Date.now() / 1000) * 1000 + 2_000).toUTCString()
}

/** An error code in one of the forms that have been seen in a 200. */
export function errorCodeBody(code: number, form: Knobs['errorCode']['form']): string {
  if (form === 'number') return String(code)
  return JSON.stringify(form === 'string' ? String(code) : { [form]: String(code) })
}
