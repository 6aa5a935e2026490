/**
 * The API as a process of its own, whose memory can be looked at: a module loaded before it answers a message with what
 * its heap holds after a garbage collection. Lastword itself knows nothing of it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

export interface ApiProcess {
  url: string
  /** Bytes of living objects and buffers, after a garbage collection. */
  heldBytes(): Promise<number>
  /** The log's lines about failures, the latest last. */
  errors(): readonly string[]
  close(): Promise<void>
}

const HEAP_ON_DEMAND = `data:text/javascript,${encodeURIComponent(`
  process.on('message', () => {
    gc(); gc()
    const { heapUsed, external } = process.memoryUsage()
    process.send(heapUsed + external)
  })
  process.channel?.unref()
`)}`
const READY_WITHIN_MS = 30_000
const MOST_ERRORS = 20
const ERROR_LEVEL = 50

/** Starts `lastword api` (`npm run build`) on a database; its queues are there, too. */
export async function startApiProcess(databaseUrl: string, accounts: readonly object[]): Promise<ApiProcess> {
  const args = ['--expose-gc', '--import', HEAP_ON_DEMAND, resolve('dist/cli.js'), 'api']
  const env = { PATH: process.env.PATH, DATABASE_URL: databaseUrl, ACCOUNTS: JSON.stringify(accounts), PORT: '0' }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  const closed = once(child, 'close')
  const errors: string[] = []
  const close = async () => {
    child.kill('SIGTERM')
    await closed
  }
  try {
    return { url: await urlOf(child, errors), heldBytes: () => ask(child), errors: () => errors, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function ask(child: ChildProcess): Promise<number> {
  const answered = once(child, 'message')
  child.send('heap')
  const [bytes] = await answered
  return Number(bytes)
}

function urlOf(child: ChildProcess, errors: string[]): Promise<string> {
  return new Promise((found, failed) => {
    const timer = setTimeout(
      () => failed(new Error(`The API did not get ready:\n${errors.join('\n')}`)),
      READY_WITHIN_MS,
    )
    let open = ''
    const take = (chunk: string) => {
      const lines = (open + chunk).split('\n')
      open = lines.pop() ?? ''
      for (const line of lines) {
        const url = /listening on (http:\/\/[^,]+),/.exec(line)?.[1]
        if (url !== undefined) {
          clearTimeout(timer)
          found(url)
        } else if (!line.startsWith('{') || Number(/"level":(\d+)/.exec(line)?.[1]) >= ERROR_LEVEL) {
          errors.push(line)
          if (errors.length > MOST_ERRORS) errors.shift()
        }
      }
    }
    child.stdout?.setEncoding('utf8').on('data', take)
    child.stderr?.setEncoding('utf8').on('data', take)
    child.once('exit', (code) => failed(new Error(`The API ended with ${code}:\n${errors.join('\n')}`)))
  })
}
