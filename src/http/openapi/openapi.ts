/**
 * The OpenAPI 3.1 document at /openapi.json, made of the `doc` that each route carries, and the page that shows it at
 * /docs. Schemas and words here only describe: requests are checked by the routes themselves.
 */
import { fastifySwagger } from '@fastify/swagger'
import { fastifySwaggerUi } from '@fastify/swagger-ui'
import type { FastifyInstance, FastifySchema } from 'fastify'
import { z } from 'zod'
import type { Grant } from '../../config/keys.ts'
import { namedSchemas } from '../../schema-names.ts'
import { readHomepage, readVersion } from '../../version.ts'
import { grantFor } from '../auth.ts'
import { PROBLEMS, problemSchema } from './problems.ts'
import { WEBHOOK_HEADERS, WEBHOOKS, type WebhookDoc } from './webhooks.ts'

const TAGS = {
  Messages: 'Track what the provider accepted, and look at what became of it.',
  Changes: 'Be told of every change of a status, in order.',
  Accounts: 'How the accounts are doing at their providers.',
  Webhooks: 'Where providers deliver their receipts.',
  Operation: 'Liveness, readiness, metrics, and this description. Bull Board is at `/queues`.',
}

/** The document's words about a route. The descriptions of parameters and answers are those of their schemas. */
export interface RouteDoc {
  operationId: string
  tag: keyof typeof TAGS
  summary: string
  description?: string
  /** Answers without a key. */
  isPublic?: true
  params?: z.ZodObject
  querystring?: z.ZodObject
  body?: z.ZodType
  /** The content type of a body that is not JSON. */
  consumes?: string
  /** Answers by status; one that is not JSON by its content type and a description, one without a body by that alone. */
  response: Record<number, z.ZodType | { type?: string; description: string }>
  /** The problems it answers with beside those of every route. */
  problems?: readonly (keyof typeof PROBLEMS)[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    doc?: RouteDoc
  }
}

export interface DocsOptions {
  hasKeys: boolean
  /** The path under which browsers reach the service. */
  prefix: string
}

const DOCS = '/docs'

/** Comes before the routes, to see each of them. */
export async function registerOpenApi(server: FastifyInstance, { hasKeys, prefix }: DocsOptions): Promise<void> {
  const schemas: Schemas = {}
  await server.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { ...INFO, version: readVersion() },
      externalDocs: { url: readHomepage(), description: 'How to set it up, operate it and upgrade it.' },
      ...(prefix ? { servers: [{ url: prefix }] } : {}),
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      ...(hasKeys
        ? { security: [{ bearer: [] }, { basic: [] }], components: { securitySchemes: SECURITY_SCHEMES } }
        : {}),
    },
    stripBasePath: false,
    hideUntagged: true,
    convertConstToEnum: false,
    transform({ url, route }) {
      const doc = url === DOCS ? DOCS_DOC : route.config?.doc
      const needed = grantFor([route.method].flat()[0] ?? 'GET', route.config?.needs)
      return { url, schema: doc ? toSchema(doc, hasKeys ? needed : undefined, schemas) : {} }
    },
    transformObject: (document) => {
      const { openapiObject } = document as { openapiObject: { components?: object } }
      const webhooks = Object.fromEntries(
        WEBHOOKS.map((doc) => [doc.name, { post: describeWebhook(doc, hasKeys, schemas) }]),
      )
      const named: Record<string, object> = schemas
      return { ...openapiObject, webhooks, components: { ...openapiObject.components, schemas: named } }
    },
  })
}

export async function registerDocs(server: FastifyInstance, { prefix }: DocsOptions): Promise<void> {
  server.get('/openapi.json', { config: { doc: OPENAPI_DOC } }, (_request, reply) => reply.send(server.swagger()))
  await server.register(fastifySwaggerUi, {
    routePrefix: DOCS,
    indexPrefix: prefix,
    theme: {
      title: 'Lastword: HTTP API',
      css: [{ filename: 'page.css', content: '.swagger-ui .response-col_links { display: none }' }],
      js: [{ filename: 'page.js', content: PAGE_SCRIPT }],
    },
    uiConfig: { layout: 'BaseLayout', docExpansion: 'list', defaultModelsExpandDepth: 1 },
  })
}

/** The page itself asks neither for the width of a phone nor whether the system is dark. */
const PAGE_SCRIPT = `
document.head.insertAdjacentHTML('beforeend', '<meta name="viewport" content="width=device-width, initial-scale=1">')
document.documentElement.classList.toggle('dark-mode', matchMedia('(prefers-color-scheme: dark)').matches)
`

const INFO = {
  title: 'Lastword',
  summary: 'Every SMS gets its final status.',
  description:
    'Hand over the message IDs your provider gave you, and Lastword finds out what became of each message: it listens to the provider’s delivery webhooks, and asks about every message whose webhook does not come.\n\nBodies and answers are JSON. Errors are problem documents (RFC 9457) of the type `application/problem+json`; their `code` is for programs, their `detail` for people.',
  license: { name: 'MIT', identifier: 'MIT' },
}

const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'A key: `Authorization: Bearer …`.' },
  basic: { type: 'http', scheme: 'basic', description: 'Any user name, and a key as the password.' },
} as const

const OPENAPI_DOC: RouteDoc = {
  operationId: 'getOpenApi',
  tag: 'Operation',
  summary: 'This description as an OpenAPI document',
  response: { 200: z.looseObject({}).describe('OpenAPI 3.1.') },
}

const DOCS_DOC: RouteDoc = {
  operationId: 'getDocs',
  tag: 'Operation',
  summary: 'This description as a page',
  response: { 200: { type: 'text/html', description: 'HTML, which loads what it needs from below this URL.' } },
}

type Schema = z.core.JSONSchema.BaseSchema
type Schemas = Record<string, Schema>

const COMPONENTS = '#/components/schemas/'

/** The problems of keys that grant too little. */
const REFUSALS = { change: ['keyMayOnlyLook'], look: ['keyMayOnlyMeasure'], metrics: [] } as const

/**
 * The route as @fastify/swagger reads it; `needed` is what a key must grant, where there are keys, and `schemas` takes the
 * schemas that have a name.
 */
function toSchema(doc: RouteDoc, needed: Grant | undefined, schemas: Schemas): FastifySchema {
  const { tag, isPublic, params, querystring, body, consumes, response, problems = [], ...words } = doc
  const kinds = [
    ...problems,
    ...(needed && !isPublic ? (['noKey', 'tooManyWrong', ...REFUSALS[needed]] as const) : []),
    ...(tag === 'Operation' ? [] : (['unavailable'] as const)),
  ]
  const answers = Object.entries(response).map(([status, answer]) => [status, describeAnswer(answer, schemas)])
  return {
    ...words,
    tags: [tag],
    ...(isPublic && needed ? { security: [] } : {}),
    ...(params ? { params: toJsonSchema(params, schemas) } : {}),
    ...(querystring ? { querystring: toJsonSchema(querystring, schemas) } : {}),
    ...(body ? { body: toJsonSchema(body, schemas) } : {}),
    ...(consumes ? { consumes: [consumes] } : {}),
    response: {
      ...Object.fromEntries(answers),
      ...describeProblems(kinds, schemas),
      default: { description: 'Any other problem.', content: problemContent({}, schemas) },
    },
  }
}

/** A request that Lastword sends, as an operation of its receiver. */
function describeWebhook({ name: _name, tag, body, ...words }: WebhookDoc, hasKeys: boolean, schemas: Schemas): object {
  const schema = toJsonSchema(body, schemas)
  return {
    ...words,
    tags: [tag],
    ...(hasKeys ? { security: [] } : {}),
    parameters: Object.entries(WEBHOOK_HEADERS).map(([header, description]) => ({
      in: 'header',
      name: header,
      required: true,
      description,
      schema: { type: 'string' },
    })),
    requestBody: {
      required: true,
      content: { 'application/json': { schema, example: exampleOf(schema, schemas) } },
    },
    responses: { 204: { description: 'Taken; any other 2xx means the same.' } },
  }
}

function describeAnswer(answer: RouteDoc['response'][number], schemas: Schemas): object {
  if (answer instanceof z.ZodType) {
    const schema = toJsonSchema(answer, schemas)
    const example = exampleOf(schema, schemas)
    return {
      description: answer.description,
      content: { 'application/json': { schema, ...(example ? { example } : {}) } },
    }
  }
  const { type, description } = answer
  // Here the type `null` says that there is no body.
  return type ? { description, content: { [type]: { schema: { type: 'string' } } } } : { description, type: 'null' }
}

/** The example of a schema, or that of its parts; what is optional stays out. */
function exampleOf(schema: Schema, schemas: Schemas): unknown {
  const { $ref, examples, const: only, enum: values, type, properties, required, items } = schema
  if (examples) return examples[0]
  if ($ref) return exampleOf(schemas[$ref.slice(COMPONENTS.length)] ?? {}, schemas)
  if (only !== undefined) return only
  if (values) return values[0]
  if (items) return [exampleOf(items as Schema, schemas)]
  if (type === 'boolean') return true
  const parts = Object.entries(properties ?? {}).filter(([name]) => required?.includes(name))
  if (parts.length === 0) return undefined
  return Object.fromEntries(parts.map(([name, part]) => [name, exampleOf(part as Schema, schemas)]))
}

/** Problems of one status are examples of one answer. */
function describeProblems(kinds: readonly (keyof typeof PROBLEMS)[], schemas: Schemas): object {
  const statuses = new Set(kinds.map((kind) => PROBLEMS[kind].example.status))
  const answers = [...statuses].map((status) => {
    const those = kinds.filter((kind) => PROBLEMS[kind].example.status === status)
    const examples = those.map((kind) => [kind, { summary: PROBLEMS[kind].when, value: PROBLEMS[kind].example }])
    const headers = those.map((kind) => HEADERS[kind]).find(Boolean)
    const description = those.map((kind) => PROBLEMS[kind].when).join(' ')
    const content = problemContent({ examples: Object.fromEntries(examples) }, schemas)
    return [status, { description, ...(headers ? { headers } : {}), content }]
  })
  return Object.fromEntries(answers)
}

function problemContent(examples: object, schemas: Schemas): object {
  return { 'application/problem+json': { schema: toJsonSchema(problemSchema, schemas), ...examples } }
}

const HEADERS: { [kind in keyof typeof PROBLEMS]?: object } = {
  unavailable: { 'Retry-After': { type: 'integer', description: 'Seconds after which to try again.' } },
  tooManyWrong: {
    'Retry-After': { type: 'integer', description: 'Seconds after which the address is no longer refused so.' },
  },
  noKey: { 'WWW-Authenticate': { type: 'string', description: 'How to present an API key.' } },
}

/** JSON Schema, in which schemas with a name are references to `schemas`. */
function toJsonSchema(schema: z.ZodType, schemas: Schemas): Schema {
  const {
    $schema,
    $defs = {},
    ...json
  } = z.toJSONSchema(schema, {
    io: 'input',
    metadata: namedSchemas,
    override: simplify,
  })
  // Schemas without a name are those of JSON itself, which `simplify` has replaced.
  for (const [id, named] of Object.entries($defs)) if (!id.startsWith('__')) schemas[id] ??= referToComponents(named)
  return referToComponents(json)
}

function referToComponents(json: Schema): Schema {
  return JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', `"${COMPONENTS}`))
}

/** JSON Schema as people write it: any JSON is `true`, and a time needs no pattern beside its format. */
function simplify({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodType; jsonSchema: Schema }): void {
  // Of what is transformed when it is read, zod leaves the examples out.
  const examples = z.globalRegistry.get(zodSchema)?.examples
  if (Array.isArray(examples)) jsonSchema.examples = examples
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
  if (zodSchema._zod.def.type !== 'record') return
  delete jsonSchema.propertyNames
  jsonSchema.additionalProperties = true
}
