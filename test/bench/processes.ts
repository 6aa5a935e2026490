/**
 * Processes of a run: started, awaited, measured and stopped by their own number.
 *
 * CPU time and memory come from /proc, so they are known on Linux only; elsewhere they are undefined.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** The root of the checkout, seen from the compiled bench. */
const ROOT = new URL('../../../../../', import.meta.url)

/** Lastword's command line. */
export const cli = fileURLToPath(new URL('dist/cli.js', ROOT))

export interface Process {
  pid: number
  /** The match of `ready` in the output. */
  ready: RegExpExecArray
  /** Resolves with everything the process printed when it has ended by itself; rejects when it failed. */
  ended: Promise<string>
  stop(): Promise<void>
}

const running = new Set<Process['stop']>()

/** Stops what a measure that failed half-way has left. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((stop) => stop()))
}

const READY_WITHIN_MS = 30_000
const STOP_WITHIN_MS = 20_000

/** Runs a file with Node and resolves when its output matches `ready`. Its environment is `env` and the PATH alone. */
export async function startProcess(
  file: string,
  { args = [], env = {}, ready }: { args?: string[]; env?: Record<string, string>; ready: RegExp },
): Promise<Process> {
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(process.execPath, [file, ...args], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let written = ''
  const failed = new AbortController()
  const matched = new Promise<RegExpExecArray>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        written += chunk
        const match = ready.exec(written)
        if (match) resolve(match)
      })
    }
  })
  const closed = once(child, 'close').then(([code]) => {
    failed.abort()
    running.delete(stop)
    return code as number | null
  })
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
    await closed
    clearTimeout(killer)
  }
  running.add(stop)
  const late = delay(READY_WITHIN_MS, undefined, { ref: false, signal: failed.signal }).catch(() => undefined)
  const match = await Promise.race([matched, late])
  if (!match) {
    await stop()
    throw new Error(`${file} ${args.join(' ')} did not get ready:\n${written}`)
  }
  const ended = closed.then((code) => {
    if (code === 0) return written
    throw new Error(`${file} ended with ${code}:\n${written}`)
  })
  ended.catch(() => {})
  return { pid: child.pid ?? 0, ready: match, ended, stop }
}

/** The path of another compiled file of the bench. */
export function benchFile(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

const TICKS_PER_SECOND = 100

/** CPU seconds a process and its ended children have used so far. */
export function cpuSeconds(pid: number): number | undefined {
  const fields = statOf(pid)
  if (!fields) return undefined
  const [user, system, childUser, childSystem] = fields.slice(11, 15).map(Number)
  return ((user ?? 0) + (system ?? 0) + (childUser ?? 0) + (childSystem ?? 0)) / TICKS_PER_SECOND
}

/** CPU seconds of a process and of all its children, ended or not. */
export function treeCpuSeconds(pid: number): number | undefined {
  const own = cpuSeconds(pid)
  if (own === undefined) return undefined
  return own + childrenOf(pid).reduce((sum, child) => sum + (cpuSeconds(child) ?? 0), 0)
}

/** Resident memory in megabytes (of 1,000,000 bytes). */
export function residentMegabytes(pid: number): number | undefined {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readIfThere(`/proc/${pid}/status`))?.[1]
  return kilobytes === undefined ? undefined : (Number(kilobytes) * 1024) / 1e6
}

export function parentOf(pid: number): number | undefined {
  const parent = statOf(pid)?.[1]
  return parent === undefined ? undefined : Number(parent)
}

function childrenOf(pid: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((child) => parentOf(child) === pid)
}

/** The fields after the name, which may hold spaces and parentheses: the first is the state, the second the parent. */
function statOf(pid: number): string[] | undefined {
  const text = readIfThere(`/proc/${pid}/stat`)
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
