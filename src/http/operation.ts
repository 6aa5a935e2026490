/** What the description of a route says: see operations.ts for all of them. */
import type { z } from 'zod'
import type * as examples from './examples.ts'

export const TAGS = {
  Messages: 'Track what the provider accepted, and look at what became of it.',
  Changes: 'Be told of every change of a status, in order.',
  Accounts: 'How the accounts are doing at their providers.',
  Webhooks: 'Where providers deliver their receipts.',
  Operation: 'Liveness, readiness, metrics, and this description. Bull Board is at `/queues`.',
} as const

interface Parameter {
  in: 'path' | 'query'
  name: string
  schema: z.ZodType
  required: boolean
  description: string
}

export interface Answer {
  description: string
  /** The schema of a JSON answer, or the content type of another one; undefined for an answer without a body. */
  content?: z.ZodType | string
  example?: unknown
}

export interface Operation {
  id: string
  method: 'get' | 'post' | 'delete'
  path: string
  tag: keyof typeof TAGS
  summary: string
  description?: string
  /** Answers without an API key. */
  isPublic?: true
  parameters?: Parameter[]
  /** The schema of a JSON body, or the content type of another one. */
  body?: { description: string; content: z.ZodType | string; example?: unknown }
  answers: Record<number, Answer>
  /** The problems it answers with beside those of every route. */
  problems?: (keyof typeof examples.problems)[]
}

/** The parameters of a schema, each with a description; one without does not compile. */
export function parametersOf<S extends z.ZodRawShape>(
  place: Parameter['in'],
  { shape }: z.ZodObject<S>,
  descriptions: Record<keyof S, string>,
): Parameter[] {
  return Object.entries(shape).map(([name, schema]) => ({
    in: place,
    name,
    schema: schema as z.ZodType,
    required: !(schema as z.ZodType).safeParse(undefined).success,
    description: descriptions[name] ?? '',
  }))
}
