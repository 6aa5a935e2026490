/** An app that has neither package: its types are made from the service's OpenAPI document, its requests by openapi-fetch. */
import createClient from 'openapi-fetch'
import type { components, paths } from './openapi.mjs'

const { LASTWORD_URL: baseUrl = '', LASTWORD_API_KEY: apiKey } = process.env
const service = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${apiKey}` } })

const tracked = await service.POST('/v1/messages', {
  body: { account: 'seven', messages: [{ messageId: '77232007289', sentAt: new Date().toISOString() }] },
})
console.log('tracked', tracked.response.status, tracked.data?.tracked)

const path = { account: 'seven', messageId: '77232007289' }
const { data } = await service.GET('/v1/messages/{account}/{messageId}', { params: { path } })
console.log('message', data?.messageId, data?.status, data?.reports.length)

const list = await service.GET('/v1/messages', { params: { query: { account: 'seven', outstanding: 'true' } } })
console.log(
  'outstanding',
  list.data?.messages.some(({ messageId }) => messageId === path.messageId),
)

const unknown = await service.GET('/v1/messages/{account}/{messageId}', {
  params: { path: { ...path, messageId: '404' } },
})
const problem: components['schemas']['Problem'] | undefined = unknown.error
console.log('problem', problem?.status, problem?.code)
