/** The examples of the README, run as they stand there: an app that sends, tracks, and hears how it ended. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, expect, it } from 'vitest'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  openSandbox,
  sevenAccount,
  startService,
  statusesOf,
  truthsOf,
} from './support/service.ts'

afterEach(closeAll)

const root = fileURLToPath(new URL('..', import.meta.url))

/** The code block of the README that begins with this comment. */
async function exampleOf(title: string): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = '']) => code)
  return blocks.find((code) => code.startsWith(`// ${title}\n`)) ?? expect.fail(`Expected an example "${title}"`)
}

/** Runs an example in a folder where `lastword` is installed, and returns what it prints. */
async function runExample(title: string, environment: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-example-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'lastword'))
  await symlink(join(root, 'src/client'), join(folder, 'node_modules', 'lastword-client'))
  await symlink(join(root, 'node_modules', 'postgres'), join(folder, 'node_modules', 'postgres'))
  const file = join(folder, 'app.mjs')
  await writeFile(file, await exampleOf(title))
  const env = { PATH: process.env.PATH, ...environment }
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { env, timeout: 25_000 })
  expect(stderr).toBe('')
  return stdout
}

/** A service that polls soon, and a sandbox whose messages are delivered within a second. */
async function open() {
  const law = { components: [{ share: 1, medianMs: 200, sigma: 0 }], expiredShare: 0, neverShare: 0, failureShare: 0 }
  const sandbox = await openSandbox({ law })
  const installation = await createInstallation('postgres')
  const polling = { firstAfter: '1s', factor: 1, maxInterval: '1s', window: '5m' }
  const service = await startService({ installation, accounts: [sevenAccount(sandbox, { polling })] })
  return { sandbox, service, seven: { SEVEN_URL: sandbox.url, SEVEN_API_KEY: sandbox.apiKey } }
}

it('over HTTP: prints each final status as it comes', async () => {
  const { sandbox, service, seven } = await open()
  const printed = await runExample('Over HTTP', { ...seven, LASTWORD_URL: service.url })
  const truths = Object.entries(truthsOf(sandbox)).map(([messageId, status]) => `${messageId} ${status}`)
  expect(truths).toHaveLength(2)
  expect(printed.trim().split('\n').sort()).toEqual(truths.sort())
})

it("in the app's own transaction: what it sent is tracked, and settles", async () => {
  const { sandbox, service, seven } = await open()
  await service.sql`CREATE TABLE texts (parcel int, message_id text)`
  await runExample('In your own transaction', { ...seven, DATABASE_URL: service.databaseUrl })
  const [message] = await service.sql`
    SELECT t.parcel, m.metadata FROM texts t JOIN lastword.messages m USING (message_id)`
  expect(message).toEqual({ parcel: 4711, metadata: { parcel: 4711 } })
  await allSettled(service)
  expect(await statusesOf(service)).toEqual(truthsOf(sandbox))
})
