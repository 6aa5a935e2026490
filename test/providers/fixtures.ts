/** The samples of each provider, in its own words, for the conformance suite. */
import type { Status } from '../../src/core/status.ts'
import { cm } from '../../src/providers/cm/cm.ts'
import type { Provider, WebhookRequest } from '../../src/providers/provider.ts'
import { seven } from '../../src/providers/seven/seven.ts'
import type { ProviderFixture } from '../support/provider-conformance.ts'

function post(path: string, body: Buffer, receivedAt: Date): WebhookRequest {
  const headers = { 'content-type': 'application/json' }
  return { method: 'POST', publicUrl: `https://example.com${path}`, path, headers, body, receivedAt }
}

/** Local times of Berlin and Amsterdam, which agree; in the doubled hour the moment of arrival may decide. */
const LOCAL_TIMES = [
  { text: '2026-06-15T12:00:00', occurredAt: '2026-06-15T10:00:00.000Z' },
  { text: '2026-01-15T12:00:00', occurredAt: '2026-01-15T11:00:00.000Z' },
  { text: '2026-03-29T01:59:59', occurredAt: '2026-03-29T00:59:59.000Z' },
  { text: '2026-03-29T02:30:00', occurredAt: '2026-03-29T01:30:00.000Z' },
  { text: '2026-03-29T03:00:00', occurredAt: '2026-03-29T01:00:00.000Z' },
  { text: '2026-10-25T01:59:59', occurredAt: '2026-10-24T23:59:59.000Z' },
  { text: '2026-10-25T02:30:00', occurredAt: '2026-10-25T00:30:00.000Z' },
  { text: '2026-10-25T03:00:00', occurredAt: '2026-10-25T02:00:00.000Z' },
]
const receivedSoonAfter = LOCAL_TIMES.map((time) => ({ ...time, receivedAt: time.occurredAt }))

const SEVEN_STATUSES: Readonly<Record<string, Status>> = {
  ACCEPTED: 'accepted',
  TRANSMITTED: 'transmitted',
  BUFFERED: 'buffered',
  UNKNOWN: 'unknown',
  READ: 'read',
  DELIVERED: 'delivered',
  NOTDELIVERED: 'undelivered',
  EXPIRED: 'expired',
  REJECTED: 'rejected',
  FAILED: 'failed',
}

/** As recorded and documented: by subscription, flat by an older call-back, and RCS. */
const SEVEN_PAYLOADS = [
  {
    data: {
      msg_id: '77149843739',
      status: 'TRANSMITTED',
      timestamp: '2021-08-24 08:08:00.000000',
      foreign_id: 'Größe',
    },
    webhook_event: 'dlr',
    webhook_timestamp: '2021-08-24T08:08:00+02:00',
  },
  { webhook_event: 'DLR', msg_id: 77149843739, status: 'DELIVERED', timestamp: '2021-08-24 08:08:00.000' },
  { msg_id: '77149843739', status: 'UNKNOWN', timestamp: '2021-08-24 08:08:00.000' },
  {
    webhook_event: 'rcs_dlr',
    data: {
      agent_id: 'a b',
      sender: 'Café & Co',
      status: 'READ',
      msg_id: '77149843739',
      timestamp: '2021-08-24 08:08:00',
    },
  },
]

const CM_PAYLOADS = [
  {
    messages: {
      msg: {
        received: '2023-09-15T13:24:03',
        to: '00917073935263',
        reference: 'gid://shop/Sms/1c',
        status: { code: '3', errorCode: '5', errorDescription: 'AT&T: Empfänger <unbekannt>' },
        operator: '20408',
      },
    },
  },
  { REFERENCE: 'n/a', STATUS: '2', GSM: '0031612345678', DATETIME_S: '2023-09-15 13:24:03', STATUSISSUCCESS: '1' },
  { reference: '0d4e8a54-2b3f-4c5d-9e6f-7a8b9c0d1e2f', statuscode: 4, to: '+31612345678', channel: 'WhatsApp' },
]

const sevenFixture: ProviderFixture = {
  provider: seven as Provider<never>,
  entry: {
    name: 'seven',
    provider: 'seven',
    apiKey: 'api-key-5f0c2b7e91d34a6688e1c0b9f7d2',
    webhookToken: 'webhook-token-0b7d6a5e4c3f2a1908d7',
  },
  secrets: ['apiKey', 'webhookToken'],
  credentials: ['apiKey'],
  messageIds: {
    normal: [
      ['77232007287', '77232007287'],
      [' 77232007195 ', '77232007195'],
    ],
    refused: ['1,2', '1&x=2', 'a b', 'ä'],
  },
  recipients: [['0049 170 123-4567', '491701234567']],
  webhook: {
    statuses: SEVEN_STATUSES,
    request: (_, body, receivedAt, query = '') =>
      post(`/webhooks/seven/webhook-token-0b7d6a5e4c3f2a1908d7${query}`, body, receivedAt),
    body: ({ messageId, status, time }) =>
      JSON.stringify({ webhook_event: 'dlr', data: { msg_id: messageId, status, timestamp: time.replace('T', ' ') } }),
    payloads: SEVEN_PAYLOADS,
    times: receivedSoonAfter,
  },
  lookups: {
    status: {
      statuses: SEVEN_STATUSES,
      answer: (samples) =>
        JSON.stringify(samples.map(({ messageId, status, time }) => ({ id: messageId, status, status_time: time }))),
      times: LOCAL_TIMES,
    },
    logbook: {
      statuses: SEVEN_STATUSES,
      answer: (samples) =>
        JSON.stringify(
          samples.map(({ messageId, status, time }) => ({ id: messageId, dlr: status, dlr_timestamp: time })),
        ),
      times: LOCAL_TIMES,
    },
  },
}

const cmFixture: ProviderFixture = {
  provider: cm as Provider<never>,
  entry: {
    name: 'cm',
    provider: 'cm',
    productToken: 'product-token-3c9f7a12-55d0-4e1b-9d68',
    webhookToken: 'webhook-token-77aa66bb55cc44dd33ee',
  },
  secrets: ['productToken', 'webhookToken'],
  credentials: ['productToken'],
  messageIds: {
    normal: [
      ['order-4711', 'order-4711'],
      [' Order4712\t', 'Order4712'],
      ['gid://shop/Sms/1c', 'gid://shop/Sms/1c'],
      ['n/a', 'n/a'],
      ['0d4e8a54-2b3f-4c5d-9e6f-7a8b9c0d1e2f', '0d4e8a54-2b3f-4c5d-9e6f-7a8b9c0d1e2f'],
    ],
    refused: ['a\nb', 'a\u202eb', 'x'.repeat(256)],
  },
  recipients: [
    ['0031612345678', '31612345678'],
    ['+31612345678', '31612345678'],
    ['31612345678', '31612345678'],
  ],
  webhook: {
    statuses: { 0: 'accepted', 1: 'rejected', 2: 'delivered', 3: 'failed', 4: 'read' },
    request: (_, body, receivedAt, query = '') =>
      post(`/webhooks/cm/webhook-token-77aa66bb55cc44dd33ee${query}`, body, receivedAt),
    body: ({ messageId, recipient, status, time }) =>
      JSON.stringify({
        messages: {
          msg: {
            received: time,
            to: recipient,
            reference: messageId,
            status: { code: status, errorCode: '', errorDescription: '' },
            operator: '',
          },
        },
      }),
    payloads: CM_PAYLOADS,
    times: [
      ...receivedSoonAfter,
      {
        text: '2026-10-25T02:30:00',
        receivedAt: '2026-10-25T01:30:01.000Z',
        occurredAt: '2026-10-25T01:30:00.000Z',
      },
    ],
  },
  lookups: {
    transactions: {
      statuses: { 19: 'accepted', 20: 'delivered', 21: 'failed', 22: 'rejected', 37: 'accepted', 40: 'undelivered' },
      answer: (samples) =>
        JSON.stringify({
          status: 1,
          message: 'Ok',
          result: samples.map(({ messageId, recipient, status, time }) => ({
            reference: messageId,
            recipient,
            status,
            created: time,
          })),
        }),
      times: [
        ...LOCAL_TIMES,
        { text: '2026-10-25T02:30:00+02:00', occurredAt: '2026-10-25T00:30:00.000Z' },
        { text: '2026-10-25T02:30:00+01:00', occurredAt: '2026-10-25T01:30:00.000Z' },
      ],
    },
  },
}

export const fixtures: readonly ProviderFixture[] = [sevenFixture, cmFixture]
