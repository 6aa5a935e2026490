/** The examples of the README and of docs/, run as they stand there, with addresses and credentials of this machine. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { readConfig } from '../src/config.ts'
import {
  allSettled,
  closeAll,
  closeLater,
  createInstallation,
  openSandbox,
  sendReceipt,
  sevenAccount,
  startService,
  statusesOf,
  trackOver,
  truthsOf,
  until,
} from './support/service.ts'

afterEach(closeAll)

const root = fileURLToPath(new URL('..', import.meta.url))
const law = { components: [{ share: 1, medianMs: 200, sigma: 0 }], expiredShare: 0, neverShare: 0, failureShare: 0 }

/** The code blocks of a page in a language, in their order; those of one section where its heading is given. */
async function blocksOf(page: string, language: string, heading?: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8')
  const begin = heading === undefined ? 0 : text.indexOf(`\n## ${heading}\n`)
  expect(begin, `the section "${heading}" of ${page}`).not.toBe(-1)
  const end = heading === undefined ? -1 : text.indexOf('\n## ', begin + 1)
  const section = text.slice(begin, end === -1 ? undefined : end)
  return [...section.matchAll(/```(\w+)\n([\s\S]*?)```/g)]
    .filter(([, l]) => l === language)
    .map(([, , code = '']) => code)
}

/** The block of docs/api.md that begins with this comment. */
async function exampleOf(title: string): Promise<string> {
  const blocks = await blocksOf('docs/api.md', 'js')
  return blocks.find((code) => code.startsWith(`// ${title}\n`)) ?? expect.fail(`Expected an example "${title}"`)
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-example-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A program that runs, in a process group of its own that is ended with everything else. */
function run(program: string, args: readonly string[], cwd: string, environment: Record<string, string>) {
  const env = { PATH: process.env.PATH ?? '', ...environment }
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const closed = new Promise((resolve) => child.once('close', resolve))
  closeLater(async () => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
    } catch (error) {
      // No process of the group is left.
      expect(error).toMatchObject({ code: 'ESRCH' })
    }
    await closed
  })
  return { output, exited }
}

/** Begins an example in a folder where `lastword` and what its users have beside it are installed. */
async function beginExample(title: string, environment: Record<string, string>) {
  const folder = await makeFolder()
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'lastword'))
  await symlink(join(root, 'src/client'), join(folder, 'node_modules', 'lastword-client'))
  for (const name of ['postgres', 'standardwebhooks']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  await writeFile(join(folder, 'app.mjs'), await exampleOf(title))
  return run(process.execPath, ['app.mjs'], folder, environment)
}

/** Runs an example to its end, and returns what it prints. */
async function runExample(title: string, environment: Record<string, string>): Promise<string> {
  const { output, exited } = await beginExample(title, environment)
  expect({ code: await exited, stderr: output.stderr }).toEqual({ code: 0, stderr: '' })
  return output.stdout
}

/** Runs the commands of a section in one shell that stops at the first failure, and returns what they print. */
async function runCommands(
  page: string,
  heading: string,
  { folder, environment = {}, replace = {} }: ShellOptions,
): Promise<string> {
  const bin = await makeFolder()
  await writeFile(join(bin, 'lastword'), `#!/bin/sh\nexec '${process.execPath}' '${root}/dist/cli.js' "$@"\n`, {
    mode: 0o755,
  })
  let script = (await blocksOf(page, 'sh', heading)).join('\n')
  for (const [from, to] of Object.entries(replace)) {
    expect(script).toContain(from)
    script = script.replaceAll(from, to)
  }
  const path = `${bin}:${process.env.PATH}`
  const { output, exited } = run('bash', ['-euo', 'pipefail', '-c', script], folder ?? bin, {
    ...environment,
    PATH: path,
  })
  expect({ code: await exited, ...output }).toMatchObject({ code: 0 })
  return output.stdout
}

interface ShellOptions {
  folder?: string
  environment?: Record<string, string>
  replace?: Record<string, string>
}

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? String(address.port) : ''
}

/** A service that polls soon, and a sandbox whose messages are delivered within a second. */
async function open() {
  const sandbox = await openSandbox({ law })
  const installation = await createInstallation('postgres')
  const polling = { firstAfter: '1s', factor: 1, maxInterval: '1s', window: '5m' }
  const service = await startService({ installation, accounts: [sevenAccount(sandbox, { polling })] })
  return { sandbox, service, seven: { SEVEN_URL: sandbox.url, SEVEN_API_KEY: sandbox.apiKey } }
}

/** Where a shell starts a service of its own. */
async function openPlace() {
  const sandbox = await openSandbox({ law })
  const installation = await createInstallation('postgres')
  const port = await freePort()
  const { DATABASE_URL = '', QUEUE_URL = '' } = installation.environment([])
  return { sandbox, installation, port, environment: { DATABASE_URL, QUEUE_URL, PORT: port } }
}

describe('in an app', () => {
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

  it('a receiver of callbacks: takes what is signed, as the page shows it, and nothing else', async () => {
    const secret = `whsec_${Buffer.from('a secret of 32 bytes, not a word').toString('base64')}`
    const port = await freePort()
    const url = `http://127.0.0.1:${port}/`
    const receiver = await beginExample('A receiver of callbacks', { CALLBACK_SECRET: secret, PORT: port })
    await until(async () => expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(401))
    const account = { name: 'seven', provider: 'seven', apiKey: 'key', query: 'off', callback: { url, secret } }
    const service = await startService({
      backend: 'postgres',
      accounts: [account],
      environment: { CALLBACK_ALLOW_PRIVATE: 'true' },
    })
    await trackOver(service.url, ['77232007287'])
    await sendReceipt(service.url, '77232007287', 'DELIVERED')
    await until(() => expect(receiver.output.stdout).toBe('77232007287 delivered true\n'))

    const [shown = ''] = await blocksOf('docs/api.md', 'json')
    const { changes } = (await (await fetch(`${service.url}/v1/changes`)).json()) as { changes: [object] }
    expect(Object.keys(JSON.parse(shown).data)).toEqual(Object.keys(changes[0]))
  })
})

/** Every command is a process of its own, and each needs a second or more. */
describe('in a shell', { timeout: 90_000 }, () => {
  it('send with seven.io', async () => {
    const { sandbox, installation, port, environment } = await openPlace()
    const printed = await runCommands('README.md', 'Send with seven.io', {
      environment,
      replace: {
        'your-key': sandbox.apiKey,
        '"apiKey":"env:SEVEN_API_KEY"': `"apiKey":"env:SEVEN_API_KEY","baseUrl":"${sandbox.url}"`,
        'https://gateway.seven.io/api': sandbox.url,
        'https://sms.example.com': `http://127.0.0.1:${port}`,
        'http://127.0.0.1:3000': `http://127.0.0.1:${port}`,
      },
    })
    expect(printed).toContain('1 tracked')
    await allSettled(installation)
    expect(await statusesOf(installation)).toEqual(truthsOf(sandbox))
  })

  it('send with CM.com', async () => {
    const { sandbox, installation, port, environment } = await openPlace()
    const { url, productToken } = sandbox.cm
    sandbox.set({ cmWebhookUrl: `http://127.0.0.1:${port}/webhooks/cm/a-long-random-word` })
    await runCommands('README.md', 'Send with CM.com', {
      environment,
      replace: {
        'your-token': productToken,
        '"webhookToken":"$(openssl rand -hex 24)"': '"webhookToken":"a-long-random-word"',
        '"productToken":"env:CM_PRODUCT_TOKEN"': `"productToken":"env:CM_PRODUCT_TOKEN","baseUrl":"${url}","requestsPerSecond":5`,
        'https://gw.messaging.cm.com/v1.0': new URL('/cm/v1.0', url).href,
      },
    })
    await allSettled(installation, 'cm')
    expect(await statusesOf(installation, 'cm')).toEqual({ 'order-4711': 'delivered' })
  })

  it('from a cron job that polls', async () => {
    const { service } = await open()
    const folder = await makeFolder()
    await writeFile(join(folder, 'outstanding.csv'), 'messageId,metadata\n77232007287,"{""order"": 4711}"\n')
    await sendReceipt(service.url, '77232007287', 'DELIVERED')
    const printed = await runCommands('README.md', 'From a cron job that polls', {
      folder,
      environment: { LASTWORD_URL: service.url },
      replace: { 'http://127.0.0.1:3000': service.url },
    })
    expect(printed).toContain('77232007287 delivered\n')
    const cursor = await readFile(join(folder, 'cursor'), 'utf8')
    expect(cursor).toMatch(/^c1\./)
    // A run without an answer, and without the options of a careful script, keeps its place.
    const [, job = ''] = await blocksOf('README.md', 'sh', 'From a cron job that polls')
    const vain = run('sh', ['-c', job.replace('127.0.0.1:3000', '127.0.0.1:1')], folder, {})
    await vain.exited
    expect(await readFile(join(folder, 'cursor'), 'utf8')).toBe(cursor)
  })

  it('upgrade it', async () => {
    const { environment } = await openPlace()
    await runCommands('README.md', 'Upgrade it', { environment })
  })

  it('receipts by hand: each of them is read', async () => {
    const accounts = [
      { name: 'seven', provider: 'seven', apiKey: 'key', query: 'off' },
      { name: 'cm', provider: 'cm', productToken: 'token', query: 'off' },
    ]
    const service = await startService({ backend: 'postgres', accounts, lease: '60s' })
    const [receipts = ''] = await blocksOf('docs/receipts.md', 'sh')
    const commands = receipts
      .split(/^(?=curl )/m)
      .map((command, index) =>
        command.replace('localhost:3000', service.url).replaceAll(/77232007287|order-4711/g, `471100${index}`),
      )
    const { output, exited } = run('bash', ['-euc', commands.join('').replaceAll('curl ', 'curl -fsS ')], root, {})
    expect({ code: await exited, ...output }).toMatchObject({ code: 0, stderr: '' })
    await trackOver(service.url, ['4711000', '4711001'])
    await trackOver(service.url, ['4711002', '4711003', '4711004'], { account: 'cm' })
    expect(await statusesOf(service)).toEqual({ 4711000: 'delivered', 4711001: 'delivered' })
    expect(await statusesOf(service, 'cm')).toEqual({
      4711002: 'delivered',
      4711003: 'delivered',
      4711004: 'delivered',
    })
  })

  it('in containers: the secrets are those of docker-compose.yml, and make a configuration', async () => {
    const folder = await makeFolder()
    await runCommands('docs/operating.md', 'In containers', { folder })
    const compose = await readFile(join(root, 'docker-compose.yml'), 'utf8')
    const secrets = Object.fromEntries(
      [...compose.matchAll(/^ {2}(\w+):\n {4}file: \.\/(\S+)$/gm)].map(([, name, file]) => [
        name,
        join(folder, file ?? ''),
      ]),
    )
    const variables = [...compose.matchAll(/^ {4}(\w+_FILE): \/run\/secrets\/(\w+)$/gm)]
    const environment = Object.fromEntries(variables.map(([, variable, name = '']) => [variable, secrets[name]]))
    const config = readConfig({ HOST: '0.0.0.0', ...environment })
    expect(config).toMatchObject({
      databaseUrl: expect.stringMatching(/^postgres:\/\/lastword:[0-9a-f]{48}@postgres:5432\/lastword$/),
      queueUrl: expect.stringMatching(/^redis:\/\/:[0-9a-f]{48}@redis:6379$/),
      keys: [{ grants: 'change' }],
      accounts: [{ name: 'seven' }],
    })
    for (const password of ['postgres_password', 'redis_password']) {
      expect(await readFile(secrets[password] ?? '', 'utf8')).toMatch(/^[0-9a-f]{48}\n$/)
    }
  })
})
