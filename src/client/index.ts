/** The client of a Lastword service: the package `lastword-client`, and a part of `lastword`. Importing it starts nothing. */
export { type ErrorCode, type Issue, LastwordError } from '../core/errors.ts'
export type { Source, Status, StatusError } from '../core/status.ts'
export type * from './answers.ts'
export {
  type ChangesOptions,
  type Client,
  type ClientOptions,
  createClient,
  type RequestOptions,
} from './client.ts'
export type * from './order.ts'
