/** How an operator is told of an alert: a line in the log, and a signed request to ALERT_URL. */
import type { Alert } from '../../db/alerts.ts'
import type { Log } from '../../log.ts'
import type { ProxySettings } from '../../proxy.ts'
import { createCallbackSender, type Refusal } from '../callback-sender.ts'

/** Where alerts are sent. The URL is the operator's own: it may be http, and lie inside. */
export interface AlertReceiver {
  url: string
  /** `whsec_…`; each gives a signature. */
  secrets: readonly string[]
}

interface ToldAlert extends Pick<Alert, 'kind' | 'subject' | 'message' | 'since' | 'until'> {
  tell: 'begun' | 'ended'
}

export interface SentAlert extends ToldAlert {
  /** The same for both tellings of an alert. */
  name: string
  /** When it began or ended. */
  at: Date
}

export interface AlertSender {
  /** False when there is nobody to send to. */
  isOpen: boolean
  /** Resolves with undefined when the receiver has taken it, else with why not. */
  send(alert: SentAlert): Promise<Refusal | undefined>
  close(): Promise<void>
}

export interface AlertSenderOptions {
  receiver: AlertReceiver | undefined
  proxy: ProxySettings
}

export function createAlertSender({ receiver, proxy }: AlertSenderOptions, stopped: AbortSignal): AlertSender {
  const sender = createCallbackSender({ allowPrivate: true, proxy })
  return {
    isOpen: receiver !== undefined,
    send: async ({ name, tell, at, kind, subject, message, since, until }) => {
      if (!receiver) return undefined
      const data = { id: name, kind, subject, message: sentenceOf({ tell, message }), since, until }
      const body = JSON.stringify({ type: `alert.${tell}`, timestamp: at, data })
      return (await sender.send({ id: `${name}-${tell}`, ...receiver, body }, stopped)).refusal
    },
    close: () => sender.close(),
  }
}

export function logAlert(log: Log, alert: ToldAlert): void {
  const { kind, subject, since, tell } = alert
  const details = { alert: kind, subject, since }
  if (tell === 'begun') log.warn(details, sentenceOf(alert))
  else log.info(details, sentenceOf(alert))
}

function sentenceOf({ tell, message }: Pick<ToldAlert, 'tell' | 'message'>): string {
  return tell === 'begun' ? message : `This is over: ${message}`
}
