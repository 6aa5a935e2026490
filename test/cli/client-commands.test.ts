/**
 * The commands that speak to a service, against a real one: in this process, and each as a real process once, because only
 * that shows that it ends, and with which exit code.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readServiceLocation } from '../../src/config.ts'
import { ALERT_RULES } from '../../src/core/alerts.ts'
import { acts } from '../../src/db/act-tables.ts'
import { alerts } from '../../src/db/alert-tables.ts'
import { moveAlerts } from '../../src/db/alerts.ts'
import { seeWorker } from '../../src/db/installation.ts'
import { applyReports } from '../../src/db/reports.ts'
import { claimDue } from '../../src/db/schedule.ts'
import { accountStates, countsPending, due, messages } from '../../src/db/schema.ts'
import { type Api, startApi } from '../support/api.ts'
import { type Ended, runCommand } from '../support/command.ts'
import { closeAll, closeLater, until } from '../support/service.ts'
import { freePort } from '../support/services.ts'

const KEY = 'a-key'
const ACCOUNTS = JSON.stringify([
  { name: 'seven', provider: 'seven', apiKey: 'seven-api-key', callback: { secret: `whsec_${'A'.repeat(32)}` } },
  { name: 'cm', provider: 'cm', productToken: 'product-token' },
])

let api: Api
let folder: string
beforeAll(async () => {
  api = await startApi({ ACCOUNTS, API_KEYS: KEY })
  folder = await mkdtemp(join(tmpdir(), 'lastword-cli-'))
})
afterAll(async () => {
  await closeAll()
  await rm(folder, { recursive: true, force: true })
  await api.close()
})
beforeEach(async () => {
  await api.db.delete(messages)
  await api.db.delete(due)
})

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

function begin(args: readonly string[]) {
  const env = { PATH: process.env.PATH, LASTWORD_URL: api.url, LASTWORD_API_KEY: KEY }
  const child = spawn(process.execPath, [cli, ...args], { env, stdio: 'pipe' })
  const written = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      written[name] += chunk
    })
  }
  // A process that ends before it has read everything is no concern of the test's.
  child.stdin.on('error', () => {})
  const ended = once(child, 'close').then(([code, signal]) => ({ code: code ?? signal, ...written }))
  closeLater(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { child, written, ended }
}

/** Runs a command to its end, as a process. */
async function runProcess(args: readonly string[], input = ''): Promise<Ended> {
  const { child, ended } = begin(args)
  child.stdin.end(input)
  return await ended
}

/** Runs a command to its end, in this process. */
async function run(args: readonly string[], input = ''): Promise<Ended> {
  const ended = await runCommand(args, { input, environment: { LASTWORD_URL: api.url, LASTWORD_API_KEY: KEY } })
  expect(ended.stderr).not.toMatch(/\n\s+at /)
  return ended
}

const heldIds = async () => (await api.db.select().from(messages)).map(({ messageId }) => messageId).sort()

const settle = (...messageIds: string[]) =>
  applyReports(
    api.db,
    messageIds.map((messageId) => ({
      account: 'seven',
      messageId,
      status: 'delivered',
      rawStatus: 'DELIVERED',
      occurredAt: new Date('2026-03-01T12:00:00Z'),
      source: 'webhook',
    })),
  )

const track = (...ids: string[]) => run(['track', '--account', 'seven', ...ids])

it.each<[string, number, string?]>([
  ['track --account seven', 1, '{"messageId":"2"}\n{"messageId":"x y"}'],
  ['status seven 1', 4],
  ['poll seven 1', 5],
  ['list', 0],
  ['list --csv', 0],
  ['changes', 0],
  ['accounts', 0],
  ['schedule --account sevn', 3],
  ['statistics --account sevn', 3],
  ['alerts', 0],
  ['acts', 0],
  ['callbacks', 0],
  ['erase seven', 2],
])('lastword %s, as a process, ends with %i', async (command, code, input) => {
  await track('1')
  const ended = await runProcess(command.split(' '), input)
  expect(ended.code).toBe(code)
  expect(ended.stderr).not.toMatch(/\n\s+at /)
})

describe('lastword track', () => {
  it('tracks what stands in the arguments', async () => {
    expect(await track('1', '2')).toEqual({ code: 0, stdout: '2 tracked, 0 already tracked.\n', stderr: '' })
    const again = await run(['track', '--account', 'seven', '--json', '2', '3'])
    expect(JSON.parse(again.stdout)).toEqual({ tracked: 1, alreadyTracked: 1, refused: [] })
    expect(await heldIds()).toEqual(['1', '2', '3'])
  })

  it('reads CSV with every column, quotes and a mark at its beginning', async () => {
    const sentAt = new Date(Date.now() - 60_000).toISOString()
    const file = join(folder, 'sent.csv')
    const lines = [
      '\ufeffmessageId,sentAt,recipient,metadata,callbackUrl',
      `1,${sentAt},+49 170 1234567,"{""order"":\n""a, b""}",https://a.example/b`,
      '',
      '2,,,,',
    ]
    await writeFile(file, lines.join('\r\n'))
    expect(await run(['track', '--account', 'seven', '--file', file])).toMatchObject({ code: 0, stderr: '' })
    const rows = await api.db.select().from(messages).orderBy(messages.messageId)
    expect(rows).toMatchObject([
      { messageId: '1', sentAt: new Date(sentAt), metadata: { order: 'a, b' }, callbackUrl: 'https://a.example/b' },
      { messageId: '2', recipient: null, metadata: null, callbackUrl: null },
    ])
  })

  it('reads what a spreadsheet saved, and says which of its IDs are none', async () => {
    const file = join(folder, 'sheet.csv')
    const lines = ['Message ID;Sent At;Recipient', '1;;"+49 170; 1"', 'NULL;;', '7,72E+10;;', '2;NULL;', ';;', ';;']
    await writeFile(file, Buffer.from(`\ufeff${lines.join('\r\n')}`, 'utf16le'))
    const { code, stdout, stderr } = await run(['track', '--account', 'seven', '--file', file])
    expect([code, stdout]).toEqual([1, '2 tracked, 0 already tracked, 2 refused.\n'])
    expect(stderr.trim().split('\n')).toEqual([
      'lastword: line 3: messageId: found "NULL", which stands for none: the provider gave no ID for this one',
      'lastword: line 4: messageId: found "7,72E+10": the spreadsheet rounded it; format the column as text',
    ])
    expect(await heldIds()).toEqual(['1', '2'])
  })

  it('names the lines that cannot be tracked, and tracks the others: NDJSON', async () => {
    const lines = [
      '{"messageId":"1"}',
      '',
      '{"messageId":',
      '{"messageId":"x y"}',
      '[1]',
      '{"messageId":2,"to":3}',
      '{"messageId":3}',
    ]
    const { code, stdout, stderr } = await run(['track', '--account', 'seven'], lines.join('\n'))
    expect(code).toBe(1)
    expect(stdout).toBe('2 tracked, 0 already tracked, 4 refused.\n')
    expect(stderr.trim().split('\n').sort()).toEqual([
      'lastword: line 3: expected a JSON object with a messageId',
      expect.stringMatching(/^lastword: line 4: messageId: expected /),
      'lastword: line 5: expected a JSON object with a messageId',
      expect.stringMatching(/^lastword: line 6: .*"to"/),
    ])
    expect(await heldIds()).toEqual(['1', '3'])
  })

  it('names the lines that cannot be tracked, and tracks the others: CSV', async () => {
    const lines = ['messageId,metadata', '1,', '2,[]', '3,{},4', ',{}', '5,{}']
    const { code, stdout, stderr } = await run(
      ['track', '--account', 'seven', '--json', '--file', '-'],
      lines.join('\n'),
    )
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ tracked: 2, alreadyTracked: 0 })
    expect(stderr.match(/line \d+/g)?.sort()).toEqual(['line 3', 'line 4', 'line 5'])
    expect(await heldIds()).toEqual(['1', '5'])
  })

  it('names the line of a quote that never ends', async () => {
    const { code, stdout, stderr } = await run(['track', '--account', 'seven'], 'messageId\n1\n"2\n')
    expect([code, stdout]).toEqual([1, '1 tracked, 0 already tracked, 1 refused.\n'])
    expect(stderr).toMatch(/Quote Not Closed: .* at line 3/)
  })

  it('tracks nothing with --all-or-nothing when something is refused', async () => {
    const lines = ['{"messageId":"1"}', '{"messageId":"x y"}']
    const { code, stdout } = await run(['track', '--account', 'seven', '--all-or-nothing'], lines.join('\n'))
    expect([code, stdout]).toEqual([1, '0 tracked, 0 already tracked, 1 refused.\n'])
    expect(await heldIds()).toEqual([])
    const good = await run(['track', '--account', 'seven', '--all-or-nothing'], lines[0])
    expect([good.code, await heldIds()]).toEqual([0, ['1']])
  })

  it('takes long input, repeats included, and tells of its progress', async () => {
    const ids = Array.from({ length: 60_000 }, (_, index) => 77_000_000_000 + index)
    const { code, stdout, stderr } = await run(
      ['track', '--account', 'seven'],
      `messageId\n${[...ids, 77_000_059_999].join('\n')}\n`,
    )
    expect([code, stdout]).toEqual([0, '60000 tracked, 1 already tracked.\n'])
    expect(stderr).toBe('50000 read, 50000 tracked, 0 already tracked.\n')
  })

  it.each<[string, string[], string, number, RegExp]>([
    ['without an account', ['1'], '', 2, /required option '--account/],
    ['with an account nobody configured', ['--account', 'nobody', '1'], '', 3, /No account named "nobody"/],
    [
      'without a header',
      ['--account', 'seven'],
      '1\n2\n',
      2,
      /The first line: found "1", expected the names of columns/,
    ],
    ['with a file that is not there', ['--account', 'seven', '--file', '/nowhere'], '', 2, /--file: found ENOENT/],
    ['with a folder', ['--account', 'seven', '--file', '/tmp'], '', 2, /--file: found EISDIR/],
    ['with IDs and a file', ['--account', 'seven', '--file', '-', '1'], '', 2, /expected one of them/],
    ['with a format nobody knows', ['--account', 'seven', '--format', 'xml'], '', 2, /--format/],
    ['with another key', ['--account', 'seven', '--api-key', 'x', '1'], '', 2, /Expected an API key/],
    ['with a URL that is none', ['--account', 'seven', '--url', 'ftp://a', '1'], '', 2, /--url: found .*ftp:/],
  ])('says what is wrong %s', async (_what, args, input, code, message) => {
    const failed = await run(['track', ...args], input)
    expect(failed).toMatchObject({ code, stdout: '' })
    expect(failed.stderr).toMatch(message)
    expect(await heldIds()).toEqual([])
  })
})

describe('lastword status', () => {
  it('shows a message for people and for programs, and says by its exit code whether it is final', async () => {
    await track('1')
    const outstanding = await run(['status', 'seven', '1'])
    expect(outstanding.code).toBe(4)
    expect(outstanding.stdout).toMatch(/^Message +1 \(seven\)\nStatus +no report yet\n/)
    await settle('1')
    const final = await run(['status', 'seven', '1'])
    expect(final.code).toBe(0)
    expect(final.stdout).toMatch(/\nStatus +delivered, final \(webhook\)\n/)
    expect(final.stdout).toMatch(
      /\nRECEIVED +SOURCE +STATUS +RAW +OCCURRED +OUTCOME +ERROR\n.* webhook +delivered +DELIVERED +2026-03-01T12:00:00.000Z +applied\n$/,
    )
    const json = await run(['status', 'seven', '1', '--json'])
    expect(JSON.parse(json.stdout)).toEqual(
      (await api.get('/v1/messages/seven/1', { headers: { authorization: `Bearer ${KEY}` } })).body,
    )
  })

  it('says what is not tracked, and which recipients there are', async () => {
    expect(await run(['status', 'seven', '404'])).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(/^lastword: No such message/),
    })
    const both = ['+31612345678', '+31698765432'].map((recipient) => JSON.stringify({ messageId: 'R1', recipient }))
    await run(['track', '--account', 'cm'], both.join('\n'))
    expect(await run(['status', 'cm', 'R1'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Name one by --recipient: +31612345678, +31698765432'),
    })
    expect(await run(['status', 'cm', 'R1', '--recipient', '0031612345678'])).toMatchObject({ code: 4 })
  })

  it('says that nobody answers', async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    const failed = await run(['status', 'seven', '1', '--url', url])
    expect(failed).toEqual({
      code: 1,
      stdout: '',
      stderr: `lastword: Lastword at ${url} does not answer (ECONNREFUSED).\n`,
    })
  })
})

it('lastword poll has the provider asked, and says what is in the way, or that nothing is asked any more', async () => {
  await track('1')
  await seeWorker(api.db)
  expect(await run(['poll', 'seven', '1'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/The provider is being asked\.\n$/),
  })
  const json = await run(['poll', 'seven', '1', '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ messageId: '1', final: false })
  const authorization = `Bearer ${KEY}`
  const setPaused = (verb: 'pause' | 'resume') =>
    fetch(`${api.url}/queues/api/queues/dispatch/${verb}`, { method: 'PUT', headers: { authorization } })
  await setPaused('pause')
  const until = Date.now() + 600_000
  const bad = { since: until, count: 1, refusals: 0, reason: 'HTTP 401' }
  await api.db.update(accountStates).set({ health: { trouble: 'refused', bad, pausedUntil: until } })
  expect(await run(['poll', 'seven', '1'])).toMatchObject({
    code: 5,
    stdout: expect.stringContaining(`
The account "seven" was paused until ${new Date(until).toISOString()}: HTTP 401, since ${new Date(until).toISOString()}.
That is over, and this message is asked about first. Due now, but account "seven" is refused, and only one message at a time is asked about: HTTP 401; and queue "dispatch" is paused.
`),
  })
  await setPaused('resume')
  await api.db.update(accountStates).set({ health: {} })
  await settle('1')
  expect(await run(['poll', 'seven', '1'])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('it is delivered'),
  })
  expect(await run(['poll', 'seven', '404'])).toMatchObject({ code: 3 })
})

describe('lastword changes', () => {
  const latest = async () => {
    const { stderr } = await run(['changes', '--after', 'latest'])
    return /--after (c\d+)/.exec(stderr)?.[1] ?? ''
  }

  it('prints what there is, and where to go on', async () => {
    const after = await latest()
    await track('1', '2')
    await settle('1')
    await settle('2')
    const text = await run(['changes', '--after', after])
    expect(text.code).toBe(0)
    expect(text.stdout).toMatch(/^\S+Z {2}seven\/1 +- → delivered \(final\) +webhook\n\S+Z {2}seven\/2 .*\n$/)
    const json = await run(['changes', '--after', after, '--json'])
    const lines = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ messageId, cursor }) => [messageId, cursor])).toEqual([
      ['1', undefined],
      ['2', expect.stringMatching(/^c\d+\.\w+$/)],
    ])
    expect(await run(['changes', '--after', lines[1].cursor])).toMatchObject({ code: 0, stdout: '' })
    expect(await run(['changes', '--after', 'yesterday'])).toMatchObject({ code: 2, stdout: '' })
  })

  it('--follow prints them as they come, and Ctrl-C ends it with 0', async () => {
    const after = await latest()
    await track('1', '2')
    const { child, written, ended } = begin(['changes', '--follow', '--after', after, '--json'])
    await settle('1')
    await until(() => expect(written.stdout).toMatch(/"messageId":"1"/))
    await settle('2')
    await until(() => expect(written.stdout).toMatch(/"messageId":"2"/))
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
  })

  it('ends quietly when nobody reads any more', async () => {
    const after = await latest()
    const ids = Array.from({ length: 3000 }, (_, index) => String(index + 1))
    await run(['track', '--account', 'seven'], `messageId\n${ids.join('\n')}`)
    await settle(...ids)
    const { child, ended } = begin(['changes', '--after', after, '--json'])
    child.stdout.once('data', () => child.stdout.destroy())
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
  })
})

it('explains exit codes in the help of each command', async () => {
  for (const command of ['track', 'status', 'changes', 'poll']) {
    const { code, stdout } = await run([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/\nExit codes: 0 /)
  }
})

describe('where the service is', () => {
  it.each<[object, Record<string, string>, object]>([
    [{}, {}, { url: 'http://127.0.0.1:3000', apiKey: undefined }],
    [{}, { HOST: '0.0.0.0', PORT: '80', API_KEYS: 'one,two' }, { url: 'http://127.0.0.1:80', apiKey: 'one' }],
    [{}, { HOST: '::' }, { url: 'http://[::1]:3000', apiKey: undefined }],
    [
      {},
      { LASTWORD_URL: 'https://a/b', PORT: '0', LASTWORD_API_KEY: 'x', API_KEYS: 'y' },
      { url: 'https://a/b', apiKey: 'x' },
    ],
    [
      { url: 'http://c', apiKey: 'z' },
      { LASTWORD_URL: 'https://a', LASTWORD_API_KEY: 'x' },
      { url: 'http://c', apiKey: 'z' },
    ],
  ])('is read from %j and %j', (flags, environment, location) => {
    expect(readServiceLocation(flags, environment)).toEqual(location)
  })

  it.each<[object, Record<string, string>, RegExp]>([
    [{}, { PORT: '0' }, /^LASTWORD_URL: found nothing, expected the URL of the service/],
    [{}, { LASTWORD_URL: 'localhost' }, /^LASTWORD_URL: found text that is not a URL/],
    [{ url: 'x' }, {}, /^--url: found text that is not a URL/],
    [{}, { LASTWORD_API_KEY: 'a b' }, /^LASTWORD_API_KEY: found a key/],
    [{ apiKey: '' }, {}, /^--api-key: found a key/],
  ])('is refused in %j and %j', (flags, environment, message) => {
    expect(() => readServiceLocation(flags, environment)).toThrow(message)
  })
})

async function post(order: object): Promise<void> {
  const headers = { authorization: `Bearer ${KEY}` }
  expect((await api.post('/v1/messages', order, { headers })).status).toBe(202)
}

describe('lastword list', () => {
  const sentAt = '2026-11-20T10:00:00.000Z'

  async function trackThree() {
    await post({
      account: 'seven',
      messages: [
        {
          messageId: '101',
          recipient: '+49 170 1234567',
          metadata: { note: 'said "no", then\nleft' },
          sentAt: recently(3),
        },
        { messageId: '102', metadata: { order: 7 }, sentAt: recently(2) },
        { messageId: '103', sentAt: recently(1) },
      ],
    })
    await applyReports(api.db, [
      {
        account: 'seven',
        messageId: '102',
        status: 'failed',
        rawStatus: 'FAILED',
        occurredAt: new Date(sentAt),
        source: 'poll',
        error: { code: '202' },
      },
    ])
  }
  const recently = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()

  it('prints a table for people, and says when there is more', async () => {
    await trackThree()
    const { code, stdout, stderr } = await run(['list', '--limit', '2'])
    expect([code, stderr]).toEqual([0, 'There are more than 2: see them by --limit, --csv or --json.\n'])
    const [header, ...lines] = stdout.trimEnd().split('\n')
    expect(header).toMatch(/^SENT +ACCOUNT +MESSAGE +RECIPIENT +STATUS +SETTLED BY +SINCE$/)
    expect(lines.map((line) => line.split(/ +/)[2])).toEqual(['103', '102'])
    expect((await run(['list', '--status', 'read'])).stdout).toBe('No message matches.\n')
  })

  it('takes every filter', async () => {
    await trackThree()
    const found = async (...flags: string[]) => {
      const { code, stdout, stderr } = await run(['list', '--json', ...flags])
      expect([code, stderr]).toEqual([0, ''])
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).messageId]))
    }
    expect(await found('--recipient', '0049 170 1234567', '--account', 'seven', '--outstanding')).toEqual(['101'])
    const range = ['--sent-after', recently(2.5), '--sent-before', recently(1.5)]
    const failed = ['--status', 'failed', '--settled-by', 'poll', '--error', '202', '--metadata', 'order=7']
    expect(await found(...failed, ...range, '--message-id', '102', '--no-outstanding')).toEqual(['102'])
    await api.post('/v1/messages/poll', {}, { headers: { authorization: `Bearer ${KEY}` } })
    const { batches } = await claimDue(api.db, { account: 'seven', limit: 9, leaseMs: 9000 }, ({ due }) => [due])
    expect(await found('--batch', batches[0]?.id ?? '')).toEqual(['103', '101'])
  })

  it('prints CSV as spreadsheets read it', async () => {
    await trackThree()
    const { code, stdout } = await run(['list', '--csv'])
    expect(code).toBe(0)
    const rows = parse(stdout, { columns: true }) as Record<string, string>[]
    expect(
      rows.map(({ messageId, status, final, settledBy, metadata }) => [messageId, status, final, settledBy, metadata]),
    ).toEqual([
      ['103', '', 'false', '', ''],
      ['102', 'failed', 'true', 'poll', '{"order":7}'],
      ['101', '', 'false', '', JSON.stringify({ note: 'said "no", then\nleft' })],
    ])
    expect(rows[2]).toMatchObject({ account: 'seven', recipient: '+49 170 1234567', polls: '0', queryError: '' })
  })

  it.each([
    [['--metadata', 'order'], /Expected a key and a value/],
    [['--limit', '0'], /Expected a whole number from 1 up/],
    [['--csv', '--json'], /cannot be used with/],
    [['--batch', '7'], /batch: expected the "batch" of a job or of a query/],
    [['--sent-after', 'yesterday'], /sentAfter: expected a time like 2026-01-31T10:00:00Z/],
  ])('refuses %j', async (flags, expected) => {
    const { code, stderr } = await run(['list', ...flags])
    expect(code).toBe(2)
    expect(stderr).toMatch(expected)
  })
})

it('lastword accounts prints how they are doing, for people and for programs', async () => {
  const { code, stdout } = await run(['accounts'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/seven +seven +status +ok +none yet +unproved/)
  expect(stdout).toMatch(/cm +cm +transactions +ok/)
  const { stdout: json } = await run(['accounts', '--json'])
  const [first] = json
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(first).toMatchObject({ account: 'seven', status: 'ok', webhookRoute: { state: 'unproved', lost: 0 } })
})

describe('lastword statistics', () => {
  it('prints what happened and what is outstanding, for people and for programs', async () => {
    await api.db.delete(countsPending)
    await track('1', '2', '3')
    await settle('1')
    const report = { account: 'seven', rawStatus: 'FAILED', occurredAt: new Date(), source: 'poll' } as const
    await applyReports(api.db, [{ ...report, messageId: '2', status: 'failed', error: { code: '202' } }])
    const { code, stdout } = await run(['statistics', '--account', 'seven'])
    expect(code).toBe(0)
    const [byAccount = '', byHour = '', reasons, outstanding] = stdout.split('\n\n')
    const figures = '1 +1 +0 +1 +1 +50 % +50 % +50 % +0 +0 +1'
    expect(byAccount).toMatch(new RegExp(`^ACCOUNT +OUTSTANDING +OLDEST DUE +DELIVERED .*\nseven +1 +0 s +${figures}$`))
    expect(byHour).toMatch(new RegExp(`^HOUR +DELIVERED .*\n\\S+:00:00.000Z +${figures}$`))
    expect(reasons).toMatch(/^REASON +MESSAGES\n202 +1$/)
    expect(outstanding).toMatch(/\nup to 1 h +1\n.*\nmore than 7 d +0\nMessages that become unknown .*: 0\n$/s)
    const day = ['--from', '2026-01-01T00:00:00Z', '--to', '2026-01-02T00:00:00Z']
    const { stdout: json } = await run(['statistics', '--json', ...day])
    expect(JSON.parse(json)).toMatchObject({
      hours: [],
      reasons: [],
      accounts: [{ account: 'seven', outstanding: 1 }, { account: 'cm' }],
    })
  })

  it('refuses a time that is none', async () => {
    const { code, stderr } = await run(['statistics', '--from', 'yesterday'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('from: expected a time like 2026-01-31T10:00:00Z')])
  })
})

describe('lastword alerts', () => {
  it('prints what needs somebody, and what did, for people and for programs', async () => {
    await api.db.delete(alerts)
    expect((await run(['alerts'])).stdout).toBe('Nothing is wrong at present.\n')
    const condition = { kind: 'account-refused', subject: 'seven', message: 'It is refused.' } as const
    await moveAlerts(api.db, [condition], [], ALERT_RULES)
    const lasting = await run(['alerts'])
    expect([lasting.code, lasting.stdout]).toEqual([
      0,
      expect.stringMatching(/^KIND .*\naccount-refused +seven +\S+Z +it lasts +It is refused\.\n/s),
    ])
    expect(lasting.stdout).not.toContain('Nothing is wrong')
    const lines = (await run(['alerts', '--json'])).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(expect.objectContaining({ ...condition, until: null }))
    await api.db.update(alerts).set({ goneSince: new Date(), endedAt: new Date() })
    expect((await run(['alerts'])).stdout).toMatch(/^Nothing is wrong at present\.\nKIND .*Z +\S+Z +It is refused\.\n/s)
  })

  it('refuses a flag that it does not know', async () => {
    expect(await run(['alerts', '--open'])).toMatchObject({ code: 2, stderr: expect.stringContaining("'--open'") })
  })
})

describe('lastword acts', () => {
  it('prints who did what, for people and for programs', async () => {
    const earlier = { by: 'wall', kind: 'poll', account: 'seven', messageId: '1', count: 1, outcome: 'done' } as const
    const later = { by: 'wall', kind: 'clean', queue: 'dispatch', jobs: 'failed' } as const
    await api.db.insert(acts).values([earlier, later])
    const table = await run(['acts', '--by', 'wall', '--after', '2026-01-01T00:00:00Z'])
    expect([table.code, table.stderr]).toEqual([0, ''])
    const lines = [
      /^AT +BY +ACT +ON +COUNT +OUTCOME$/,
      /^\S+Z +wall +clean +dispatch, jobs that are failed +begun$/,
      /^\S+Z +wall +poll +seven\/1 +1 +done$/,
    ]
    expect(table.stdout.trimEnd().split('\n')).toEqual(lines.map((line) => expect.stringMatching(line)))
    const json = await run(['acts', '--by', 'wall', '--kind', 'poll', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject(earlier)
    const short = await run(['acts', '--by', 'wall', '--limit', '1'])
    expect(short.stderr).toBe('There are more than 1: see them by --limit or --json.\n')
    expect((await run(['acts', '--by', 'nobody'])).stdout).toBe('No act matches.\n')
  })

  it('refuses a kind that there is not', async () => {
    const { code, stderr } = await run(['acts', '--kind', 'dance'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('Allowed choices are poll, erase')])
  })
})

describe('lastword schedule', () => {
  it('prints when a message is asked about, and why, for people and for programs', async () => {
    const { code, stdout } = await run(['schedule', '--account', 'seven'])
    expect(code).toBe(0)
    expect(stdout).toContain('learned, from 0 final statuses')
    expect(stdout).toMatch(/Price +5 min: a request is sent when/)
    expect(stdout).toMatch(/Receipts +none come/)
    expect(stdout).toMatch(/Asked alone at +\d/)
    expect(stdout).toMatch(/ 1 min +#{34} +85/)
    const { stdout: json } = await run(['schedule', '--account', 'seven', '--json'])
    const schedule = JSON.parse(json)
    expect(schedule).toMatchObject({
      account: 'seven',
      policy: 'learned',
      price: 300,
      webhookLoss: 1,
      webhookLagP95: 10,
      finalsSeen: 0,
    })
    for (const ages of [schedule.alone, schedule.shared]) {
      expect(ages).toEqual(ages.toSorted((a: number, b: number) => a - b))
      expect(ages.at(-1)).toBe(30 * 86_400 - 300)
    }
    expect(schedule.alone.length).toBeLessThan(schedule.shared.length)
    expect(schedule.curve[0]).toEqual([0, 0])
    expect(schedule.curve.at(-1)[1]).toBeCloseTo(0.985, 3)
  })

  it('says that there is no such account', async () => {
    const { code, stderr } = await run(['schedule', '--account', 'sevn'])
    expect(code).toBe(3)
    expect(stderr).toContain('No account named "sevn" is configured')
  })
})

describe('lastword erase', () => {
  it('erases one message, or everything of a number', async () => {
    await post({
      account: 'seven',
      messages: ['1', '2', '3'].map((messageId) => ({ messageId, recipient: '+49 170 1234567' })),
    })
    expect(await run(['erase', 'seven', '1'])).toMatchObject({ code: 0, stdout: 'Erased.\n' })
    expect((await run(['erase', 'seven', '1'])).code).toBe(3)
    expect(await run(['erase', '--recipient', '0049 170 1234567'])).toMatchObject({
      code: 0,
      stdout: 'Erased 2 messages.\n',
    })
    expect((await run(['erase', '--recipient', '0049 170 1234567'])).code).toBe(3)
    expect(await api.db.select().from(messages)).toEqual([])
  })

  it.each([[[]], [['seven']], [['seven', '--recipient', '49170']]])('refuses %j', async (args) => {
    const { code, stderr } = await run(['erase', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain('Expected an account and a message ID, or --recipient alone.')
  })
})
