/**
 * The OpenAPI document at /openapi.json, and the page made from it at /docs: one file of HTML that loads nothing and runs
 * no script.
 */
import type { FastifyInstance } from 'fastify'
import { docsStyle } from './docs-style.ts'
import {
  createOpenApi,
  type MediaType,
  type OpenApi,
  type OpenApiOperation,
  type OpenApiResponse,
  type Schema,
} from './openapi.ts'

export function registerDocsRoutes(server: FastifyInstance, { hasApiKeys }: { hasApiKeys: boolean }): void {
  const document = createOpenApi({ hasApiKeys })
  const json = JSON.stringify(document)
  const page = renderDocs(document)
  server.get('/openapi.json', (_request, reply) => reply.type('application/json').send(json))
  server.get('/docs', (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
      .send(page),
  )
}

interface Route extends OpenApiOperation {
  method: string
  path: string
}

function renderDocs(document: OpenApi): string {
  const { info, tags, components } = document
  const routes = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]): Route => ({ ...operation, method, path })),
  )
  const sections = tags.map((tag) => ({ ...tag, routes: routes.filter((route) => route.tags.includes(tag.name)) }))
  const schemas = Object.entries(components.schemas)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(info.title)}: HTTP API</title>
<style>${docsStyle}</style>
</head>
<body>
<header>
<h1>${escapeHtml(info.title)}</h1>
<p class="lead">${escapeHtml(info.summary)}</p>
${renderText(info.description)}
${renderAccess(components.securitySchemes)}
<p>The same as an OpenAPI document, for tools: <a href="openapi.json">openapi.json</a>.</p>
</header>
<nav aria-label="Contents">
${sections.map(({ name, routes }) => `<h2><a href="#${name}">${name}</a></h2>${renderIndex(routes)}`).join('\n')}
<h2><a href="#schemas">Schemas</a></h2>
<ul class="names">${schemas.map(([name]) => `<li>${linkTo(name)}</li>`).join('')}</ul>
</nav>
<main>
${sections.map((section) => renderSection(section, components.schemas)).join('\n')}
<section id="schemas">
<h2>Schemas</h2>
${schemas.map(([name, schema]) => renderSchema(name, schema)).join('\n')}
</section>
</main>
</body>
</html>
`
}

function renderIndex(routes: Route[]): string {
  const items = routes.map(
    ({ operationId, method, path }) => `<li><a href="#${operationId}">${renderRoute(method, path)}</a></li>`,
  )
  return `<ul>${items.join('')}</ul>`
}

function renderAccess(schemes: OpenApi['components']['securitySchemes']): string {
  if (!schemes) return '<p>No API keys are configured, so everybody on this machine is let in.</p>'
  const ways = Object.values(schemes).map(({ scheme, description }) => {
    return `<li>HTTP ${escapeHtml(scheme)}: ${renderInline(description)}</li>`
  })
  return `<p>Every route asks for an API key, unless it says otherwise, in either of these ways:</p><ul>${ways.join('')}</ul>`
}

interface Section {
  name: string
  description: string
  routes: Route[]
}

function renderSection({ name, description, routes }: Section, schemas: Record<string, Schema>): string {
  return `<section id="${name}">
<h2>${name}</h2>
${renderText(description)}
${routes.map((route) => renderOperation(route, schemas)).join('\n')}
</section>`
}

function renderOperation(route: Route, schemas: Record<string, Schema>): string {
  const { operationId, method, path, summary, description, parameters, requestBody, responses, security } = route
  const fields = (parameters ?? []).map((one) =>
    renderField(one.name, one.schema, one.required ? 'required' : '', one.description),
  )
  const parts = [
    `<h3>${escapeHtml(summary)}</h3>`,
    `<p class="route">${renderRoute(method, path)}</p>`,
    renderText(description ?? ''),
    security?.length === 0 ? '<p class="note">Asks for no API key.</p>' : '',
    fields.length > 0 ? `<h4>Parameters</h4><dl>${fields.join('')}</dl>` : '',
    requestBody ? `<h4>Body</h4>${renderText(requestBody.description)}` : '',
    ...Object.entries(requestBody?.content ?? {}).map(([type, media]) => renderBody(type, media, schemas)),
    '<h4>Answers</h4>',
    ...Object.entries(responses)
      .filter(([status]) => status !== 'default')
      .map(([status, response]) => renderResponse(status, response)),
  ]
  return `<article id="${operationId}">\n${parts.filter(Boolean).join('\n')}\n</article>`
}

function renderBody(type: string, { schema, example }: MediaType, schemas: Record<string, Schema>): string {
  if (!schema) return type === '*/*' ? '' : `<p><code>${escapeHtml(type)}</code></p>`
  const name = nameOf(schema)
  const fields = renderFields((name && schemas[name]) || schema, schemas)
  return `${fields}${example === undefined ? '' : renderExample(example)}`
}

function renderResponse(status: string, { description, headers, content }: OpenApiResponse): string {
  const isSuccess = status.startsWith('2')
  const bodies = Object.entries(content ?? {}).map(([type, { schema, example, examples }]) => {
    const values = example === undefined ? Object.values(examples ?? {}).map(({ value }) => value) : [example]
    const what = schema ? renderType(schema) : ''
    return `<p>${[what, `<code>${escapeHtml(type)}</code>`].filter(Boolean).join(', ')}</p>${values.map(renderExample).join('')}`
  })
  const names = Object.entries(headers ?? {}).map(
    ([name, header]) => `<p><code>${escapeHtml(name)}</code>: ${renderInline(header.description)}</p>`,
  )
  return `<details${isSuccess ? ' open' : ''}><summary><b class="${isSuccess ? 'good' : 'bad'}">${escapeHtml(status)}</b> ${renderInline(description)}</summary>${names.join('')}${bodies.join('')}</details>`
}

function renderSchema(name: string, schema: Schema): string {
  const fields = schema.properties ? renderFields(schema) : `<p class="type">${renderType(schema)}</p>`
  return `<article id="schema-${name}"><h3>${name}</h3>${renderText(schema.description ?? '')}${fields}</article>`
}

/** The properties of an object; of what is sent, with `schemas`, those of the named objects inside it too. */
function renderFields(schema: Schema, schemas?: Record<string, Schema>): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    if (typeof property === 'boolean') return ''
    const inner = innerObject(property, schemas)
    const nested = inner ? renderFields(inner, schemas) : ''
    const isRequired = schema.required?.includes(name) ?? false
    // Most fields of what is sent are optional, most of what is answered are not: the exception is marked.
    const mark = schemas ? isRequired && 'required' : !isRequired && 'optional'
    return renderField(name, property, mark || '', property.description ?? '', nested)
  })
  return rows.length > 0 ? `<dl>${rows.join('')}</dl>` : ''
}

function innerObject(property: Schema, schemas: Record<string, Schema> | undefined): Schema | undefined {
  const items = property.items
  const item = typeof items === 'object' && !Array.isArray(items) ? items : property
  const name = nameOf(item)
  if (name) return schemas?.[name]
  const [first] = item.anyOf ?? [item]
  return first?.properties ? first : undefined
}

function renderField(name: string, schema: Schema, mark: string, description: string, nested = ''): string {
  const marked = mark ? ` <em>${mark}</em>` : ''
  return `<div><dt><code>${escapeHtml(name)}</code> <span class="type">${renderType(schema)}</span>${marked}</dt><dd>${renderInline(description)}${nested}</dd></div>`
}

/** The type in words, with its limits, and named types as links. */
function renderType(schema: Schema): string {
  const name = nameOf(schema)
  if (name) return linkTo(name)
  if (schema.anyOf) return schema.anyOf.map(renderType).join(' or ')
  if (schema.const !== undefined) return renderCode(schema.const)
  if (schema.enum) return schema.enum.map(renderCode).join(', ')
  const { items } = schema
  if (typeof items === 'object' && !Array.isArray(items)) {
    return `array of ${limitsOf(schema.minItems, schema.maxItems)}${renderType(items)}`
  }
  const type = schema.format === 'date-time' ? 'time' : [schema.type ?? 'any'].flat().join(' or ')
  const limits = limitsOf(schema.minimum, schema.maximum)
  const pattern = schema.pattern ? ` matching ${renderCode(new RegExp(schema.pattern))}` : ''
  const standard = schema.default === undefined ? '' : `, default ${renderCode(schema.default)}`
  return `${type} ${limits}`.trim() + pattern + standard
}

function limitsOf(least: number | undefined, most: number | undefined): string {
  const to = most === undefined || most === Number.MAX_SAFE_INTEGER ? undefined : most.toLocaleString('en')
  if (to !== undefined) return `${least ?? 0} to ${to} `
  return least === undefined ? '' : `from ${least} `
}

function renderExample(value: unknown): string {
  return `<pre><code>${escapeHtml(formatJson(value))}</code></pre>`
}

/** JSON over several lines, but what is short on one. */
function formatJson(value: unknown, indent = ''): string {
  const short = JSON.stringify(value, null, 1).replace(/\n\s*/g, ' ')
  if (typeof value !== 'object' || value === null || short.length + indent.length <= 60) return short
  const inner = `${indent}  `
  const lines = Array.isArray(value)
    ? value.map((item) => inner + formatJson(item, inner))
    : Object.entries(value).map(([key, item]) => `${inner}${JSON.stringify(key)}: ${formatJson(item, inner)}`)
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  return `${open}\n${lines.join(',\n')}\n${indent}${close}`
}

function renderRoute(method: string, path: string): string {
  return `<b class="${method}">${method.toUpperCase()}</b> <code>${escapeHtml(path).replaceAll('/', '/<wbr>')}</code>`
}

function renderCode(value: unknown): string {
  return `<code>${escapeHtml(typeof value === 'string' ? value : value instanceof RegExp ? value.source : JSON.stringify(value))}</code>`
}

/** Paragraphs, with `code` in backticks. */
function renderText(text: string): string {
  return text
    .split('\n\n')
    .filter(Boolean)
    .map((paragraph) => `<p>${renderInline(paragraph)}</p>`)
    .join('')
}

function renderInline(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>')
}

function linkTo(name: string): string {
  return `<a href="#schema-${name}">${name}</a>`
}

function nameOf({ $ref }: Schema): string | undefined {
  return $ref?.split('/').at(-1)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
