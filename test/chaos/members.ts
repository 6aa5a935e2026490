/**
 * The processes of a run: the API and the workers, each behind proxies of its own, so that one can be killed at the very
 * moment at which a statement or a command of its passes.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execute } from '../support/programs.ts'
import { openProxy, type TcpProxy, type Watch } from '../support/proxy.ts'

type Role = 'api' | 'worker'

/** A kill when bytes pass: the last of several of `marks`, each on its way to the server. */
export interface Trap {
  server: 'database' | 'queue'
  marks: RegExp
  /** Before the bytes come to the server, or when its answer to them is there and has not come back. */
  moment: 'before' | 'after'
}

export interface Member {
  name: string
  /** Resolves when it works. */
  start(options?: { clock?: string; cli?: string }): Promise<void>
  /** Sets its clock off, where it was started with one: `+3600s`. */
  turnClock(offset: string): Promise<void>
  kill(): Promise<void>
  /** Ends it by SIGTERM. */
  stop(): Promise<void>
  freeze(): void
  thaw(): void
  /** Kills it when the trap springs; false when it has not sprung before the signal. */
  lurk(trap: Trap, until: AbortSignal): Promise<boolean>
  gates: readonly TcpProxy[]
  close(): Promise<void>
}

export interface MemberOptions {
  role: Role
  name: string
  /** Where its logs and its clock are. */
  folder: string
  database: { port: number }
  /** Undefined where the queues are in the database. */
  redis: { port: number } | undefined
  environment(ports: { database: number; redis: number | undefined }): Record<string, string>
  /** Told when it has ended and nobody has ended it, or not in the way it should. */
  onEnded(how: 'by itself' | 'badly', about: string): void
}

const OWN_CLI = resolve('dist/cli.js')
const MOST_STARTS = 10
const BETWEEN_STARTS_MS = 500
const MOST_WRITTEN = 10_000
const STOP_WITHIN_MS = 20_000

export async function createMember(options: MemberOptions): Promise<Member> {
  const { role, name, folder, onEnded } = options
  const clock = join(folder, `${name}.clock`)
  let child: ChildProcess | undefined
  let isClosed = false
  const isEnded = new WeakSet<ChildProcess>()
  let sprung: { trap: Trap; spring: () => void; asked: WeakSet<object> } | undefined
  const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null

  const watchOf =
    (server: Trap['server']): Watch =>
    (to, bytes, connection) => {
      if (!sprung || sprung.trap.server !== server) return true
      const { trap, asked } = sprung
      const isAsked = to === 'server' && trap.marks.test(bytes.toString('latin1'))
      if (isAsked) asked.add(connection)
      const springs = trap.moment === 'before' ? isAsked : to === 'client' && asked.has(connection)
      if (!springs) return true
      sprung.spring()
      return false
    }
  const database = await openProxy({ host: '127.0.0.1', port: options.database.port }, watchOf('database'))
  const redis = options.redis && (await openProxy({ host: '127.0.0.1', port: options.redis.port }, watchOf('queue')))
  const gates = redis ? [database, redis] : [database]
  // Queues in the database are seen where it is.
  const seenAt = (trap: Trap): Trap => (redis ? trap : { ...trap, server: 'database' })

  const end = async (signal: NodeJS.Signals) => {
    if (!child || !isRunning()) return
    const ended = once(child, 'exit')
    isEnded.add(child)
    child.kill('SIGCONT')
    child.kill(signal)
    await ended
  }

  /** Runs it until it works or has ended; its output then. */
  async function run(clockSet: boolean, cli: string): Promise<string | undefined> {
    const env = { PATH: process.env.PATH, NODE_ENV: 'production', ...(clockSet ? await clockVariables(clock) : {}) }
    const started = spawn(process.execPath, [cli, role], {
      env: { ...env, ...options.environment({ database: database.port, redis: redis?.port }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = started
    const log = createWriteStream(join(folder, `${name}.log`), { flags: 'a' })
    let written = ''
    let isReady = false
    return new Promise((done) => {
      for (const stream of [started.stdout, started.stderr]) {
        stream.on('data', (bytes: Buffer) => {
          log.write(bytes)
          written = (written + bytes).slice(-MOST_WRITTEN)
          if (isReady || !/listening on|"working"/.test(written)) return
          isReady = true
          done(undefined)
        })
      }
      started.once('close', (code, signal) => {
        log.end()
        if (!isEnded.has(started)) tell(`${signal ?? code}`, written, isReady)
        // A fault that ends it while it runs starts it again itself.
        if (isReady && !isEnded.has(started)) restart().catch((error) => onEnded('by itself', String(error)))
        done(written)
      })
    })
  }

  /** A start that finds no server gives up with one sentence, and is tried again by whoever watches over processes. */
  function tell(how: string, written: string, isReady: boolean): void {
    const isSentence = /^lastword: .*\n$/m.test(written) && !/\n {4}at /.test(written)
    if (isReady || how !== '1' || !isSentence) onEnded('by itself', `${name}: ${how}: ${written.slice(-700)}`)
  }

  let settings = { hasClock: false, cli: OWN_CLI }
  async function restart(): Promise<void> {
    for (let tries = 0; tries < MOST_STARTS; tries++) {
      const ended = await run(settings.hasClock, settings.cli)
      if (ended === undefined || isClosed || (child && isEnded.has(child))) return
      await delay(BETWEEN_STARTS_MS)
    }
    throw new Error(`${name} did not get ready in ${MOST_STARTS} starts.`)
  }

  return {
    name,
    gates,
    async start({ clock: offset, cli = OWN_CLI } = {}) {
      if (offset) await writeFile(clock, offset)
      settings = { hasClock: offset !== undefined, cli }
      await restart()
    },
    turnClock: (offset) => writeFile(clock, offset),
    kill: () => end('SIGKILL'),
    async stop() {
      const stopped = child
      let state = ''
      const killer = setTimeout(async () => {
        state = await readFile(`/proc/${stopped?.pid}/stat`, 'utf8').catch(() => '')
        stopped?.kill('SIGKILL')
      }, STOP_WITHIN_MS)
      await end('SIGTERM')
      clearTimeout(killer)
      if (stopped && stopped.exitCode !== 0) {
        onEnded('badly', `${name}: ${stopped.signalCode ?? stopped.exitCode} ${state.trim()}`)
      }
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async lurk(trap, until) {
      const killed = await new Promise<boolean>((done) => {
        // The signal is sent before another byte passes.
        const spring = () => {
          sprung = undefined
          void end('SIGKILL').then(() => done(true))
        }
        until.addEventListener('abort', () => sprung && done(false))
        sprung = { trap: trap.server === 'queue' ? seenAt(trap) : trap, spring, asked: new WeakSet() }
      })
      sprung = undefined
      return killed
    },
    async close() {
      isClosed = true
      await end('SIGKILL')
      await Promise.all(gates.map((gate) => gate.close()))
    },
  }
}

/** The variables by which a process reads its clock's offset from a file, once a second; timers keep their own time. */
async function clockVariables(file: string): Promise<Record<string, string>> {
  const { stdout } = await execute('faketime', ['-m', '-f', '+0', 'printenv', 'LD_PRELOAD'])
  return {
    LD_PRELOAD: stdout.trim(),
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  }
}
