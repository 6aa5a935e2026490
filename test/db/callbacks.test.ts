import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { findAttempts } from '../../src/db/callback-attempts.ts'
import { claimCallbacks } from '../../src/db/callback-claim.ts'
import {
  addCallbacks,
  deleteCallback,
  findCallback,
  type NewCallback,
  releaseCallback,
  releaseClaim,
  replayCallbacks,
  retryCallback,
} from '../../src/db/callbacks.ts'
import { deleteFreeReceivers, noteReceiver } from '../../src/db/receivers.ts'
import { openTables, type Tables } from '../support/api.ts'

let tables: Tables
beforeAll(async () => {
  tables = await openTables()
})
afterAll(() => tables.close())
beforeEach(() => tables.db.execute(sql`TRUNCATE lastword.callbacks, lastword.receivers`))

const SLOW = 'https://slow.example'
const GOOD = 'https://good.example'

const body = { type: 'message.status', timestamp: '2026-01-31T10:00:00.000Z', data: {} }
let changes = 0

/** Adds callbacks, each of a message of its own unless it says otherwise, in this order; returns their changes. */
async function add(...given: (Partial<NewCallback> & { url: string })[]): Promise<number[]> {
  const added = given.map((one) => {
    const change = ++changes
    return { change, message: change, account: 'seven', body, ...one }
  })
  await addCallbacks(tables.db, added)
  return added.map(({ change }) => change)
}

/** `count` callbacks of one receiver, each of a message and with a URL of its own. */
const urlsOf = (receiver: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({ url: `${receiver}/${i}` }))

const attempt = { tookMs: 12, httpStatus: 500, answer: 'oops' }

async function claimOnce({ claim = randomUUID() as string, places = 500, perUrl = 10 } = {}) {
  const { claimed, putBack } = await claimCallbacks(tables.db, { claim, leaseMs: 60_000, places, perUrl })
  return { claim, putBack, claimed: claimed.map(({ change }) => change) }
}

/** Claims until nothing more can be; returns how many callbacks each receiver has under way then. */
async function claimAll(): Promise<Map<string, number>> {
  for (let more = true; more; ) {
    const { claimed, putBack } = await claimOnce()
    more = claimed.length + putBack > 0
  }
  const rows = await tables.db.execute<{ receiver: string; held: number }>(sql`
    SELECT receiver, count(*)::int AS held FROM lastword.callbacks WHERE claim IS NOT NULL GROUP BY receiver`)
  return new Map(rows.map(({ receiver, held }) => [receiver, held]))
}

const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, number) => total + number, 0)

/** Makes time pass for everything that waits and is not held. */
const passTime = (ms: number) =>
  tables.db.execute(sql`
    UPDATE lastword.callbacks SET next_attempt_at = next_attempt_at - ${ms} * interval '1 millisecond' WHERE claim IS NULL`)

async function secondsUntilDue(change: number): Promise<number> {
  const [row] = await tables.db.execute<{ seconds: number }>(sql`
    SELECT extract(epoch FROM next_attempt_at - now())::float8 AS seconds FROM lastword.callbacks WHERE change = ${change}`)
  return row?.seconds ?? Number.NaN
}

describe('a claim', () => {
  const claim = randomUUID()

  it('may give back one callback and keep the others', async () => {
    const [first = 0, second = 0] = await add({ url: GOOD }, { url: GOOD })
    expect((await claimOnce({ claim })).claimed).toEqual([first, second])
    await releaseCallback(tables.db, claim, first)
    expect(await findCallback(tables.db, first, claim)).toBeUndefined()
    expect(await findCallback(tables.db, second, claim)).toMatchObject({ change: second, claim })
    await releaseClaim(tables.db, claim)
    expect(await findCallback(tables.db, second, claim)).toBeUndefined()
  })

  it('that is held by another by now puts nothing off', async () => {
    const [change = 0] = await add({ url: GOOD })
    await claimOnce({ claim })
    await releaseClaim(tables.db, claim)
    const { claim: newer } = await claimOnce()
    await retryCallback(tables.db, { change, claim, error: 'too late', delayMs: undefined, attempt })
    expect(await findCallback(tables.db, change, newer)).toMatchObject({ claim: newer, attempts: 0, lastError: null })
    await retryCallback(tables.db, { change, claim: newer, error: 'not taken', delayMs: undefined, attempt })
    const failed = { attempts: 1, lastError: 'not taken', nextAttemptAt: null }
    expect(await findCallback(tables.db, change, newer)).toMatchObject(failed)
  })
})

describe('the attempts', () => {
  it('of a callback are kept, the latest ten, whether it is taken or not', async () => {
    const [change = 0] = await add({ message: 5, url: `${GOOD}/secret` })
    for (let times = 1; times <= 12; times++) {
      const { claim } = await claimOnce()
      const answered = { tookMs: times, httpStatus: 500, answer: 'NUL \0' }
      await retryCallback(tables.db, { change, claim, error: `no ${times}`, delayMs: 0, attempt: answered })
    }
    await claimOnce()
    await deleteCallback(tables.db, change, { tookMs: 3.4, httpStatus: 204 })
    const kept = await findAttempts(tables.db, [5])
    expect(kept.map(({ error }) => error)).toEqual([
      ...Array.from({ length: 9 }, (_, index) => `no ${index + 4}`),
      null,
    ])
    expect(kept.at(-2)).toMatchObject({ change, receiver: GOOD, tookMs: 12, httpStatus: 500, answer: 'NUL \ufffd' })
    expect(kept.at(-1)).toMatchObject({ change, tookMs: 3, httpStatus: 204, answer: null })
  })

  it('of a claim that is held by another by now are not', async () => {
    const [change = 0] = await add({ message: 6, url: GOOD })
    const { claim } = await claimOnce()
    await releaseClaim(tables.db, claim)
    await claimOnce()
    await retryCallback(tables.db, { change, claim, error: 'too late', delayMs: 0, attempt })
    expect(await findAttempts(tables.db, [6])).toEqual([])
  })
})

describe('of a message', () => {
  it('the next callback is due at once when the one before it was taken, or has failed for good', async () => {
    const message = 1
    const chain = await add({ message, url: GOOD }, { message, url: GOOD }, { message, url: SLOW })
    const [first = 0, second = 0, third = 0] = chain
    const { claim, ...one } = await claimOnce()
    expect(one).toEqual({ claimed: [first], putBack: 2 })
    expect(await claimOnce()).toMatchObject({ claimed: [], putBack: 0 })
    await deleteCallback(tables.db, first, attempt)
    expect(await findCallback(tables.db, first, claim)).toBeUndefined()
    const { claim: next, claimed } = await claimOnce()
    expect(claimed).toEqual([second])
    await retryCallback(tables.db, { change: second, claim: next, error: 'gone', delayMs: undefined, attempt })
    expect((await claimOnce()).claimed).toEqual([third])
  })

  it('a later callback waits as long as the one before it, and no longer when that is replayed', async () => {
    const message = 1
    const [first = 0, second = 0] = await add({ message, url: GOOD }, { message, url: GOOD })
    const { claim } = await claimOnce()
    expect(await secondsUntilDue(second)).toBeLessThan(3)
    await retryCallback(tables.db, { change: first, claim, error: 'later', delayMs: 1_000_000, attempt })
    await passTime(5_000)
    expect(await claimOnce()).toMatchObject({ claimed: [], putBack: 1 })
    expect(await secondsUntilDue(second)).toBeCloseTo(await secondsUntilDue(first), 1)

    await passTime(1_000_000)
    const { claim: again, claimed } = await claimOnce()
    expect(claimed).toEqual([first])
    await retryCallback(tables.db, { change: first, claim: again, error: 'over', delayMs: undefined, attempt })
    await replayCallbacks(tables.db)
    expect(await claimOnce()).toMatchObject({ claimed: [first], putBack: 1 })
  })

  it('thousands that wait for an earlier one do not hide what else is due at their receiver', async () => {
    const message = 1
    await add(...urlsOf(SLOW, 2_000).map((one) => ({ ...one, message })))
    const [behind = 0] = await add({ url: `${SLOW}/behind` })
    await passTime(1_000)
    const found: number[] = []
    for (let claims = 0; claims < 6; claims++) found.push(...(await claimOnce()).claimed)
    expect(found).toContain(behind)
    expect(found).toHaveLength(2)
  })
})

describe('the places', () => {
  it('are not all for one receiver, nor for one URL of it', async () => {
    await add(...Array.from({ length: 20 }, () => ({ url: `${SLOW}/one` })), ...urlsOf(SLOW, 200))
    const [change = 0] = await add({ url: GOOD })
    await claimAll()
    const rows = await tables.db.execute(sql`
      SELECT url, count(*)::int AS held FROM lastword.callbacks WHERE claim IS NOT NULL GROUP BY url ORDER BY held DESC LIMIT 2`)
    expect([...rows]).toMatchObject([{ url: `${SLOW}/one`, held: 10 }, { held: 1 }])
    expect(await claimAll()).toEqual(
      new Map([
        [SLOW, 45],
        [GOOD, 1],
      ]),
    )
    expect(await secondsUntilDue(change)).toBeGreaterThan(50)
  })

  it('go to each receiver first, and leave some for whoever comes later', async () => {
    const many = Array.from({ length: 300 }, (_, i) => urlsOf(`https://${i}.example`, 10))
    await add(...many.flat())
    const held = await claimAll()
    expect(held.size).toBe(300)
    expect(sum(held.values())).toBeLessThan(500)
    await add({ url: GOOD })
    expect((await claimAll()).get(GOOD)).toBe(1)
  })

  it('are shared by the slow ones up to a half, the longest due before the others', async () => {
    const slow = Array.from({ length: 400 }, (_, i) => `https://${i}.example`)
    for (const receiver of slow) await noteReceiver(tables.db, { receiver, isSlow: true })
    await add(...slow.flatMap((receiver) => urlsOf(receiver, 5)))
    const held = await claimAll()
    expect(sum(held.values())).toBeGreaterThan(200)
    expect(sum(held.values())).toBeLessThanOrEqual(250)
    expect([...held.keys()].sort()).toEqual(slow.slice(0, held.size).sort())
    await add(...urlsOf(GOOD, 100))
    expect((await claimAll()).get(GOOD)).toBeGreaterThan(20)

    // One that answers in good time again shares what the others share.
    const [receiver = ''] = slow
    await noteReceiver(tables.db, { receiver, isSlow: false })
    expect((await claimAll()).get(receiver)).toBe(5)
  })
})

describe('a receiver', () => {
  it('is the scheme, host and port of a URL', async () => {
    const receivers = {
      'https://app.example/sms?a=//b': 'https://app.example',
      'https://APP.example': 'https://app.example',
      'https://app.example?a=/': 'https://app.example',
      'https://app.example:8443/a#b': 'https://app.example:8443',
      'http://[::1]:80/a/b': 'http://[::1]:80',
    }
    await add(...Object.keys(receivers).map((url) => ({ url })))
    const rows = await tables.db.execute<{ url: string; receiver: string }>(
      sql`SELECT url, receiver FROM lastword.callbacks`,
    )
    expect(Object.fromEntries(rows.map(({ url, receiver }) => [url, receiver]))).toEqual(receivers)
  })

  it('that asks to be left alone gets nothing until then, and others get theirs', async () => {
    await noteReceiver(tables.db, { receiver: SLOW, isSlow: false, closedForMs: 60_000 })
    // A shorter time does not open it sooner.
    await noteReceiver(tables.db, { receiver: SLOW, isSlow: true, closedForMs: 1_000 })
    await noteReceiver(tables.db, { receiver: SLOW, isSlow: false })
    const [closed, open] = await add({ url: `${SLOW}/a` }, { url: `${SLOW}:444/b` })
    expect((await claimOnce()).claimed).toEqual([open])
    await tables.db.execute(sql`UPDATE lastword.receivers SET closed_until = closed_until - interval '59 seconds'`)
    expect((await claimOnce()).claimed).toEqual([])
    await tables.db.execute(sql`UPDATE lastword.receivers SET closed_until = closed_until - interval '1 second'`)
    expect((await claimOnce()).claimed).toEqual([closed])
  })

  it('is forgotten once nothing keeps it back', async () => {
    await noteReceiver(tables.db, { receiver: 'https://slow.example', isSlow: true })
    await noteReceiver(tables.db, { receiver: 'https://quick.example', isSlow: true })
    await noteReceiver(tables.db, { receiver: 'https://quick.example', isSlow: false })
    await noteReceiver(tables.db, { receiver: 'https://closed.example', isSlow: false, closedForMs: 60_000 })
    await noteReceiver(tables.db, { receiver: 'https://opened.example', isSlow: false, closedForMs: -1 })
    await deleteFreeReceivers(tables.db)
    const rows = await tables.db.execute(sql`SELECT receiver FROM lastword.receivers ORDER BY 1`)
    expect([...rows]).toEqual([{ receiver: 'https://closed.example' }, { receiver: 'https://slow.example' }])
  })
})

it('costs the same however many callbacks and URLs one receiver has', { timeout: 60_000 }, async () => {
  /** The least time of some claims, each of the same rows. */
  async function timeOf(rows: number): Promise<number> {
    await tables.db.execute(sql`TRUNCATE lastword.callbacks`)
    // Postgres plans with the statistics of a time when all that was there had failed.
    await tables.db.execute(sql`
      INSERT INTO lastword.callbacks (change, message, account, url, body, next_attempt_at)
      VALUES (0, 0, 'seven', ${SLOW}, '{}', NULL)`)
    await tables.db.execute(sql`ANALYZE lastword.callbacks`)
    await tables.db.execute(sql`
      INSERT INTO lastword.callbacks (change, message, account, url, body)
      SELECT i, -i, 'seven', ${SLOW} || '/' || i, '{}' FROM generate_series(1, ${rows}::int) i`)
    await add({ change: rows + 1, url: GOOD })
    const times: number[] = []
    for (let run = 0; run < 5; run++) {
      const began = performance.now()
      const { claim, claimed } = await claimOnce()
      times.push(performance.now() - began)
      expect(claimed).toHaveLength(46)
      expect(claimed).toContain(rows + 1)
      await releaseClaim(tables.db, claim)
    }
    return Math.min(...times)
  }

  const few = await timeOf(2_000)
  // Walked through one by one they took a hundred times as long.
  expect(await timeOf(200_000)).toBeLessThan(10 * few)
})

describe('whatever happens', () => {
  const URLS = ['https://a.example/1', 'https://a.example/2', 'https://b.example/1']
  const LIMITS = { places: 60, perUrl: 2 }
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('add' as const), message: fc.nat(4), url: fc.constantFrom(...URLS) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('claim' as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constantFrom('take', 'put off', 'fail', 'give back'), which: fc.nat() }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('replay' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(60_000) }) },
  )

  it('every message is told in order, within the limits, and nothing stays behind', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
        await tables.db.execute(sql`TRUNCATE lastword.callbacks`)
        const model = createModel(LIMITS)
        for (const one of steps) await model.play(one)
        await model.finish()
      }),
      { numRuns: 20 },
    )
  })

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

  interface Told {
    change: number
    message: number
    url: string
    state: 'waiting' | 'failed' | { claim: string }
  }

  function createModel(limits: { places: number; perUrl: number }) {
    let all: Told[] = []
    const held = () => all.filter(({ state }) => typeof state === 'object')

    async function claim(): Promise<void> {
      const { claim, claimed } = await claimOnce(limits)
      for (const change of claimed) {
        const one = all.find((told) => told.change === change)
        if (one?.state !== 'waiting') throw new Error(`${change} was claimed, and is ${JSON.stringify(one)}`)
        const earlier = all.filter(({ message, state }) => message === one.message && state !== 'failed')
        expect(change).toBe(Math.min(...earlier.map((told) => told.change)))
        one.state = { claim }
      }
      for (const url of URLS)
        expect(held().filter((told) => told.url === url).length).toBeLessThanOrEqual(limits.perUrl)
    }

    async function end(one: Told, how: 'take' | 'put off' | 'fail' | 'give back'): Promise<void> {
      const { change, state } = one
      if (typeof state !== 'object') return
      const held = { change, claim: state.claim, error: 'not taken' }
      if (how === 'take') {
        await deleteCallback(tables.db, change, attempt)
        all = all.filter((told) => told !== one)
      } else if (how === 'give back') await releaseCallback(tables.db, held.claim, change)
      else await retryCallback(tables.db, { ...held, delayMs: how === 'fail' ? undefined : 30_000, attempt })
      one.state = how === 'fail' ? 'failed' : 'waiting'
    }

    return {
      async play(one: Step): Promise<void> {
        if (one.do === 'add') {
          const [change = 0] = await add({ message: one.message, url: one.url })
          all.push({ change, message: one.message, url: one.url, state: 'waiting' })
        } else if (one.do === 'claim') await claim()
        else if (one.do === 'wait') await passTime(one.ms)
        else if (one.do === 'replay') {
          await replayCallbacks(tables.db)
          for (const told of all) if (told.state === 'failed') told.state = 'waiting'
        } else {
          const under = held()
          const told = under[one.which % Math.max(under.length, 1)]
          if (told) await end(told, one.do)
        }
      },
      /** Takes what is claimed, and lets time pass, until only what has failed for good is left. */
      async finish(): Promise<void> {
        const mostRounds = all.length + 2
        for (let rounds = 0; all.some(({ state }) => state !== 'failed'); rounds++) {
          expect(rounds).toBeLessThan(mostRounds)
          for (const told of held()) await end(told, 'take')
          await passTime(30_000)
          await claim()
        }
      },
    }
  }
})
