/** The client of a Lastword service: the package `lastword-client`, and a part of `lastword`. Importing it starts nothing. */
export { type ErrorCode, type Issue, LastwordError } from '../core/errors.ts'
export type { Source, Status, StatusError } from '../core/status.ts'
export type {
  AccountHealth,
  Act,
  ActFilter,
  ActPage,
  Alert,
  Change,
  ListFilter,
  Message,
  MessageFilter,
  MessagePage,
  MessageReport,
  MessageWithReports,
  PolledMessage,
  Schedule,
  Statistics,
  StatisticsFilter,
  Tracked,
} from './answers.ts'
export {
  type ChangePage,
  type ChangesOptions,
  type Client,
  type ClientOptions,
  createClient,
  type RequestOptions,
} from './client.ts'
export type { MessageToTrack, Order } from './order.ts'
