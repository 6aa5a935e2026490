/**
 * The library: a client of the service, and tracking inside a transaction of one's own. Importing it starts nothing.
 */
export type {
  AccountHealth,
  Change,
  ChangePage,
  Message,
  MessageFilter,
  MessagePage,
  MessageReport,
  MessageWithReports,
  PolledMessage,
} from './client/answers.ts'
export {
  type ChangesOptions,
  type Client,
  type ClientOptions,
  createClient,
  type RequestOptions,
} from './client/client.ts'
export { type Issue, LastwordError } from './core/errors.ts'
export type { Source, Status, StatusError } from './core/status.ts'
export type { Tracked } from './tracking.ts'
export {
  type DrizzleTransaction,
  type MessageToTrack,
  type Order,
  type PostgresTransaction,
  type Transaction,
  track,
} from './transaction.ts'
