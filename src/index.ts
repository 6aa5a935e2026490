/**
 * The library: a client of the service, which is also a package of its own, and tracking inside a transaction of one's own.
 * Importing it starts nothing.
 */
export * from './client/index.ts'
export {
  type DrizzleTransaction,
  type PostgresTransaction,
  type Transaction,
  track,
} from './transaction.ts'
