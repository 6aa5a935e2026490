/**
 * Pools for servers that fail over, which postgres.js lacks: connections that take no writes are replaced, and a
 * transaction whose connection is lost does nothing more.
 */
import type postgres from 'postgres'
import { codeOf } from './client.ts'

export const READ_ONLY = '25006'
/** A server that stays read-only is not asked for new connections without a pause. */
const REPLACE_EVERY_MS = 1_000
const ENDS_WITHIN_S = 5
const LOST = /^(CONNECTION_|ECONN|EPIPE|ETIMEDOUT|57P0)/

export interface PoolUse {
  /** Connections at work, of at most so many. */
  used: number
  most: number
  /** How much waits for one. */
  waiting: number
}

export interface Pool {
  client: postgres.Sql
  /** How many statements and transactions are under way, or wait for a connection: postgres.js itself does not say. */
  countHeld(): number
  takesWrites(): Promise<boolean>
}

/**
 * A client whose connections are all made anew, by `open`, when one of them takes no writes: after a failover they would
 * stay with the server that is not the first any more. `onReadOnly` is told before.
 */
export function createPool(open: () => postgres.Sql, onReadOnly = () => {}): Pool {
  let current = open()
  let held = 0
  let replacedAt = Number.NEGATIVE_INFINITY
  const replace = () => {
    if (performance.now() - replacedAt < REPLACE_EVERY_MS) return
    replacedAt = performance.now()
    onReadOnly()
    const former = current
    current = open()
    void former.end({ timeout: ENDS_WITHIN_S })
  }
  const observe = <T extends Promise<unknown>>(result: T): T => {
    held += 1
    const end = (error?: unknown) => {
      held -= 1
      if (codeOf(error) === READ_ONLY) replace()
    }
    result.then(() => end(), end)
    return result
  }
  const client = new Proxy(current, {
    get(_first, key) {
      if (key === 'unsafe') return (...args: Parameters<postgres.Sql['unsafe']>) => observe(current.unsafe(...args))
      if (key === 'begin') return (run: Run) => observe(begin(current, run))
      return Reflect.get(current, key)
    },
  })
  return {
    client,
    countHeld: () => held,
    async takesWrites() {
      const [row] = await current.unsafe("SELECT current_setting('transaction_read_only') AS is_read_only")
      if (row?.is_read_only === 'on') replace()
      return row?.is_read_only === 'off'
    },
  }
}

type Run = (transaction: postgres.TransactionSql) => Promise<unknown>

/**
 * Begins a transaction. postgres.js goes on writing to a connection that was lost, at the latest to roll back, and that ends
 * the process; here the transaction rejects with the loss and comes to no further statement.
 */
function begin(client: postgres.Sql, run: Run): Promise<unknown> {
  const state = { isLost: false }
  const result = client.begin((transaction) => withoutLost(state, run)(guard(state, transaction)))
  result.catch(() => {
    state.isLost = true
  })
  return result
}

interface State {
  isLost: boolean
}

/**
 * A query that is lost neither resolves nor rejects: nothing must follow from it. The loss has ended the transaction.
 */
function withoutLost(state: State, run: Run): Run {
  const never = new Promise<never>(() => {})
  return (transaction) =>
    run(transaction).then(
      (result) => (state.isLost ? never : result),
      (error: unknown) => (state.isLost ? never : Promise.reject(error)),
    )
}

function guard(state: State, transaction: postgres.TransactionSql): postgres.TransactionSql {
  return new Proxy(transaction, {
    get(_target, key) {
      if (key === 'savepoint') {
        return (run: Run) =>
          state.isLost ? lost() : transaction.savepoint((inner) => withoutLost(state, run)(guard(state, inner)))
      }
      if (key !== 'unsafe') return Reflect.get(transaction, key)
      return (...args: Parameters<postgres.Sql['unsafe']>) => {
        if (state.isLost) return lost()
        const query = transaction.unsafe(...args)
        query.catch((error: unknown) => {
          if (LOST.test(codeOf(error) ?? '')) state.isLost = true
        })
        return query
      }
    },
  })
}

/** As a query that has failed. */
function lost(): Promise<never> & { values(): Promise<never> } {
  const failed = Promise.reject(Object.assign(new Error('the connection was lost'), { code: 'CONNECTION_CLOSED' }))
  failed.catch(() => {})
  return Object.assign(failed, { values: () => failed })
}
