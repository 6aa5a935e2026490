/** The service's answers, as `schemas.ts` has them from the OpenAPI document, and the filters it takes. */
import type { components } from './schemas.ts'

type Schemas = components['schemas']

/** The same members, which an app may also set to undefined: JSON knows no undefined. */
export type Given<T> = { [K in keyof T]: T[K] | undefined }

/** A message and what is known of it. Times are ISO 8601 in UTC. */
export type Message = Schemas['Message']
/** A message that is asked about now. */
export type PolledMessage = Schemas['PolledMessage']
export type MessageWithReports = Schemas['MessageWithReports']
export type MessageReport = Schemas['MessageReport']
/** A question to the provider about a message. */
export type MessageQuery = Schemas['MessageQuery']
/** A change that is announced to a URL. */
export type MessageCallback = Schemas['MessageCallback']
export type CallbackAttempt = Schemas['CallbackAttempt']
export type MessagePage = Schemas['MessagePage']

/** One change of a message's status. */
export type Change = Schemas['Change']

/** How an account is doing at its provider. Durations are in seconds. */
export type AccountHealth = Schemas['AccountHealth']

/** When messages are asked about. Durations and ages are in seconds. */
export interface Schedule extends Omit<Schemas['Schedule'], 'curve'> {
  /** Ages, each with the share of messages that are final by then. */
  curve: [number, number][]
}

/** The figures hour by hour, and what is outstanding now. Ages are in seconds. */
export type Statistics = Schemas['Statistics']

/** A condition that needs somebody, or did. */
export type Alert = Schemas['Alert']

export type ActPage = Schemas['ActPage']
/** Something that a person or a program had Lastword do beside tracking. */
export type Act = ActPage['acts'][number]

/** The outcome of an order. */
export type Tracked = Schemas['Tracked']

/** Filters of messages. Several find the messages that match all of them. */
export interface MessageFilter extends Given<Omit<Schemas['MessageFilter'], 'cursor' | 'metadata'>> {
  /** Up to five keys and the values they must have. */
  metadata?: Readonly<Record<string, string | number | boolean>> | undefined
}

/** Which hours are counted: without a time, those of the last day. */
export interface StatisticsFilter {
  account?: string | undefined
  /** Hours that begin at this time or later; a day before `to` when left out, 31 days before it at most. */
  from?: string | undefined
  /** Hours that begin before this time; now when left out. */
  to?: string | undefined
}

/** Filters of acts. Several find the acts that match all of them. */
export interface ActFilter {
  /** The name of the key; `unnamed key`, or `no key` where none is configured. */
  by?: string | undefined
  kind?: Act['kind'] | undefined
  /** Only acts later than this time. */
  after?: string | undefined
}

export interface ListFilter extends MessageFilter {
  /** True for messages without a final status, false for those with one. */
  outstanding?: boolean | undefined
}
