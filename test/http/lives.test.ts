/** References that are used again: a second life, from tracking to the feed. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Api, startApi } from '../support/api.ts'

const DAY = 86_400_000
const SATURDAY = new Date(Date.now() - 4 * DAY)
const MONDAY = new Date(Date.now() - 2 * DAY)
const TUESDAY = new Date(Date.now() - DAY)

let api: Api
beforeAll(async () => {
  const accounts = [
    { name: 'cm', provider: 'cm', productToken: 'a-token' },
    { name: 'seven', provider: 'seven', apiKey: 'a-key' },
  ]
  api = await startApi({ ACCOUNTS: JSON.stringify(accounts) })
})
afterAll(() => api?.close())

const RECIPIENT = '31612345678'
const track = (messageId: string, sentAt: Date | undefined, more: object = {}) =>
  api.post('/v1/messages', { account: 'cm', messages: [{ messageId, recipient: `+${RECIPIENT}`, sentAt, ...more }] })
const seconds = (time: Date, count: number) => new Date(time.getTime() + count * 1000)
/** Local time of Amsterdam, as CM.com writes it. */
const local = (time: Date) => time.toLocaleString('sv-SE', { timeZone: 'Europe/Amsterdam' }).replace(' ', 'T')
const report = async (reference: string, code: number, time: Date) => {
  const msg = { received: local(time), to: `00${RECIPIENT}`, reference, status: { code } }
  expect(await api.post('/webhooks/cm', { messages: { msg } })).toMatchObject({ status: 200, body: { reports: 1 } })
}
const find = async (messageId: string) => {
  const { body } = await api.get(`/v1/messages/cm/${messageId}`)
  return body as { status: string; final: boolean; sentAt: string; reports: Record<string, unknown>[] }
}
const changesOf = async (messageId: string) => {
  const { changes } = (await api.get('/v1/changes')).body as { changes: Record<string, unknown>[] }
  return changes.filter((change) => change.messageId === messageId)
}

it('begins when a delivered reference is tracked with a later sentAt, and is announced', async () => {
  expect((await track('order-1', SATURDAY)).body).toEqual({ tracked: 1, alreadyTracked: 0 })
  await report('order-1', 2, seconds(SATURDAY, 5))
  expect((await track('order-1', MONDAY, { metadata: { attempt: 2 } })).body).toEqual({ tracked: 1, alreadyTracked: 0 })
  expect(await find('order-1')).toMatchObject({
    status: null,
    final: false,
    sentAt: MONDAY.toISOString(),
    metadata: { attempt: 2 },
    nextPollAt: expect.any(String),
    polls: 0,
    reports: [{ status: 'delivered', outcome: 'applied', earlierLife: true }],
  })
  // The same order once more begins nothing; nor does one that does not say when it was sent.
  for (const sentAt of [MONDAY, undefined, SATURDAY]) {
    expect((await track('order-1', sentAt)).body).toEqual({ tracked: 0, alreadyTracked: 1 })
  }
  // News of the first life is kept, and changes nothing.
  await report('order-1', 3, seconds(SATURDAY, 60))
  expect(await find('order-1')).toMatchObject({ status: null, final: false })
  await report('order-1', 3, seconds(MONDAY, 4))
  const { reports, ...message } = await find('order-1')
  expect(message).toMatchObject({ status: 'failed', final: true, settledBy: 'webhook' })
  expect(reports.map(({ status, outcome, earlierLife }) => [status, outcome, earlierLife])).toEqual([
    ['delivered', 'applied', true],
    ['failed', 'applied', true],
    ['failed', 'applied', undefined],
  ])
  expect(await changesOf('order-1')).toMatchObject([
    { status: 'delivered', previousStatus: null },
    { status: 'failed', previousStatus: null, metadata: { attempt: 2 } },
  ])
})

it('has the receipts that came before the message was tracked again', async () => {
  await track('order-2', SATURDAY)
  await report('order-2', 2, seconds(SATURDAY, 5))
  await report('order-2', 0, seconds(MONDAY, 1))
  await report('order-2', 2, seconds(MONDAY, 5))
  expect((await track('order-2', MONDAY)).body).toEqual({ tracked: 1, alreadyTracked: 0 })
  expect(await find('order-2')).toMatchObject({
    status: 'delivered',
    final: true,
    nextPollAt: null,
    statusAt: `${new Date(Math.floor(seconds(MONDAY, 5).getTime() / 1000) * 1000).toISOString()}`,
  })
  expect(await changesOf('order-2')).toMatchObject([
    { status: 'delivered', previousStatus: null },
    { status: 'accepted', previousStatus: null },
    { status: 'delivered', previousStatus: 'accepted' },
  ])
  // A third life.
  expect((await track('order-2', TUESDAY)).body).toEqual({ tracked: 1, alreadyTracked: 0 })
  expect(await find('order-2')).toMatchObject({ status: null, final: false })
})

it('waits for the end of the first', async () => {
  await track('order-3', SATURDAY)
  await report('order-3', 0, seconds(SATURDAY, 5))
  expect((await track('order-3', MONDAY)).body).toEqual({ tracked: 0, alreadyTracked: 1 })
  expect(await find('order-3')).toMatchObject({ status: 'accepted', sentAt: SATURDAY.toISOString() })
})

it('begins for many at once, beside new ones and repeats', async () => {
  const ids = Array.from({ length: 500 }, (_, index) => `many-${index}`)
  const order = (sentAt: Date, messageIds: string[]) =>
    api.post('/v1/messages', {
      account: 'cm',
      messages: messageIds.map((messageId) => ({ messageId, sentAt, recipient: `+${RECIPIENT}` })),
    })
  await order(SATURDAY, ids)
  for (const id of ids.slice(0, 20)) await report(id, 2, seconds(SATURDAY, 5))
  expect((await order(MONDAY, [...ids, 'new-1'])).body).toEqual({ tracked: 21, alreadyTracked: 480 })
})

it('is none of a provider that gives every message an ID of its own', async () => {
  const seven = (sentAt: Date) =>
    api.post('/v1/messages', { account: 'seven', messages: [{ messageId: '77100000001', sentAt }] })
  await seven(SATURDAY)
  const dlr = { webhook_event: 'dlr', data: { msg_id: '77100000001', status: 'DELIVERED' } }
  expect(await api.post('/webhooks/seven', dlr)).toMatchObject({ status: 200 })
  expect((await seven(MONDAY)).body).toEqual({ tracked: 0, alreadyTracked: 1 })
})

it('is found by its metadata once, and by that of the life before no more', async () => {
  const listed = async (query: string) => {
    const { body } = await api.get(`/v1/messages?${query}`)
    return (body as { messages: { messageId: string }[] }).messages.map(({ messageId }) => messageId)
  }
  await track('order-9', SATURDAY, { metadata: { campaign: 'spring', parcel: 1 } })
  await report('order-9', 3, seconds(SATURDAY, 5))
  expect(await listed('metadata.parcel=1')).toEqual(['order-9'])
  expect(await listed('status=failed&metadata.campaign=spring')).toEqual(['order-9'])
  await track('order-9', MONDAY, { metadata: { campaign: 'spring', parcel: 2 } })
  expect(await listed('metadata.campaign=spring')).toEqual(['order-9'])
  expect(await listed('metadata.parcel=2')).toEqual(['order-9'])
  expect(await listed('metadata.parcel=1')).toEqual([])
  expect(await listed('status=failed&metadata.campaign=spring')).toEqual([])
})

it('begins at once for a reference whose receipts are older than its sending, though it was never tracked', async () => {
  await report('order-0', 2, SATURDAY)
  expect((await track('order-0', MONDAY, { metadata: { life: 'first' } })).body).toEqual({
    tracked: 1,
    alreadyTracked: 0,
  })
  expect((await api.get('/v1/messages?metadata.life=first')).body).toMatchObject({
    messages: [{ messageId: 'order-0' }],
  })
  expect(await find('order-0')).toMatchObject({
    status: null,
    final: false,
    nextPollAt: expect.any(String),
    reports: [{ status: 'delivered', earlierLife: true }],
  })
  await report('order-0', 3, seconds(MONDAY, 4))
  expect(await find('order-0')).toMatchObject({ status: 'failed', final: true })
  expect((await changesOf('order-0')).map(({ status }) => status)).toEqual(['failed'])
  // A receipt of the same day may be its own: the app may say when it was tracked for when it was sent.
  await report('order-00', 2, seconds(MONDAY, -3600))
  await track('order-00', MONDAY)
  expect(await find('order-00')).toMatchObject({ status: 'delivered', final: true })
  // One that is to be sent later may be refused at once.
  await report('order-000', 1, seconds(new Date(), -2))
  await track('order-000', seconds(new Date(), 2 * 86_400))
  expect(await find('order-000')).toMatchObject({ status: 'rejected', final: true })
})
