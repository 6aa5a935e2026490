/**
 * Servers that tests run: found on the PATH, else, as root on Debian, installed by apt-get. One that cannot be had fails the
 * test with a sentence that says what to install; nothing is skipped.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { freePort } from './services.ts'

export const execute = promisify(execFile)
const READY_TIMEOUT_MS = 15_000

export async function succeeds(program: string, args: string[]): Promise<boolean> {
  return execute(program, args).then(
    () => true,
    () => false,
  )
}

/** Runs apt-get when no other test file does: two at once would lock each other out. */
export function aptGet(args: readonly string[], options: { cwd?: string } = {}) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return execute('flock', [join(tmpdir(), 'lastword-test-apt.lock'), 'apt-get', ...args], { env, ...options })
}

/** The first of these programs that is there, or that apt-get can install with `debianPackage`. */
export async function findProgram(programs: readonly string[], debianPackage: string): Promise<string | undefined> {
  const find = async () => {
    for (const program of programs) if (await succeeds(program, ['--version'])) return program
    return undefined
  }
  const found = await find()
  if (found || process.getuid?.() !== 0 || !(await succeeds('apt-get', ['--version']))) return found
  console.log(`Installing ${debianPackage} with apt-get, because the tests need it`)
  try {
    await aptGet(['update'])
    await aptGet(['install', '-y', '--no-install-recommends', debianPackage])
  } catch (error) {
    console.warn(`apt-get could not install ${debianPackage}: ${error instanceof Error ? error.message : error}`)
  }
  return find()
}

/** A temporary folder that the user Postgres runs as can enter, too. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-test-'))
  await chmod(folder, 0o711)
  return folder
}

export interface StartedProgram {
  pid: number
  /** Rejects with what it said when it ends by itself. */
  died: Promise<never>
  stop(): Promise<void>
}

export function startProgram(program: string, args: readonly string[], options: SpawnOptions = {}): StartedProgram {
  const server = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  for (const stream of [server.stdout, server.stderr]) stream?.on('data', (chunk) => said.push(String(chunk)))
  const died = once(server, 'exit').then(() => Promise.reject(new Error(`${program} ended: ${said.join('')}`)))
  // A caller that does not wait for it has stopped it.
  died.catch(() => {})
  return { pid: server.pid ?? 0, died, stop: () => stop(server) }
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  // One that stands still takes no other signal.
  server.kill('SIGCONT')
  server.kill()
  await ended
}

export interface RedisServer {
  url: string
  port: number
  /** Sends a command, as an operator does by redis-cli. */
  command(...args: string[]): Promise<unknown>
  freeze(): void
  thaw(): void
  /** Kills it, and starts it again after a while with what it has written down. */
  crash(downMs: number): Promise<void>
  close(): Promise<void>
}

/** A Redis of its own, with further settings as on its command line. */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  const program = await findProgram(['redis-server', 'valkey-server'], 'redis-server')
  if (!program) throw new Error('This needs Redis on this machine: install redis-server or valkey-server.')
  const folder = await makeFolder()
  const port = await freePort()
  const options = { port: String(port), bind: '127.0.0.1', dir: folder, save: '', appendonly: 'no', ...settings }
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
  let server = startProgram(program, args)
  const plainPort = options.port
  const url = `redis://127.0.0.1:${plainPort}`
  const close = async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await Promise.race([waitForRedis(url), server.died])
  } catch (error) {
    await close()
    throw error
  }
  return {
    url,
    port,
    async command(...args) {
      const client = new Redis(url)
      try {
        return await client.call(...(args as [string, ...string[]]))
      } finally {
        client.disconnect()
      }
    },
    freeze: () => process.kill(server.pid, 'SIGSTOP'),
    thaw: () => process.kill(server.pid, 'SIGCONT'),
    async crash(downMs) {
      process.kill(server.pid, 'SIGKILL')
      await server.died.catch(() => {})
      await sleep(downMs)
      server = startProgram(program, args)
      await Promise.race([waitForRedis(url), server.died])
    },
    close,
  }
}

export async function waitForRedis(url: string): Promise<void> {
  const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 50 })
  let reason = 'no answer'
  client.on('error', (error) => {
    reason = error.message
  })
  const answer = await Promise.race([client.ping(), sleep(READY_TIMEOUT_MS, undefined, { ref: false })])
  client.disconnect()
  if (answer) return
  throw new Error(`Redis at ${new URL(url).host} did not get ready within ${READY_TIMEOUT_MS / 1000} s: ${reason}`)
}
