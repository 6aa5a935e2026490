/** How each kind of fault is brought about, and how it is mended. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Member, Trap } from './members.ts'
import type { Fault, Kind } from './plan.ts'
import { type Stage, USUAL_KNOBS } from './stage.ts'

export interface Struck {
  /** It came about; a kill that waits for a batch may have met none. */
  happened: boolean
}

type Strike = (stage: Stage, fault: Fault) => Promise<Struck | undefined>

/** Strikes and mends; resolves when it is over. */
export async function strike(stage: Stage, fault: Fault): Promise<Struck> {
  return (await STRIKES[fault.kind](stage, fault)) ?? { happened: true }
}

/** Lets something be so for as long as the fault lasts. */
const during =
  (begin: (stage: Stage, fault: Fault) => unknown, end: (stage: Stage, fault: Fault) => unknown): Strike =>
  async (stage, fault) => {
    await begin(stage, fault)
    await delay(fault.lastsMs)
    await end(stage, fault)
    return undefined
  }

const workerOf = ({ workers }: Stage, { aim }: Fault): Member => {
  const worker = workers[Math.floor(aim * workers.length)]
  if (!worker) throw new Error('There is no worker.')
  return worker
}
const apiOf = ({ api }: Stage): Member => api
const anyWorker = ({ workers }: Stage) => workers
const onlyApi = ({ api }: Stage) => [api]
type Choose = (stage: Stage, fault: Fault) => Member

const killed = (choose: Choose): Strike =>
  during(
    (stage, fault) => choose(stage, fault).kill(),
    (stage, fault) => choose(stage, fault).start(),
  )

/** Kills the first of some processes that comes by. */
const killedAt =
  (choose: (stage: Stage) => readonly Member[], trap: Trap): Strike =>
  async (stage, { lastsMs }) => {
    const found = new AbortController()
    const until = AbortSignal.any([found.signal, AbortSignal.timeout(lastsMs)])
    const killed = choose(stage).map(async (member) => {
      const isKilled = await member.lurk(trap, until)
      if (!isKilled) return false
      found.abort()
      await member.start()
      return true
    })
    return { happened: (await Promise.all(killed)).includes(true) }
  }

const frozen = (choose: Choose): Strike =>
  during(
    (stage, fault) => choose(stage, fault).freeze(),
    (stage, fault) => choose(stage, fault).thaw(),
  )

const redis = (begin: (redis: NonNullable<Stage['redis']>, fault: Fault) => unknown, end = begin): Strike =>
  during(
    ({ redis }, fault) => redis && begin(redis, fault),
    ({ redis }, fault) => redis && end(redis, fault),
  )

const answers = (knobs: Parameters<Stage['sandbox']['set']>[0]): Strike =>
  during(
    ({ sandbox }) => sandbox.set(knobs),
    ({ sandbox }) => sandbox.set(USUAL_KNOBS),
  )

/** A claim writes the batch; an answer comes with reports of source `poll`, a receipt with those of `webhook`. */
const CLAIMED = /INSERT INTO "lastword"\."batches"/
const JOB = /messageIds|"sweep"/
const ANSWER = /\{"poll"/
const RECEIPT = /\{"webhook"/

const STRIKES: Readonly<Record<Kind, Strike>> = {
  'worker killed': killed(workerOf),
  'worker killed after its claim, before the job is added': killedAt(anyWorker, {
    server: 'database',
    marks: CLAIMED,
    moment: 'after',
  }),
  'worker killed after the job is added': killedAt(anyWorker, { server: 'queue', marks: JOB, moment: 'after' }),
  'worker killed with the answer in hand, before it is written': killedAt(anyWorker, {
    server: 'database',
    marks: ANSWER,
    moment: 'before',
  }),
  'worker killed after the commit of an answer': killedAt(anyWorker, {
    server: 'database',
    marks: ANSWER,
    moment: 'after',
  }),
  'all workers killed while requests are at the provider': killedWhileAsking,
  'worker frozen for longer than its lease': frozen(workerOf),
  'worker with a clock an hour ahead that steps back': turnClock,
  'API killed': killed(apiOf),
  'API killed before the commit of a receipt': killedAt(onlyApi, {
    server: 'database',
    marks: RECEIPT,
    moment: 'before',
  }),
  'API killed after the commit of a receipt, before its answer': killedAt(onlyApi, {
    server: 'database',
    marks: RECEIPT,
    moment: 'after',
  }),
  'API frozen': frozen(apiOf),
  'processes replaced one after the other': replaceAll,
  'Redis killed': async ({ redis }, { lastsMs }) => {
    await redis?.crash(lastsMs)
    return undefined
  },
  'Redis emptied': async (stage) => {
    await stage.redis?.command('flushall')
    stage.queueLostAt = Date.now()
    return undefined
  },
  'Redis frozen': redis(
    (server) => server.freeze(),
    (server) => server.thaw(),
  ),
  // It keeps what it has, because its primary is nowhere.
  'Redis read-only': redis(
    (server) => server.command('replicaof', '127.0.0.1', '1'),
    (server) => server.command('replicaof', 'no', 'one'),
  ),
  'Redis out of memory': redis(
    (server) => server.command('config', 'set', 'maxmemory', '1mb'),
    (server) => server.command('config', 'set', 'maxmemory', '0'),
  ),
  'Redis failed over': async (stage, { lastsMs }) => {
    await stage.redis?.failOver(lastsMs)
    stage.queueLostAt = Date.now()
    return undefined
  },
  'Postgres restarted': async ({ database }) => {
    await database.server?.restart()
    return undefined
  },
  'Postgres crashed': async ({ database }) => {
    await database.server?.crash()
    return undefined
  },
  'Postgres read-only': during(
    (stage) => setReadOnly(stage, 'SET default_transaction_read_only = on'),
    (stage) => setReadOnly(stage, 'RESET default_transaction_read_only'),
  ),
  'connections to Postgres ended': async (stage) => {
    await endConnections(stage)
    return undefined
  },
  'rows locked by another session': lockRows,
  'deadlocks with another session': deadlock,
  'disk full': during(
    ({ database }) => database.server?.fillDisk?.(),
    async ({ database }) => {
      await database.server?.emptyDisk()
      await database.server?.revive()
    },
  ),
  'network silent': during(
    (stage, fault) => workerOf(stage, fault).gates.map((gate) => gate.hold()),
    (stage, fault) => workerOf(stage, fault).gates.map((gate) => gate.release()),
  ),
  'network cut': during(
    (stage, fault) => Promise.all(workerOf(stage, fault).gates.map((gate) => gate.cut())),
    (stage, fault) => Promise.all(workerOf(stage, fault).gates.map((gate) => gate.restore())),
  ),
  'provider answers 429': answers({ rateLimited: { share: 0.8, retryAfter: 2 } }),
  'provider answers 5xx': answers({ serverErrors: 0.8 }),
  'provider answers 400 for a day': answers({ httpError: { share: 1, status: 400 } }),
  'provider hangs': answers({ timeouts: 0.7 }),
  'provider resets connections': during(
    ({ provider }) => Object.assign(provider, { resets: true }),
    ({ provider }) => Object.assign(provider, { resets: false }),
  ),
  'provider sends half bodies': answers({ malformed: 0.4, cutOff: 0.4 }),
  'all receipts lost': answers({ webhookLoss: 1 }),
  'every receipt doubled and out of order': answers({ webhookDuplicates: 1, webhookReorder: 0.9, webhookLoss: 0 }),
  'callback receiver refuses': during(
    ({ app }) => app.setMood('refuses'),
    ({ app }) => app.setMood('takes'),
  ),
  'callback receiver hangs up': during(
    ({ app }) => app.setMood('hangs up'),
    ({ app }) => app.setMood('takes'),
  ),
  'app reads nothing': during(
    ({ app }) => app.pause(),
    ({ app }) => app.resume(),
  ),
}

const LOOK_EVERY_MS = 50
const SLOW_ANSWERS_MS = 1_500

async function killedWhileAsking({ sandbox, workers }: Stage, { lastsMs }: Fault): Promise<Struck> {
  const count = () => sandbox.stats().requests + sandbox.stats().cm.requests
  const before = count()
  sandbox.set({ latencyMs: SLOW_ANSWERS_MS })
  for (let left = lastsMs; left > 0 && count() < before + workers.length; left -= LOOK_EVERY_MS) {
    await delay(LOOK_EVERY_MS)
  }
  const happened = count() > before
  await Promise.all(workers.map((worker) => worker.kill()))
  sandbox.set({ latencyMs: USUAL_KNOBS.latencyMs })
  await Promise.all(workers.map((worker) => worker.start()))
  return { happened }
}

async function turnClock(stage: Stage, fault: Fault): Promise<undefined> {
  const worker = workerOf(stage, fault)
  await worker.stop()
  await worker.start({ clock: '+3600s' })
  await delay(fault.lastsMs / 2)
  await worker.turnClock('-1800s')
  await delay(fault.lastsMs / 2)
  await worker.stop()
  await worker.start()
}

/** As a deploy does it: by the other version where there is one, and later back. */
async function replaceAll({ api, workers, otherCli }: Stage, { lastsMs, aim }: Fault): Promise<undefined> {
  for (const member of [api, ...workers]) {
    await member.stop()
    await member.start(otherCli && aim < 0.5 ? { cli: otherCli } : {})
    await delay(lastsMs)
  }
}

/** For sessions that begin from now on; the others are ended. */
async function setReadOnly(stage: Stage, setting: string): Promise<void> {
  const { sql } = stage.database
  const [row] = await sql<{ name: string }[]>`SELECT current_database() AS name`
  await sql.unsafe(`ALTER DATABASE "${row?.name}" ${setting}`)
  await endConnections(stage)
}

async function endConnections({ database: { sql } }: Stage): Promise<void> {
  await sql`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'chaos' AND backend_type = 'client backend'`
}

/** Some rows of messages, or the tables of the schedule whole. */
async function lockRows({ database: { sql } }: Stage, { lastsMs, aim }: Fault): Promise<undefined> {
  await sql.begin(async (transaction) => {
    if (aim < 0.5) {
      await transaction`SELECT FROM lastword.messages WHERE NOT final ORDER BY random() LIMIT 500 FOR UPDATE`
    } else {
      await transaction`LOCK TABLE lastword.batches, lastword.due IN SHARE ROW EXCLUSIVE MODE`
    }
    await delay(lastsMs)
  })
}

const DEADLOCK = '40P01'
const BETWEEN_LOCKS_MS = 100

/** Locks outstanding messages in the order that nobody else locks them in, again and again. */
async function deadlock({ database: { sql } }: Stage, { lastsMs }: Fault): Promise<undefined> {
  for (const until = Date.now() + lastsMs; Date.now() < until; ) {
    await sql
      .begin(async (transaction) => {
        const rows = await transaction<{ id: string }[]>`
          SELECT id FROM lastword.messages WHERE NOT final ORDER BY id DESC LIMIT 40`
        for (const { id } of rows) {
          await transaction`SELECT FROM lastword.messages WHERE id = ${id} FOR UPDATE`
          await delay(BETWEEN_LOCKS_MS / 2)
        }
      })
      .catch((error: { code?: string }) => {
        if (error.code !== DEADLOCK) throw error
      })
    await delay(BETWEEN_LOCKS_MS)
  }
}
