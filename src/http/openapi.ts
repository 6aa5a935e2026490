/**
 * The OpenAPI 3.1 document, generated from the schemas that validate and from those of the answers.
 */
import { z } from 'zod'
import { trackingOrderSchema } from '../tracking-order.ts'
import * as answers from './answers.ts'
import { problems } from './examples.ts'
import { type Answer, type Operation, TAGS } from './operation.ts'
import { operations } from './operations.ts'

export type Schema = z.core.JSONSchema.BaseSchema

export interface MediaType {
  schema?: Schema
  examples?: Record<string, { summary: string; value: unknown }>
  example?: unknown
}

export interface OpenApiResponse {
  description: string
  headers?: Record<string, { description: string; schema: Schema }>
  content?: Record<string, MediaType>
}

export interface OpenApiOperation {
  operationId: string
  tags: string[]
  summary: string
  description?: string
  security?: Record<string, string[]>[]
  parameters?: { in: string; name: string; required: boolean; description: string; schema: Schema }[]
  requestBody?: { description: string; required: true; content: Record<string, MediaType> }
  responses: Record<string, OpenApiResponse>
}

export interface OpenApi {
  openapi: string
  info: { title: string; version: string; summary: string; description: string; license: Record<string, string> }
  tags: { name: string; description: string }[]
  security?: Record<string, string[]>[]
  paths: Record<string, Record<string, OpenApiOperation>>
  components: {
    schemas: Record<string, Schema>
    securitySchemes?: Record<string, { type: string; scheme: string; description: string }>
  }
}

/** The document; only a service with API keys has security schemes. */
export function createOpenApi({ hasApiKeys }: { hasApiKeys: boolean }): OpenApi {
  const paths: OpenApi['paths'] = {}
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describeOperation(operation, hasApiKeys) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lastword',
      version: '1',
      summary: 'Every SMS gets its final status.',
      description:
        'Hand over the message IDs your provider gave you, and Lastword finds out what became of each message: it listens to the provider’s delivery webhooks, and asks about every message whose webhook does not come.\n\nBodies and answers are JSON. Errors are problem documents (RFC 9457) of the type `application/problem+json`; their `code` is for programs, their `detail` for people.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    ...(hasApiKeys ? { security: [{ bearer: [] }, { basic: [] }] } : {}),
    paths,
    components: { schemas: componentSchemas(), ...(hasApiKeys ? { securitySchemes: SECURITY_SCHEMES } : {}) },
  }
}

const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An API key: `Authorization: Bearer …`.' },
  basic: { type: 'http', scheme: 'basic', description: 'Any user name, and an API key as the password.' },
}

const newMessageSchema = trackingOrderSchema.shape.messages.element

/** The schemas that have a name in the document. */
const COMPONENTS: Record<string, z.ZodType> = {
  TrackingOrder: trackingOrderSchema,
  NewMessage: newMessageSchema,
  Tracked: answers.trackedSchema,
  Status: answers.statusSchema,
  Message: answers.messageSchema,
  PolledMessage: answers.polledMessageSchema,
  MessageDetails: answers.messageDetailsSchema,
  Report: answers.reportSchema,
  MessagePage: answers.messagePageSchema,
  Change: answers.changeSchema,
  ChangePage: answers.changePageSchema,
  Account: answers.accountSchema,
  AccountList: answers.accountListSchema,
  WebhookAnswer: answers.webhookAnswerSchema,
  Liveness: answers.livenessSchema,
  Readiness: answers.readinessSchema,
  Problem: answers.problemSchema,
}
const names = new Map(Object.entries(COMPONENTS).map(([name, schema]) => [schema, name]))

/** What the fields of a tracking order mean. */
const ORDER_FIELDS: Record<string, string> = {
  account: 'The name of the account the messages were sent with.',
  messages: 'The messages; one that stands here twice counts once.',
  partial: 'Tracks the messages that can be tracked, and answers with the others, instead of all or none.',
  messageId: 'The provider’s ID of the message; at CM.com, your `reference`. A number is taken as its digits.',
  sentAt:
    'When the message is sent; now, if absent. At most a year ahead, and within the look-up window. Nothing is asked before.',
  recipient: 'The phone number, with its country code. Needed where one reference goes to several recipients.',
  metadata:
    'Whatever your app wants to find again with the message. No NUL characters; whole numbers of more than 15 digits as text.',
  callbackUrl: 'Where the changes of this message are sent, instead of the account’s callback URL.',
}

function componentSchemas(): Record<string, Schema> {
  const registry = z.registry<{ id: string }>()
  for (const [schema, id] of names) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, { io: 'input', uri: refTo, override: simplify })
  for (const schema of [schemas.TrackingOrder, schemas.NewMessage]) {
    for (const [name, property] of Object.entries(schema?.properties ?? {})) {
      if (typeof property === 'object') property.description = ORDER_FIELDS[name] ?? ''
    }
  }
  // The schemas without a name are those of JSON itself, which `simplify` has replaced.
  return Object.fromEntries(Object.keys(COMPONENTS).map((name) => [name, withoutIdentity(schemas[name])]))
}

function refTo(name: string): string {
  return `#/components/schemas/${name}`
}

/** JSON Schema as people write it: any JSON is `true`, and a time needs no pattern beside its format. */
function simplify({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodType; jsonSchema: Schema }): void {
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
  if (zodSchema._zod.def.type !== 'record') return
  delete jsonSchema.propertyNames
  jsonSchema.additionalProperties = true
}

function withoutIdentity(schema: Schema | undefined): Schema {
  const { $schema, $id, ...rest } = schema ?? {}
  return rest
}

function schemaOf(schema: z.ZodType): Schema {
  const name = names.get(schema)
  if (name) return { $ref: refTo(name) }
  return withoutIdentity(z.toJSONSchema(schema, { io: 'input', override: simplify }))
}

function describeOperation(operation: Operation, hasApiKeys: boolean): OpenApiOperation {
  const { id, tag, summary, description, isPublic, parameters, body } = operation
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description ? { description } : {}),
    ...(isPublic && hasApiKeys ? { security: [] } : {}),
    ...(parameters ? { parameters: parameters.map((one) => ({ ...one, schema: schemaOf(one.schema) })) } : {}),
    ...(body
      ? { requestBody: { description: body.description, required: true, content: mediaType(body.content, body) } }
      : {}),
    responses: {
      ...describeAnswers(operation.answers),
      ...describeProblems(operation, hasApiKeys),
      default: {
        description: 'Any other problem.',
        content: { [PROBLEM]: { schema: schemaOf(answers.problemSchema) } },
      },
    },
  }
}

function describeAnswers(answers: Operation['answers']): Record<string, OpenApiResponse> {
  return Object.fromEntries(
    Object.entries(answers).map(([status, { description, content, example }]) => [
      status,
      content === undefined ? { description } : { description, content: mediaType(content, { example }) },
    ]),
  )
}

function mediaType(
  content: NonNullable<Answer['content']>,
  { example }: { example?: unknown },
): Record<string, MediaType> {
  if (typeof content === 'string') return { [content]: {} }
  return { 'application/json': { schema: schemaOf(content), ...(example === undefined ? {} : { example }) } }
}

const PROBLEM = 'application/problem+json'

/** The problems of a route by status; those of one status are examples of one answer. */
function describeProblems(operation: Operation, hasApiKeys: boolean): Record<string, OpenApiResponse> {
  const asksDatabase = operation.tag !== 'Operation'
  const kinds = [
    ...(operation.problems ?? []),
    ...(hasApiKeys && !operation.isPublic ? (['noKey'] as const) : []),
    ...(asksDatabase ? (['unavailable'] as const) : []),
  ]
  const responses: Record<string, OpenApiResponse> = {}
  for (const kind of kinds) {
    const { when, example } = problems[kind]
    const known = responses[example.status]
    const others = known?.content?.[PROBLEM]?.examples
    responses[example.status] = {
      description: known ? `${known.description} ${when}` : when,
      ...(example.status === 503 ? { headers: RETRY_AFTER } : {}),
      ...(example.status === 401 && kind === 'noKey' ? { headers: AUTHENTICATE } : {}),
      content: {
        [PROBLEM]: {
          schema: schemaOf(answers.problemSchema),
          examples: { ...others, [kind]: { summary: when, value: example } },
        },
      },
    }
  }
  return responses
}

const RETRY_AFTER = {
  'Retry-After': { description: 'Seconds after which to try again.', schema: { type: 'integer' as const } },
}
const AUTHENTICATE = {
  'WWW-Authenticate': { description: 'How to present an API key.', schema: { type: 'string' as const } },
}
