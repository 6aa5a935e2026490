/** The requests that Lastword sends by itself: callbacks to the app, and alerts to the operator. */
import { z } from 'zod'
import { ALERT_KINDS } from '../../core/alerts.ts'
import { AT, changeSchema, field, namedObject, textSchema, timeSchema } from './answers.ts'

export const callbackBodySchema = namedObject('StatusCallback', {
  type: z.literal('message.status').describe('The event.'),
  timestamp: timeSchema.describe('When the change was stored.'),
  data: changeSchema.describe('The change, as the feed has it.'),
})

/** The members that an alert has in the list as well. */
export const alertShape = {
  kind: z.enum(ALERT_KINDS).meta({ examples: ['queue-paused'], description: 'The kind of condition.' }),
  subject: field(textSchema, 'dispatch', 'An account, a receiver, a queue, a machine.'),
  message: field(
    textSchema,
    'The queue "dispatch" is paused: its jobs wait until it is resumed.',
    'A sentence for people.',
  ),
  since: field(timeSchema, AT, 'Since when the condition holds, as far as it is known.'),
}

export const alertBodySchema = namedObject('AlertNotice', {
  type: z.enum(['alert.begun', 'alert.ended']).describe('Whether the condition holds from now on, or is over.'),
  timestamp: timeSchema.describe('When that was noticed.'),
  data: namedObject('NoticedAlert', {
    id: field(textSchema, 'alert-12-1f0c9a3e-mwy8srop', 'The same at the beginning and at the end.'),
    ...alertShape,
    until: field(timeSchema.nullable(), null, 'When it was gone; `null` in `alert.begun`.'),
  }).describe('The condition.'),
})

export interface WebhookDoc {
  name: string
  operationId: string
  tag: 'Changes' | 'Operation'
  summary: string
  description: string
  body: z.ZodType
}

export const WEBHOOKS: readonly WebhookDoc[] = [
  {
    name: 'message.status',
    operationId: 'receiveCallback',
    tag: 'Changes',
    summary: 'A message has a new status',
    description:
      'Sent to the `callbackUrl` of the message, else to the `callback.url` of its account, once for each change, in order for each message, and again until it is answered 2xx.',
    body: callbackBodySchema,
  },
  {
    name: 'alert',
    operationId: 'receiveAlert',
    tag: 'Operation',
    summary: 'A condition needs somebody, or is over',
    description: 'Sent to `ALERT_URL`, and again for three days until it is answered 2xx.',
    body: alertBodySchema,
  },
]

/** The headers of Standard Webhooks. */
export const WEBHOOK_HEADERS: Readonly<Record<string, string>> = {
  'webhook-id': 'The same for each attempt: by it a repeat is known.',
  'webhook-timestamp': 'When this attempt was signed, in seconds since 1970.',
  'webhook-signature':
    'One signature for each secret, separated by spaces: `v1,` and the HMAC-SHA256 of ID, timestamp and body, in Base64.',
}
